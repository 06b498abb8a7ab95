// Instructions that are none, breakpoints and traps.
#include "faults.h"

static long after;

static void skip(int number, siginfo_t *info, void *context) {
    ucontext_t *user = context;
    printf("signal %d, code %d, at the instruction after: %d, trap %lld\n", number, info->si_code,
           user->uc_mcontext.gregs[REG_RIP] == after, (long long)user->uc_mcontext.gregs[REG_TRAPNO]);
}

int main(void) {
    catch_faults();
    FAULT("ud2", 0, __asm__ volatile("ud2"));
    FAULT("ud1", 0, __asm__ volatile(".byte 0x0f, 0xb9, 0xc0"));
    FAULT("an opcode invalid in 64-bit mode", 0, __asm__ volatile(".byte 0x06"));
    FAULT("lock without memory", 0, __asm__ volatile(".byte 0xf0, 0x90"));
    FAULT("lock on a register", 0, __asm__ volatile(".byte 0xf0, 0x01, 0xc0"));
    FAULT("sixteen bytes", 0,
          __asm__ volatile(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90"));
    FAULT("int3", 0, __asm__ volatile("int3"));
    FAULT("int 3 in two bytes", 0, __asm__ volatile(".byte 0xcd, 0x03"));
    FAULT("icebp", 0, __asm__ volatile(".byte 0xf1"));
    // A breakpoint's handler returns to the next instruction by itself.
    struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGTRAP, &action, NULL));
    __asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; int3; 1:" : "=m"(after)::"rax", "memory");
    puts("went on");
    return 0;
}
