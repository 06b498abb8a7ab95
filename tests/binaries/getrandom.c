// getrandom: how much, how different, and errors.
#include "observe.h"
#include <sys/random.h>

int main(void) {
    static unsigned char one[70000], two[70000];
    TRY(getrandom(one, 16, 0));
    TRY(getrandom(two, 16, 0));
    CHECK(memcmp(one, two, 16) != 0);
    TRY(getrandom(one, 256, GRND_NONBLOCK));
    TRY(getrandom(one, 64, GRND_RANDOM));
    TRY(getrandom(one, 0, 0));
    TRY(getrandom(one, sizeof one, 0));
    int bits = 0;
    for (size_t i = 0; i < sizeof one; i++)
        bits += __builtin_popcount(one[i]);
    CHECK(bits > 278000 && bits < 282000);
    TRY(getrandom(one, 16, 4));
    TRY(getrandom(one, 16, 16));
    TRY(getrandom(one, 16, GRND_RANDOM | 4));
    TRY(syscall(SYS_getrandom, 16, 16, 0));
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(munmap(pages + 4096, 4096));
    TRY(syscall(SYS_getrandom, pages + 4000, 200, 0));
    return 0;
}
