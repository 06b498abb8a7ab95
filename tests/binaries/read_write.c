// read and write: counts, ends, wrong descriptors and wrong buffers.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    char buffer[64] = "";
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    TRY(write(fd, "hello, world", 12));
    TRY(read(fd, buffer, sizeof buffer));
    MUST(lseek(fd, 0, SEEK_SET));
    TRY(read(fd, buffer, 5));
    print_bytes("read", buffer, 5);
    TRY(read(fd, buffer, sizeof buffer));
    print_bytes("read", buffer, 7);
    TRY(read(fd, buffer, sizeof buffer));
    TRY(read(fd, buffer, 0));
    TRY(write(fd, buffer, 0));
    TRY(read(fd, NULL, 0));
    TRY(write(fd, NULL, 0));
    TRY(write(fd, NULL, 1));
    MUST(lseek(fd, 0, SEEK_SET));
    TRY(read(fd, NULL, 1));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(read(fd, (void *)-1, 1));
    TRY(write(fd, (void *)0xffff800000000000, 1));
    TRY(read(-1, buffer, 1));
    TRY(write(99, buffer, 1));
    int reading = MUST(open("file", O_RDONLY)), writing = MUST(open("file", O_WRONLY));
    TRY(write(reading, buffer, 1));
    TRY(read(writing, buffer, 1));
    int folder = MUST(open(".", O_RDONLY));
    TRY(read(folder, buffer, 1));
    TRY(write(folder, buffer, 1));
    // The last page of a buffer is missing: what fits is transferred.
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(munmap(pages + 4096, 4096));
    memset(pages, 'p', 4096);
    MUST(lseek(fd, 0, SEEK_SET));
    TRY(read(fd, pages + 4090, 12));
    print_bytes("partly", pages + 4088, 8);
    int pipes[2];
    MUST(pipe(pipes));
    TRY(write(pipes[1], pages + 4096, 1));
    // A count beyond the largest signed one.
    TRY(read(fd, buffer, (size_t)-1));
    TRY(write(fd, buffer, (size_t)-1));
    return 0;
}
