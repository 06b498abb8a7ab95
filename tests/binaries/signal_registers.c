//@ trapped
// A signal handler returns to exactly the registers it interrupted.
#include "observe.h"

static volatile int handled;

static void handler(int number) {
    (void)number;
    handled++;
    // Everything a handler may use is used.
    __asm__ volatile("xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx; xor %%esi, %%esi; xor %%edi, %%edi\n"
                     "xor %%r8d, %%r8d; xor %%r9d, %%r9d; xor %%r10d, %%r10d; xor %%r11d, %%r11d\n"
                     "xor %%ebx, %%ebx; xor %%r12d, %%r12d; xor %%r13d, %%r13d; xor %%r14d, %%r14d; xor %%r15d, %%r15d" ::
                         : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "rbx", "r12", "r13", "r14", "r15", "cc");
}

// Loads a pattern into all registers, traps, and compares; answers the number of differences.
unsigned long trap_and_compare(uint64_t *stored);
__asm__(".text\n"
        ".globl trap_and_compare\n"
        "trap_and_compare:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi\n"
        "mov $0x1111, %rax; mov $0x2222, %rbx; mov $0x3333, %rcx; mov $0x4444, %rdx; mov $0x5555, %rsi\n"
        "mov $0x6666, %rdi; mov $0x7777, %rbp; mov $0x8888, %r8; mov $0x9999, %r9; mov $0xaaaa, %r10\n"
        "mov $0xbbbb, %r11; mov $0xcccc, %r12; mov $0xdddd, %r13; mov $0xeeee, %r14; mov $0xffff, %r15\n"
        "push $0x8d7; popf\n"
        "int3\n"
        "pushf\n"
        "push %rdi\n"
        "mov 16(%rsp), %rdi\n"
        "mov %rax, 0(%rdi); mov %rbx, 8(%rdi); mov %rcx, 16(%rdi); mov %rdx, 24(%rdi); mov %rsi, 32(%rdi)\n"
        "mov %rbp, 48(%rdi); mov %r8, 56(%rdi); mov %r9, 64(%rdi); mov %r10, 72(%rdi); mov %r11, 80(%rdi)\n"
        "mov %r12, 88(%rdi); mov %r13, 96(%rdi); mov %r14, 104(%rdi); mov %r15, 112(%rdi)\n"
        "pop %rax; mov %rax, 40(%rdi)\n"
        "pop %rax; mov %rax, 120(%rdi)\n"
        "push $0x202; popf\n"
        "pop %rdi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n");

int main(void) {
    uint64_t stored[16];
    signal(SIGTRAP, handler);
    trap_and_compare(stored);
    for (int i = 0; i < 15; i++)
        if (stored[i] != 0x1111ul * (i + 1))
            printf("register %d: %lx\n", i, stored[i]);
    printf("flags %lx, handled %d\n", stored[15] & 0xcd5, handled);
    return 0;
}
