// O_APPEND: every write goes to the end, wherever the position is.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    int one = MUST(open("file", O_RDWR | O_CREAT | O_APPEND, 0600));
    int two = MUST(open("file", O_WRONLY | O_APPEND));
    for (int i = 0; i < 3; i++) {
        MUST(write(one, "one ", 4));
        MUST(lseek(two, 0, SEEK_SET));
        MUST(write(two, "two ", 4));
    }
    show_file("file");
    MUST(lseek(one, 0, SEEK_SET));
    char buffer[8] = "";
    TRY(read(one, buffer, 4));
    TRY(write(one, "end", 3));
    TRY(lseek(one, 0, SEEK_CUR));
    show_file("file");
    MUST(ftruncate(one, 4));
    MUST(write(two, "after", 5));
    show_file("file");
    MUST(fcntl(one, F_SETFL, 0));
    MUST(lseek(one, 0, SEEK_SET));
    MUST(write(one, "FRONT", 5));
    show_file("file");
    return 0;
}
