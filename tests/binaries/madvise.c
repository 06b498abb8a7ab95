// madvise: what DONTNEED does, and hints that change nothing.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    char *area = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 1, 4 * 4096);
    TRY(madvise(area + 4096, 8192, MADV_DONTNEED));
    printf("%d %d %d %d\n", area[0], area[4096], area[8192], area[12288]);
    area[4096] = 2;
    printf("%d\n", area[4096]);
    static const int hints[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED};
    for (size_t i = 0; i < ARRAY_LEN(hints); i++)
        TRY(madvise(area, 4 * 4096, hints[i]));
    printf("%d %d\n", area[0], area[4096]);
    TRY(madvise(area, 4096, MADV_FREE));
    area[0] = 9;
    printf("%d\n", area[0]);
    TRY(madvise(area, 0, MADV_DONTNEED));
    TRY(madvise(area + 1, 4096, MADV_DONTNEED));
    TRY(madvise(area, (size_t)-1, MADV_DONTNEED));
    TRY(madvise(area, 4096, 12345));
    TRY(madvise((void *)0x10000, 4096, MADV_DONTNEED));
    MUST(munmap(area + 8192, 4096));
    area[12288] = 5;
    TRY(madvise(area, 4 * 4096, MADV_DONTNEED));
    printf("%d %d\n", area[0], area[12288]);
    // A private mapping goes back to the file's content, a shared one keeps it.
    put_file("file", "content");
    int fd = MUST(open("file", O_RDWR));
    char *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memcpy(private, "private", 7);
    TRY(madvise(private, 4096, MADV_DONTNEED));
    print_bytes("private", private, 7);
    memcpy(shared, "changed", 7);
    TRY(madvise(shared, 4096, MADV_DONTNEED));
    print_bytes("shared", shared, 7);
    TRY(madvise(shared, 4096, MADV_FREE));
    char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TRY(madvise(none, 4096, MADV_DONTNEED));
    return 0;
}
