// Interrupts, far transfers and segment loads that a program may not do.
#include "faults.h"

#define TRAP(text) FAULT(text, 0, __asm__ volatile(text ::: "memory", "rax", "rcx"))

struct far {
    uint64_t offset;
    uint16_t selector;
} __attribute__((packed));

int main(void) {
    catch_faults();
    TRAP("int $0x00");
    TRAP("int $0x01");
    TRAP("int $0x02");
    TRAP("int $0x06");
    TRAP("int $0x08");
    TRAP("int $0x0d");
    TRAP("int $0x0e");
    TRAP("int $0x20");
    TRAP("int $0x30");
    TRAP("int $0x81");
    TRAP("int $0xff");
    // Selectors that name nothing a program can use.
    TRAP("mov $0x08, %%eax; mov %%eax, %%ds");
    TRAP("mov $0x10, %%eax; mov %%eax, %%es");
    TRAP("mov $0x10, %%eax; mov %%eax, %%ss");
    TRAP("mov $0x18, %%eax; mov %%eax, %%gs");
    TRAP("mov $0x18, %%eax; mov %%eax, %%fs");
    TRAP("mov $0xfff8, %%eax; mov %%eax, %%ds");
    static struct far far = {0, 0x10};
    FAULT("far jump", 0, __asm__ volatile("rex.W ljmp *%0" ::"m"(far) : "memory"));
    FAULT("far call", 0, __asm__ volatile("rex.W lcall *%0" ::"m"(far) : "memory"));
    FAULT("far return", 0, __asm__ volatile("push $0x10; push $0; lretq" ::: "memory"));
    FAULT("interrupt return", 0, __asm__ volatile("push $0x10; push $0; pushf; push $0x10; push $0; iretq" ::: "memory"));
    TRAP("xor %%ecx, %%ecx; sysretl");
    TRAP("xor %%ecx, %%ecx; xor %%edx, %%edx; .byte 0x0f, 0x35");
    puts("still here");
    return 0;
}
