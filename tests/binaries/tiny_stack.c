// System calls on a stack with no room at all: nothing may be pushed there.
#include "observe.h"

// Makes a system call with the stack pointer at the given place.
static long call_on(void *stack, long number, long a, long b, long c) {
    long result;
    register void *saved __asm__("r12");
    __asm__ volatile("mov %%rsp, %%r12; mov %2, %%rsp; syscall; mov %%r12, %%rsp"
                     : "=a"(result), "=&r"(saved)
                     : "r"(stack), "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

int main(void) {
    char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(pages, 4096);
    char *bottom = pages + 4096, buffer[64];
    memset(bottom, 0x77, 8192);
    int fd = MUST(open("/dev/zero", O_RDWR)), p[2];
    MUST(pipe(p));
    printf("%d\n", call_on(bottom, SYS_getpid, 0, 0, 0) == getpid());
    printf("%ld\n", call_on(bottom, SYS_read, fd, (long)buffer, 64));
    printf("%ld\n", call_on(bottom, SYS_write, p[1], (long)"hello", 5));
    printf("%ld\n", call_on(bottom + 8, SYS_read, p[0], (long)buffer, 64));
    struct timespec pause = {0, 20000000};
    printf("%ld\n", call_on(bottom, SYS_nanosleep, (long)&pause, 0, 0));
    printf("%ld\n", call_on(bottom, SYS_sched_yield, 0, 0, 0));
    printf("%ld\n", call_on(bottom, SYS_open, (long)"/absent", 0, 0));
    // Every page a call touches may be missing at first, also then nothing is pushed.
    char *fresh = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%ld\n", call_on(bottom, SYS_read, fd, (long)fresh, 1 << 20));
    // Odd, empty, and impossible stack pointers.
    static const unsigned long places[] = {0, 1, 0x10, 0x7ffffffff000, 0x800000000000, 0xffff800000000000,
                                           0xffffffff80000000, ~0ul};
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        printf("%d %ld\n", call_on((void *)places[i], SYS_getpid, 0, 0, 0) == getpid(),
               call_on((void *)places[i], SYS_read, fd, (long)buffer, 64));
    int untouched = 1;
    for (int i = 0; i < 8192; i++)
        untouched &= bottom[i] == 0x77;
    CHECK(untouched);
    return 0;
}
