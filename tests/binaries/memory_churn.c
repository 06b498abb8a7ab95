//@ memory: 128
// Memory given back can be had again, far more often than there is of it.
#include "observe.h"

int main(void) {
    unsigned long sum = 0;
    for (int round = 0; round < 200; round++) {
        size_t len = (size_t)(round % 8 + 1) << 20;
        char *area = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED) {
            printf("round %d: %s\n", round, error_name(errno));
            return 1;
        }
        for (size_t at = 0; at < len; at += 4096)
            area[at] = round;
        sum += area[len - 4096];
        MUST(munmap(area, len));
    }
    printf("mapped and unmapped, %lu\n", sum);
    for (int round = 0; round < 40; round++) {
        char *blocks[100];
        for (int i = 0; i < 100; i++) {
            blocks[i] = malloc(1000 + i * 997);
            memset(blocks[i], i, 1000 + i * 997);
        }
        for (int i = 99; i >= 0; i--)
            sum += blocks[i][500], free(blocks[i]);
    }
    printf("allocated and freed, %lu\n", sum);
    fresh_dir("/dev/shm");
    static char data[1 << 20];
    for (int round = 0; round < 300; round++) {
        int fd = MUST(open("file", O_RDWR | O_CREAT | O_TRUNC, 0600));
        MUST(write(fd, data, sizeof data));
        MUST(close(fd));
        MUST(unlink("file"));
    }
    puts("written and removed");
    char *area = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < 100; round++) {
        memset(area, round, 4 << 20);
        MUST(madvise(area, 4 << 20, MADV_DONTNEED));
        sum += area[round * 4096];
    }
    printf("advised away, %lu\n", sum);
    return 0;
}
