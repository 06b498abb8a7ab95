// Memory faults and their siginfo: SIGSEGV for absent and forbidden memory, for addresses that are none, SIGBUS.
#include "faults.h"

static volatile int sink;

// The compiler must not know the address, or it reasons about it.
static volatile char *at(uintptr_t address) {
    __asm__ volatile("" : "+r"(address));
    return (volatile char *)address;
}

int main(void) {
    catch_faults();
    char *reserved = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *readable = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *gone = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(gone, 4096);
    FAULT("read null", 0, sink = *at(0));
    FAULT("write null", 0, *at(0) = 1);
    FAULT("read near null", 0x123, sink = *at(0x123));
    FAULT("read unmapped", gone + 5, sink = *(volatile char *)(gone + 5));
    FAULT("write unmapped", gone + 5, *(volatile char *)(gone + 5) = 1);
    FAULT("execute unmapped", gone, ((void (*)(void))gone)());
    FAULT("read reserved", reserved, sink = *(volatile char *)reserved);
    FAULT("write reserved", reserved + 4095, *(volatile char *)(reserved + 4095) = 1);
    FAULT("write read-only", readable + 100, *(volatile char *)(readable + 100) = 1);
    FAULT("execute data", readable, ((void (*)(void))readable)());
    FAULT("read not canonical", 0x800000000000, sink = *at(0x800000000000));
    FAULT("write not canonical", 0xdeadbeefdeadbeef, *at(0xdeadbeefdeadbeef) = 1);
    FAULT("execute not canonical", 0x800000000000, ((void (*)(void))at(0x800000000000))());
    FAULT("read the last user page", 0x7ffffffff000, sink = *at(0x7ffffffff000));
    // An access over a page boundary reports the first byte that is missing.
    char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(two + 4096, 4096);
    FAULT("read across", two + 4096, sink = *(volatile int *)(two + 4094));
    FAULT("write across", two + 4096, *(volatile int *)(two + 4094) = 1);
    return 0;
}
