// pread and pwrite leave the position alone.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    char buffer[16];
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    TRY(pwrite(fd, "world", 5, 7));
    TRY(pwrite(fd, "hello, ", 7, 0));
    TRY(lseek(fd, 0, SEEK_CUR));
    show_file("file");
    TRY(pread(fd, buffer, 5, 7));
    print_bytes("at 7", buffer, 5);
    TRY(pread(fd, buffer, 5, 10));
    TRY(pread(fd, buffer, 5, 12));
    TRY(pread(fd, buffer, 5, 1000));
    TRY(pread(fd, buffer, 5, -1));
    TRY(pwrite(fd, buffer, 5, -1));
    TRY(pread(fd, buffer, 5, INT64_MAX));
    TRY(pwrite(fd, "x", 1, INT64_MAX));
    TRY(pread(fd, NULL, 5, 0));
    TRY(pread(99, buffer, 5, 0));
    int pipes[2];
    MUST(pipe(pipes));
    TRY(pread(pipes[0], buffer, 1, 0));
    TRY(pwrite(pipes[1], buffer, 1, 0));
    TRY(pread(pipes[0], buffer, 1, -1));
    // On Linux a file opened for appending is appended to, whatever the offset.
    int appending = MUST(open("file", O_WRONLY | O_APPEND));
    TRY(pwrite(appending, "!", 1, 0));
    show_file("file");
    return 0;
}
