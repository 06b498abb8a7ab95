// Huge reservations of which little is used.
#include "observe.h"

int main(void) {
    size_t len = 64ul << 30;
    char *area = TRY_ADDRESS(mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    unsigned sum = 0;
    for (size_t at = 0; at < len; at += 257ul << 20)
        area[at] = at >> 28;
    for (size_t at = 0; at < len; at += 257ul << 20)
        sum += (unsigned char)area[at] + (unsigned char)area[at + 1];
    printf("sum %u\n", sum);
    // Reading takes no memory of its own.
    for (size_t at = 0; at < 1ul << 30; at += 4096)
        sum += area[at + (4ul << 30) + 64];
    printf("sum %u\n", sum);
    TRY(munmap(area + (32ul << 30), 32ul << 30));
    TRY(munmap(area, 32ul << 30));
    char *reserved = TRY_ADDRESS(mmap(NULL, 1ul << 40, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    TRY(mprotect(reserved + (512ul << 30), 1 << 20, PROT_READ | PROT_WRITE));
    memset(reserved + (512ul << 30), 7, 1 << 20);
    printf("%d\n", reserved[(512ul << 30) + 1000]);
    TRY(munmap(reserved, 1ul << 40));
    // Many small areas.
    char *many = mmap(NULL, 4000 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 4000; i += 2)
        MUST(mprotect(many + i * 4096, 4096, PROT_READ));
    for (int i = 1; i < 4000; i += 2)
        many[i * 4096] = i;
    sum = 0;
    for (int i = 0; i < 4000; i++)
        sum += (unsigned char)many[i * 4096];
    printf("sum %u\n", sum);
    TRY(munmap(many, 4000 * 4096));
    return 0;
}
