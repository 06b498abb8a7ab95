// The 128 bytes below the stack pointer belong to the program: nothing may write there, whatever happens meanwhile.
#include "observe.h"
#include <time.h>

// Fills the red zone with a pattern, does something, and counts the words that changed. The body sees rbx and the zone.
#define WATCH(name, body)                                                                                        \
    __attribute__((noinline)) static unsigned long name(unsigned long argument) {                                \
        unsigned long changed;                                                                                   \
        __asm__ volatile("mov %%rsp, %%rbx\n"                                                                    \
                         "mov %1, %%r12\n"                                                                       \
                         "sub $4096, %%rsp\n"                                                                    \
                         "mov $0x5a5a5a5a5a5a5a5a, %%rax\n"                                                      \
                         "lea -128(%%rsp), %%rdi\n"                                                              \
                         "mov $16, %%ecx\n"                                                                      \
                         "cld; rep stosq\n" body                                                                 \
                         "\nmov $0x5a5a5a5a5a5a5a5a, %%rax\n"                                                    \
                         "xor %%edx, %%edx\n"                                                                    \
                         "mov $-128, %%rcx\n"                                                                    \
                         "8: cmp %%rax, (%%rsp, %%rcx)\n"                                                        \
                         "je 9f\n"                                                                               \
                         "inc %%rdx\n"                                                                           \
                         "9: add $8, %%rcx\n"                                                                    \
                         "jnz 8b\n"                                                                              \
                         "mov %%rbx, %%rsp\n"                                                                    \
                         "mov %%rdx, %0\n"                                                                       \
                         : "=r"(changed)                                                                         \
                         : "r"(argument)                                                                         \
                         : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r10", "r11", "r12", "memory", "cc"); \
        return changed;                                                                                          \
    }

// Long enough for many timer interrupts.
WATCH(looping, "mov %%r12, %%rcx\n1: dec %%rcx\njnz 1b\n")
WATCH(calling, "1: mov $39, %%eax\nsyscall\ndec %%r12\njnz 1b\n")
WATCH(touching, "1: movb $1, (%%r12)\nadd $4096, %%r12\nmov %%r12, %%rax\nand $0xfffff, %%eax\njnz 1b\n")
WATCH(signalling, "mov %%r12, %%rdi\nmov $10, %%esi\nmov $62, %%eax\nsyscall\n")
WATCH(trapping, "int3\n")

static int handled;

static void handler(int number) {
    volatile char frame[3000];
    memset((char *)frame, number, sizeof frame);
    handled += frame[100] != 0;
}

int main(void) {
    signal(SIGUSR1, handler);
    signal(SIGTRAP, handler);
    printf("looping: %lu\n", looping(100000000));
    printf("system calls: %lu\n", calling(10000));
    char *area = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("page faults: %lu\n", touching(((uintptr_t)area + 0xfffff) & ~0xffffful));
    printf("signals: %lu\n", signalling(getpid()));
    printf("traps: %lu\n", trapping(0));
    printf("handled %d\n", handled);
    return 0;
}
