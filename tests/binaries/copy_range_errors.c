// copy_file_range: what cannot be copied.
#include "observe.h"

static long copy(int from, off_t *at, int to, off_t *there, size_t len, unsigned flags) {
    return syscall(SYS_copy_file_range, from, at, to, there, len, flags);
}

int main(void) {
    fresh_dir("/dev/shm");
    put_file("file", "0123456789");
    put_file("other", "abc");
    int fd = (int)MUST(open("file", O_RDWR));
    int other = (int)MUST(open("other", O_RDWR));
    int reading = (int)MUST(open("other", O_RDONLY));
    int writing = (int)MUST(open("other", O_WRONLY));
    int append = (int)MUST(open("other", O_RDWR | O_APPEND));
    int folder = (int)MUST(open(".", O_RDONLY));
    int device = (int)MUST(open("/dev/null", O_RDWR));
    int proc = (int)MUST(open("/proc/self/status", O_RDONLY));
    int pipes[2];
    MUST(pipe(pipes));
    MUST(write(pipes[1], "x", 1));
    int things[] = {fd, other, reading, writing, append, folder, device, proc, pipes[0], pipes[1], 99, -1};
    static const char *const names[] = {"file", "other", "reading", "writing", "append", "folder", "device", "proc", "out", "in", "none", "less"};
    for (size_t i = 0; i < ARRAY_LEN(things); i++)
        for (size_t j = 0; j < ARRAY_LEN(things); j++) {
            printf("%s to %s:", names[i], names[j]);
            for (unsigned flags = 0; flags < 2; flags++)
                for (size_t len = 0; len < 3; len += 2) {
                    off_t at = 0, there = 5;
                    long result = copy(things[i], &at, things[j], &there, len, flags);
                    if (result < 0)
                        printf(" %s", error_name(errno));
                    else
                        printf(" %ld", result);
                }
            printf("\n");
        }
#define COPY(from, at_value, to, there_value, len)                                                                      \
    do {                                                                                                                \
        off_t at = at_value, there = there_value;                                                                       \
        TRY(copy(from, &at, to, &there, len, 0));                                                                       \
        printf("  %lld %lld\n", (long long)at, (long long)there);                                                       \
    } while (0)
    COPY(fd, -1, other, 0, 2);
    COPY(fd, 0, other, -1, 2);
    COPY(fd, 100, other, 0, 2);
    COPY(fd, INT64_MAX, other, 0, 2);
    COPY(fd, 0, other, INT64_MAX, 2);
    COPY(fd, 0, other, INT64_MAX - 1, 2);
    COPY(fd, INT64_MAX - 1, other, 0, 2);
    COPY(fd, 0, fd, 1, 5);
    COPY(fd, 1, fd, 0, 5);
    COPY(fd, 0, fd, 5, 5);
    COPY(fd, 0, fd, 5, 100);
    COPY(fd, 5, fd, 100, 100);
    COPY(fd, 0, fd, 0, 0);
    COPY(fd, 0, other, 0, (size_t)-1);
    COPY(fd, 0, other, 0, (size_t)1 << 40);
    TRY(copy(fd, (off_t *)16, other, NULL, 1, 0));
    TRY(copy(fd, NULL, other, (off_t *)16, 1, 0));
    TRY(copy(fd, NULL, other, NULL, 4, 0));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(lseek(other, 0, SEEK_CUR));
    show_file("other");
    int sealed = (int)MUST(syscall(SYS_memfd_create, "m", 2));
    MUST(ftruncate(sealed, 10));
    MUST(fcntl(sealed, 1033, 8));
    COPY(fd, 0, sealed, 0, 4);
    COPY(sealed, 0, fd, 0, 4);
    return 0;
}
