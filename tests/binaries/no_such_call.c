// System calls that do not exist answer ENOSYS.
#include "observe.h"

static long raw(unsigned long number) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(0), "S"(0), "d"(0) : "rcx", "r11", "memory");
    return result;
}

int main(void) {
    static const unsigned long numbers[] = {
        // Numbers without a call, numbers that lost theirs, and nonsense.
        400, 423, 600, 1000, 4096, 65535, 0x7fffffff, 0x80000000, 0xffffffff, ~0ul, 1ul << 63,
        174, 177, 178, 180, 181, 182, 183, 184, 185, 205, 211, 214, 215, 236,
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        printf("%lx: %s\n", numbers[i], error_name(-raw(numbers[i])));
    return 0;
}
