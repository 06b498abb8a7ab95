// lseek: every origin, ends and errors.
#include "observe.h"

int main(void) {
    fresh_dir("/dev/shm");
    put_file("file", "0123456789");
    int fd = MUST(open("file", O_RDWR));
    TRY(lseek(fd, 4, SEEK_SET));
    TRY(lseek(fd, -2, SEEK_CUR));
    TRY(lseek(fd, -1, SEEK_END));
    TRY(lseek(fd, 5, SEEK_END));
    TRY(lseek(fd, -11, SEEK_END));
    TRY(lseek(fd, -100, SEEK_CUR));
    TRY(lseek(fd, -1, SEEK_SET));
    TRY(lseek(fd, 0, 77));
    TRY(lseek(99, 0, SEEK_SET));
    TRY(lseek(fd, INT64_MAX, SEEK_SET) > 0);
    TRY(lseek(fd, INT64_MAX, SEEK_CUR));
    TRY(lseek(fd, 10, SEEK_SET));
    TRY(lseek(fd, INT64_MAX, SEEK_CUR));
    TRY(lseek(fd, 0, SEEK_DATA));
    TRY(lseek(fd, 3, SEEK_HOLE));
    TRY(lseek(fd, 10, SEEK_DATA));
    TRY(lseek(fd, 10, SEEK_HOLE));
    TRY(lseek(fd, -1, SEEK_DATA));
    int pipes[2];
    MUST(pipe(pipes));
    TRY(lseek(pipes[0], 0, SEEK_SET));
    int path = MUST(open("file", O_PATH));
    TRY(lseek(path, 0, SEEK_SET));
    int null = MUST(open("/dev/null", O_RDWR));
    TRY(lseek(null, 100, SEEK_SET));
    TRY(lseek(null, 0, SEEK_CUR));
    return 0;
}
