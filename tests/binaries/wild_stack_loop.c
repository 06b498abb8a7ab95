// Interrupts and page faults while the stack pointer is used as any other register.
#include "observe.h"

int main(void) {
    // rsp counts through memory that is not there, with interrupts arriving all the time.
    unsigned long sum = 0;
    __asm__ volatile("mov %%rsp, %%r12\n"
                     "mov $100000000, %%ecx\n"
                     "xor %%esp, %%esp\n"
                     "1: add $8, %%rsp\n"
                     "dec %%rcx\n"
                     "jnz 1b\n"
                     "mov %%rsp, %0\n"
                     "mov %%r12, %%rsp\n"
                     : "=r"(sum)::"rcx", "r12", "cc", "memory");
    printf("%lu\n", sum);
    // Page faults while rsp is in the kernel's half.
    char *area = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    __asm__ volatile("mov %%rsp, %%r12\n"
                     "mov $0xffff800000000000, %%rsp\n"
                     "mov $256, %%ecx\n"
                     "1: incb (%1)\n"
                     "add $4096, %1\n"
                     "dec %%ecx\n"
                     "jnz 1b\n"
                     "mov %%rsp, %0\n"
                     "mov %%r12, %%rsp\n"
                     : "=r"(sum), "+r"(area)::"rcx", "r12", "cc", "memory");
    printf("%lx %d\n", sum, area[-4096]);
    return 0;
}
