// truncate and ftruncate.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    put_file("file", "0123456789");
    TRY(truncate("file", 4));
    show_file("file");
    TRY(truncate("file", 6));
    show_file("file");
    TRY(truncate("file", -1));
    TRY(truncate("absent", 0));
    TRY(truncate(".", 0));
    TRY(truncate("file/", 0));
    TRY(truncate("", 0));
    TRY(truncate((char *)8, 0));
    int reading = MUST(open("file", O_RDONLY)), writing = MUST(open("file", O_WRONLY));
    TRY(ftruncate(reading, 0));
    TRY(ftruncate(99, 0));
    TRY(ftruncate(writing, -1));
    TRY(ftruncate(writing, 2));
    show_file("file");
    int pipes[2];
    MUST(pipe(pipes));
    TRY(ftruncate(pipes[1], 0));
    int folder = MUST(open(".", O_RDONLY));
    TRY(ftruncate(folder, 0));
    // The position stays where it is and a later write leaves a hole.
    MUST(lseek(writing, 5, SEEK_SET));
    MUST(ftruncate(writing, 1));
    MUST(write(writing, "x", 1));
    show_file("file");
    MUST(symlink("file", "link"));
    TRY(truncate("link", 3));
    show_file("file");
    return 0;
}
