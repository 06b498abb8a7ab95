// fallocate: allocation, holes and errors.
#include "observe.h"

static void show(int fd) {
    struct stat status;
    MUST(fstat(fd, &status));
    printf("size %ld, blocks %ld\n", (long)status.st_size, (long)status.st_blocks);
}

int main(void) {
    fresh_dir("/dev/shm");
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    TRY(fallocate(fd, 0, 0, 10000));
    show(fd);
    TRY(fallocate(fd, 1, 0, 100000));
    show(fd);
    char data[100], buffer[100];
    memset(data, 'd', sizeof data);
    for (int i = 0; i < 100; i++)
        MUST(pwrite(fd, data, 100, i * 100));
    TRY(fallocate(fd, 3, 4096 - 50, 4196));
    TRY(pread(fd, buffer, 100, 4000));
    print_bytes("before the hole", buffer, 100);
    TRY(pread(fd, buffer, 100, 8192));
    print_bytes("after the hole", buffer, 100);
    show(fd);
    TRY(fallocate(fd, 2, 0, 10));
    TRY(fallocate(fd, 0, -1, 10));
    TRY(fallocate(fd, 0, 0, 0));
    TRY(fallocate(fd, 0, 10, -10));
    TRY(fallocate(fd, 0x1000, 0, 10));
    TRY(fallocate(fd, 0, INT64_MAX - 5, 10));
    TRY(fallocate(99, 0, 0, 10));
    int reading = MUST(open("file", O_RDONLY));
    TRY(fallocate(reading, 0, 0, 10));
    int pipes[2];
    MUST(pipe(pipes));
    TRY(fallocate(pipes[1], 0, 0, 10));
    int folder = MUST(open(".", O_RDONLY));
    TRY(fallocate(folder, 0, 0, 10));
    int null = MUST(open("/dev/null", O_WRONLY));
    TRY(fallocate(null, 0, 0, 10));
    TRY(posix_fallocate(fd, 20000, 100));
    show(fd);
    return 0;
}
