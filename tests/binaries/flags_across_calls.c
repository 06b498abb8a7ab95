// The direction, alignment check and identification flags survive a system call, and do the kernel no harm.
#include "observe.h"

static unsigned long call_with_flags(unsigned long flags, long number, long a, long b, long c, long *result) {
    unsigned long after;
    __asm__ volatile("push %2; popf; syscall; pushf; pop %0; push $0x202; popf"
                     : "=&r"(after), "=a"(*result)
                     : "r"(flags), "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory", "cc");
    return after;
}

int main(void) {
    static char from[10000], to[10000];
    int p[2];
    MUST(pipe(p));
    int zero = MUST(open("/dev/zero", O_RDONLY));
    static const unsigned long flags[] = {0x202, 0x602, 0x40202, 0x200202, 0x640202, 0xed7};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        long result;
        unsigned long after = call_with_flags(flags[i], SYS_getpid, 0, 0, 0, &result);
        printf("%lx: getpid %lx %d", flags[i], after, result == getpid());
        for (int k = 0; k < 10000; k++)
            from[k] = k * 31 + i;
        after = call_with_flags(flags[i], SYS_write, p[1], (long)from, 10000, &result);
        printf(", write %lx %ld", after, result);
        after = call_with_flags(flags[i], SYS_read, p[0], (long)to, 10000, &result);
        printf(", read %lx %ld, equal %d", after, result, memcmp(from, to, 10000) == 0);
        after = call_with_flags(flags[i], SYS_read, zero, (long)to, 10000, &result);
        printf(", zero %lx %ld", after, result);
        after = call_with_flags(flags[i], SYS_open, (long)"/absent", 0, 0, &result);
        printf(", open %lx %ld\n", after, result);
    }
    return 0;
}
