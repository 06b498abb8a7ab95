// Buffers of which only the beginning is there: what was transferred counts.
#include "observe.h"
#include <sys/uio.h>

int main(void) {
    fresh_dir("/tmp");
    char *area = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(munmap(area + 4096, 4096));
    char *edge = area + 4096;
    memset(area, 'x', 4096);
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    // A file takes what is there.
    TRY(write(fd, edge - 100, 200));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(write(fd, edge, 200));
    MUST(lseek(fd, 0, SEEK_SET));
    TRY(read(fd, edge - 60, 100));
    TRY(lseek(fd, 0, SEEK_CUR));
    struct iovec parts[] = {{edge - 10, 10}, {edge, 10}, {area, 10}};
    TRY(writev(fd, parts, 3));
    MUST(lseek(fd, 0, SEEK_SET));
    TRY(readv(fd, parts, 3));
    // Structures are written whole or the call fails.
    struct stat *status = (struct stat *)(edge - sizeof(struct stat) + 8);
    TRY(syscall(SYS_stat, "file", status));
    status = (struct stat *)(edge - sizeof(struct stat));
    TRY(syscall(SYS_stat, "file", status));
    // Strings may end at the edge.
    strcpy(edge - 5, "file");
    TRY(access(edge - 5, F_OK));
    TRY(access(edge - 4, F_OK));
    memcpy(edge - 4, "file", 4);
    TRY(access(edge - 4, F_OK));
    TRY(readlink("/proc/self/cwd", edge - 4, 100));
    char *top = area + 8192;
    TRY(syscall(SYS_getcwd, top, 4096) > 0);
    return 0;
}
