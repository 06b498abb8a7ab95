// cachestat: pages of a file that are in memory, and errors.
#include "observe.h"

struct range {
    uint64_t off, len;
};
struct counts {
    uint64_t cache, dirty, writeback, evicted, recently_evicted;
};

static long cachestat(int fd, struct range *range, struct counts *counts, unsigned flags) {
    return syscall(451, fd, range, counts, flags);
}

static void show(int fd, uint64_t off, uint64_t len) {
    struct range range = {off, len};
    struct counts counts = {99, 99, 99, 99, 99};
    long result = cachestat(fd, &range, &counts, 0);
    if (result)
        printf("%s\n", error_name(errno));
    else
        printf("%llu+%llu: %llu in memory, %llu on their way\n", (unsigned long long)off, (unsigned long long)len,
               (unsigned long long)counts.cache, (unsigned long long)counts.writeback);
}

int main(void) {
    static char page[4096];
    struct range range = {0, 0};
    struct counts counts;
    int p[2];
    fresh_dir("/dev/shm");
    int fd = (int)MUST(open("f", O_RDWR | O_CREAT, 0600));
    show(fd, 0, 0);
    for (int i = 0; i < 10; i++)
        MUST(pwrite(fd, page, sizeof page, i * 8192));
    show(fd, 0, 0);
    show(fd, 0, 4096);
    show(fd, 4096, 4096);
    show(fd, 4095, 2);
    show(fd, 8191, 2);
    show(fd, 8192, 3 * 8192);
    show(fd, 1 << 30, 0);
    show(fd, 100, 1 << 30);
    MUST(ftruncate(fd, 20000));
    show(fd, 0, 0);
    TRY(cachestat(fd, &range, &counts, 1));
    TRY(cachestat(99, &range, &counts, 1));
    TRY(cachestat(fd, (void *)8, &counts, 1));
    TRY(cachestat(fd, &range, (void *)8, 0));
    MUST(pipe(p));
    show(p[0], 0, 0);
    int folder = (int)MUST(open(".", O_RDONLY)), path = (int)MUST(open("f", O_PATH));
    show(folder, 0, 0);
    show(path, 0, 0);
    // Others are told only when they may write.
    int reader = (int)MUST(open("f", O_RDONLY));
    MUST(fchmod(fd, 0644));
    MUST(syscall(SYS_setresuid, -1, 1234, -1));
    show(reader, 0, 0);
    show(fd, 0, 0);
    MUST(syscall(SYS_setresuid, -1, 0, -1));
    MUST(fchmod(fd, 0666));
    MUST(syscall(SYS_setresuid, -1, 1234, -1));
    show(reader, 0, 0);
    return 0;
}
