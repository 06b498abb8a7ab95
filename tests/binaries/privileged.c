// Every privileged instruction brings SIGSEGV (SIGILL where the processor says so), whatever it would do in ring 0, and
// the program goes on.
#include "faults.h"

#define TRAP(text) FAULT(text, 0, __asm__ volatile(text ::: "memory", "rax", "rbx", "rcx", "rdx", "rsi", "rdi"))
// With the registers set to values that would do harm.
#define TRAP_WITH(text, a, c, d) \
    FAULT(text, 0, __asm__ volatile(text ::"a"(a), "c"(c), "d"(d), "b"(0), "S"(buffer), "D"(buffer) : "memory"))

static char buffer[64] __attribute__((aligned(64)));

static void processor(void) {
    TRAP("hlt");
    TRAP("cli");
    TRAP("sti");
    TRAP("clts");
    TRAP("invd");
    TRAP("wbinvd");
    TRAP("swapgs");
    TRAP_WITH("rdmsr", 0, 0xc0000080, 0);
    TRAP_WITH("wrmsr", 0, 0xc0000080, 0);
    TRAP_WITH("xsetbv", 1, 0, 0);
    TRAP("invlpg (%%rsp)");
    TRAP_WITH("lmsw %%ax", 0, 0, 0);
    TRAP("lgdt (%%rsp)");
    TRAP("lidt (%%rsp)");
    TRAP_WITH("lldt %%ax", 0, 0, 0);
    TRAP_WITH("ltr %%ax", 0, 0, 0);
    TRAP_WITH("monitor", 0, 0, 0);
}

static void registers(void) {
    TRAP("mov %%cr0, %%rax");
    TRAP("mov %%cr2, %%rax");
    TRAP("mov %%cr3, %%rax");
    TRAP("mov %%cr4, %%rax");
    TRAP("mov %%cr8, %%rax");
    TRAP("mov %%cr3, %%r15");
    TRAP_WITH("mov %%rax, %%cr0", 0, 0, 0);
    TRAP_WITH("mov %%rax, %%cr3", 0, 0, 0);
    TRAP_WITH("mov %%rax, %%cr4", 0, 0, 0);
    TRAP_WITH("mov %%rax, %%cr8", 15, 0, 0);
    TRAP("mov %%dr0, %%rax");
    TRAP("mov %%dr6, %%rax");
    TRAP("mov %%dr7, %%rax");
    TRAP_WITH("mov %%rax, %%dr0", 0, 0, 0);
    TRAP_WITH("mov %%rax, %%dr7", 0, 0, 0);
}

static void ports(void) {
    TRAP_WITH("inb $0x70, %%al", 0, 0, 0);
    TRAP_WITH("inl $0x70, %%eax", 0, 0, 0);
    TRAP_WITH("outb %%al, $0x80", 0, 0, 0);
    TRAP_WITH("outl %%eax, $0x80", 0, 0, 0);
    TRAP_WITH("inb %%dx, %%al", 0, 0, 0x3f8);
    TRAP_WITH("inw %%dx, %%ax", 0, 0, 0x3f8);
    TRAP_WITH("inl %%dx, %%eax", 0, 0, 0x3f8);
    TRAP_WITH("outb %%al, %%dx", 'x', 0, 0x3f8);
    TRAP_WITH("outw %%ax, %%dx", 0, 0, 0x604);
    TRAP_WITH("outl %%eax, %%dx", 0, 0, 0x3f8);
    TRAP_WITH("insb", 0, 0, 0x3f8);
    TRAP_WITH("insl", 0, 0, 0x3f8);
    TRAP_WITH("outsb", 0, 0, 0x3f8);
    TRAP_WITH("outsl", 0, 0, 0x3f8);
    TRAP_WITH("rep insb", 0, 4, 0x3f8);
    TRAP_WITH("rep outsb", 0, 4, 0x3f8);
}

int main(void) {
    catch_faults();
    processor();
    registers();
    ports();
    puts("still here");
    return 0;
}
