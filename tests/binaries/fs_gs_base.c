//@ trapped
// arch_prctl: the fs and gs bases, read, set and used.
#include "observe.h"

enum { SET_GS = 0x1001, SET_FS = 0x1002, GET_FS = 0x1003, GET_GS = 0x1004 };

static __thread int thread_local = 42;

static unsigned long read_gs(unsigned long offset) {
    unsigned long value;
    __asm__ volatile("mov %%gs:(%1), %0" : "=r"(value) : "r"(offset));
    return value;
}

int main(void) {
    unsigned long fs, gs, self;
    TRY(syscall(SYS_arch_prctl, GET_FS, &fs));
    __asm__("mov %%fs:0, %0" : "=r"(self));
    CHECK(fs == self);
    printf("thread-local %d\n", thread_local);
    TRY(syscall(SYS_arch_prctl, GET_GS, &gs));
    printf("gs %lx\n", gs);
    static unsigned long block[] = {111, 222, 333};
    TRY(syscall(SYS_arch_prctl, SET_GS, block));
    TRY(syscall(SYS_arch_prctl, GET_GS, &gs));
    CHECK(gs == (unsigned long)block);
    printf("%lu %lu\n", read_gs(0), read_gs(16));
    // It stays over system calls, faults and interrupts.
    for (volatile int i = 0; i < 20000000; i++)
        ;
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 1;
    printf("%lu\n", read_gs(8));
    __asm__ volatile("movq $444, %%gs:8" ::: "memory");
    printf("%lu\n", block[1]);
    // fs can move too, and come back.
    static unsigned long other[16];
    memcpy(other, (void *)fs, 8);
    long result;
    unsigned long value;
    other[3] = 999;
    __asm__ volatile("mov $158, %%eax; mov $0x1002, %%edi; mov %2, %%rsi; syscall; mov %%fs:24, %1\n"
                     "mov $158, %%eax; mov $0x1002, %%edi; mov %3, %%rsi; syscall"
                     : "=&a"(result), "=&r"(value)
                     : "r"(other), "r"(fs)
                     : "rdi", "rsi", "rcx", "r11", "memory");
    printf("%ld %lu\n", result, value);
    printf("thread-local %d\n", thread_local);
    TRY(syscall(SYS_arch_prctl, SET_FS, 0x7ffffffff000));
    TRY(syscall(SYS_arch_prctl, SET_GS, 0x800000000000));
    TRY(syscall(SYS_arch_prctl, SET_GS, -1l));
    TRY(syscall(SYS_arch_prctl, GET_FS, 16));
    TRY(syscall(SYS_arch_prctl, 0x9999, 0));
    TRY(syscall(SYS_arch_prctl, SET_GS, 0));
    return 0;
}
