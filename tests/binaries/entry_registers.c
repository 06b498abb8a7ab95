//@ cflags: -nostartfiles
//@ status: 7
// The registers at the very first instruction are zero, but for the stack pointer.
#include <stdint.h>

uint64_t at_entry[16];

__asm__(".globl _start\n"
        "_start:\n"
        "mov %rax, at_entry+0(%rip); mov %rbx, at_entry+8(%rip); mov %rcx, at_entry+16(%rip)\n"
        "mov %rdx, at_entry+24(%rip); mov %rsi, at_entry+32(%rip); mov %rdi, at_entry+40(%rip)\n"
        "mov %rbp, at_entry+48(%rip); mov %r8, at_entry+56(%rip); mov %r9, at_entry+64(%rip)\n"
        "mov %r10, at_entry+72(%rip); mov %r11, at_entry+80(%rip); mov %r12, at_entry+88(%rip)\n"
        "mov %r13, at_entry+96(%rip); mov %r14, at_entry+104(%rip); mov %r15, at_entry+112(%rip)\n"
        "mov %rsp, at_entry+120(%rip)\n"
        "and $-16, %rsp\n"
        "call body\n");

static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

__attribute__((used)) void body(void) {
    static char text[] = "register 00 is zero\n";
    for (int i = 0; i < 15; i++) {
        text[9] = '0' + i / 10;
        text[10] = '0' + i % 10;
        text[12] = at_entry[i] ? '!' : 'i';
        call(1, 1, (long)text, sizeof text - 1);
    }
    static char aligned[] = "stack aligned: n\n";
    if (at_entry[15] % 16 == 0)
        aligned[15] = 'y';
    call(1, 1, (long)aligned, sizeof aligned - 1);
    call(231, 7, 0, 0);
    for (;;)
        ;
}
