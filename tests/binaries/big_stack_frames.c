// Arguments and environment far beyond a page arrive, and the stack below them works.
#include "observe.h"
#include <alloca.h>

__attribute__((noinline)) static unsigned long use(size_t len) {
    unsigned char *block = alloca(len);
    memset(block, 7, len);
    return block[0] + block[len / 2] + block[len - 1];
}

int main(int argc, char **argv) {
    (void)argv;
    unsigned long sum = argc;
    for (size_t len = 100; len < 4 << 20; len *= 3)
        sum += use(len);
    printf("%lu\n", sum);
    return 0;
}
