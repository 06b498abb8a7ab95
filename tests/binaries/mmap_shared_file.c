// Shared mappings of a file: one memory with read and write.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(fd, 10000));
    char *map = TRY_ADDRESS(mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    char *other = TRY_ADDRESS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096));
    char buffer[32];
    memcpy(map + 4090, "across pages", 12);
    MUST(pread(fd, buffer, 12, 4090));
    print_bytes("read", buffer, 12);
    print_bytes("other", other, 6);
    MUST(pwrite(fd, "WRITTEN", 7, 4096));
    print_bytes("map", map + 4090, 14);
    char *private = TRY_ADDRESS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096));
    print_bytes("private", private, 8);
    // What is written beyond the end of the file is lost when the file grows.
    map[10000] = 'l';
    struct stat status;
    MUST(fstat(fd, &status));
    printf("size %ld\n", (long)status.st_size);
    TRY(msync(map, 12288, MS_SYNC));
    TRY(msync(map, 4096, MS_ASYNC));
    TRY(msync(map, 4096, MS_SYNC | MS_ASYNC));
    TRY(msync(map + 1, 4096, MS_SYNC));
    TRY(msync(map, 4096, 64));
    TRY(msync(map, 0, MS_SYNC));
    // Shrinking takes the pages away; growing again gives zeros.
    MUST(ftruncate(fd, 4090));
    MUST(ftruncate(fd, 12288));
    print_bytes("after shrinking and growing", map + 4086, 20);
    TRY(munmap(map, 12288));
    MUST(pread(fd, buffer, 8, 4084));
    print_bytes("file", buffer, 8);
    TRY(msync(map, 4096, MS_SYNC));
    // Reading a file into a mapping of itself, and writing a mapping to its own file.
    map = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memset(map, 'm', 12288);
    memcpy(map, "0123456789", 10);
    TRY(pwrite(fd, map, 4096, 4096));
    print_bytes("copied", map + 4096, 12);
    MUST(munmap(map, 12288));
    map = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    TRY(pwrite(fd, map + 4096, 4096, 8192));
    TRY(pread(fd, map, 4096, 8192));
    print_bytes("copied", map + 8192, 12);
    return 0;
}
