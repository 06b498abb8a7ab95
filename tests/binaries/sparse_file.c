// Holes: they read as zeros, take no space and can be found.
#include "observe.h"

int main(void) {
    fresh_dir("/dev/shm");
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    TRY(pwrite(fd, "start", 5, 0));
    TRY(pwrite(fd, "middle", 6, 1 << 20));
    TRY(ftruncate(fd, 3 << 20));
    struct stat status;
    MUST(fstat(fd, &status));
    printf("size %ld, blocks %ld\n", (long)status.st_size, (long)status.st_blocks);
    TRY(lseek(fd, 0, SEEK_HOLE));
    TRY(lseek(fd, 4096, SEEK_DATA));
    TRY(lseek(fd, (1 << 20) + 100, SEEK_HOLE));
    TRY(lseek(fd, 2 << 20, SEEK_DATA));
    TRY(lseek(fd, 2 << 20, SEEK_HOLE));
    static char buffer[8192], zero[8192];
    TRY(pread(fd, buffer, sizeof buffer, 500000));
    CHECK(memcmp(buffer, zero, sizeof buffer) == 0);
    TRY(pread(fd, buffer, 16, (1 << 20) - 5));
    print_bytes("around the middle", buffer, 16);
    // Shrinking and growing again leaves zeros, also within a page.
    TRY(ftruncate(fd, 3));
    TRY(ftruncate(fd, 10));
    show_file("file");
    MUST(fstat(fd, &status));
    printf("size %ld, blocks %ld\n", (long)status.st_size, (long)status.st_blocks);
    // Beyond 4 GiB.
    TRY(pwrite(fd, "far", 3, 5l << 30));
    MUST(fstat(fd, &status));
    printf("size %ld, blocks %ld\n", (long)status.st_size, (long)status.st_blocks);
    TRY(lseek(fd, 4096, SEEK_DATA));
    TRY(pread(fd, buffer, 10, 5l << 30));
    return 0;
}
