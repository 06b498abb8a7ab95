// Anonymous mappings: zeros, fixed places, hints and errors.
#include "observe.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

int main(void) {
    char *one = TRY_ADDRESS(mmap(NULL, 10000, RW, ANON, -1, 0));
    CHECK((uintptr_t)one % 4096 == 0);
    int zeros = 1;
    for (int i = 0; i < 12288; i++)
        zeros &= one[i] == 0;
    CHECK(zeros);
    memset(one, 1, 12288);
    // Placed at an address, replacing what is there.
    char *middle = mmap(one + 4096, 4096, RW, ANON | MAP_FIXED, -1, 0);
    CHECK(middle == one + 4096 && middle[0] == 0 && one[0] == 1 && one[8192] == 1);
    TRY_ADDRESS(mmap(one + 4096, 4096, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
    MUST(munmap(one + 4096, 4096));
    CHECK(mmap(one + 4096, 4096, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == one + 4096);
    MUST(munmap(one + 4096, 4096));
    CHECK(mmap(one + 4096, 4096, RW, ANON, -1, 0) == one + 4096);
    CHECK(mmap(one + 4096, 4096, RW, ANON, -1, 0) != one + 4096);
    CHECK(mmap(one + 100, 4096, RW, ANON, -1, 0) != MAP_FAILED);
    TRY_ADDRESS(mmap(one + 100, 4096, RW, ANON | MAP_FIXED, -1, 0));
    TRY_ADDRESS(mmap(NULL, 0, RW, ANON, -1, 0));
    TRY_ADDRESS(mmap(NULL, (size_t)-1, RW, ANON, -1, 0));
    TRY_ADDRESS(mmap(NULL, 1ul << 47, RW, ANON, -1, 0));
    TRY_ADDRESS(mmap(NULL, 4096, RW, MAP_ANONYMOUS, -1, 0));
    TRY_ADDRESS((void *)syscall(SYS_mmap, NULL, 4096, RW, ANON, -1, 100));
    TRY_ADDRESS(mmap((void *)0x7ffffffff000, 4096, RW, ANON | MAP_FIXED, -1, 0));
    TRY_ADDRESS(mmap((void *)0xffff800000000000, 4096, RW, ANON | MAP_FIXED, -1, 0));
    CHECK(mmap((void *)0xffff800000000000, 4096, RW, ANON, -1, 0) != MAP_FAILED);
    TRY_ADDRESS(mmap(NULL, 4096, RW, MAP_PRIVATE, -1, 0));
    TRY_ADDRESS(mmap(NULL, 4096, RW, MAP_PRIVATE, 99, 0));
    TRY_ADDRESS(mmap(NULL, 4096, PROT_WRITE, ANON, -1, 0));
    // A shared anonymous mapping behaves the same for one process.
    char *shared = TRY_ADDRESS(mmap(NULL, 8192, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    shared[5000] = 7;
    CHECK(shared[5000] == 7 && shared[0] == 0);
    char *populated = TRY_ADDRESS(mmap(NULL, 1 << 20, RW, ANON | MAP_POPULATE, -1, 0));
    CHECK(populated[(1 << 20) - 1] == 0);
    // Neighbours do not touch.
    char *low = mmap(NULL, 4096, RW, ANON, -1, 0), *high = mmap(NULL, 4096, RW, ANON, -1, 0);
    memset(low, 1, 4096);
    memset(high, 2, 4096);
    CHECK(low[0] == 1 && low[4095] == 1 && high[0] == 2 && high[4095] == 2);
    return 0;
}
