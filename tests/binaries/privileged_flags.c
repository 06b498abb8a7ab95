// popf cannot change what belongs to the kernel: the interrupt flag and the I/O privilege stay, without a fault.
#include "observe.h"

static unsigned long load_and_read(unsigned long flags) {
    unsigned long result;
    __asm__ volatile("push %1; popf; pushf; pop %0; push $0x202; popf" : "=r"(result) : "r"(flags) : "memory", "cc");
    return result;
}

int main(void) {
    printf("without IF: %lx\n", load_and_read(0x002));
    printf("with IF: %lx\n", load_and_read(0x202));
    printf("IOPL 3: %lx\n", load_and_read(0x3202));
    printf("status flags: %lx\n", load_and_read(0x8d7 | 0x200));
    printf("DF: %lx\n", load_and_read(0x602));
    printf("AC: %lx\n", load_and_read(0x40202));
    printf("ID: %lx\n", load_and_read(0x200202));
    // Flags survive being saved and loaded around a system call.
    unsigned long result;
    __asm__ volatile("push $0x40ed7; popf; mov $39, %%eax; syscall; pushf; pop %0; push $0x202; popf"
                     : "=r"(result)::"rax", "rcx", "r11", "memory", "cc");
    printf("across a system call: %lx\n", result);
    return 0;
}
