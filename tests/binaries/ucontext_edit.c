// What a handler changes in its context takes effect when it returns; what belongs to the kernel does not.
#include "observe.h"
#include <ucontext.h>

static int step;

static void handler(int number, siginfo_t *info, void *context) {
    ucontext_t *user = context;
    greg_t *registers = user->uc_mcontext.gregs;
    (void)info, (void)number;
    switch (step) {
    case 0:
        registers[REG_RAX] = 1234567;
        break;
    case 1: // Skip the instruction at the fault: mov (%rax), %rax with three bytes.
        registers[REG_RIP] += 3;
        registers[REG_RAX] = 77;
        break;
    case 2: {
        double *xmm = (double *)user->uc_mcontext.fpregs->_xmm[3].element;
        xmm[0] = 6.25;
        break;
    }
    case 3:
        sigaddset(&user->uc_sigmask, SIGUSR2);
        break;
    case 4: // Flags: status bits are the program's, interrupts and privilege are not.
        registers[REG_EFL] = (registers[REG_EFL] | 0x8d5 | 0x3000 | 0x20000) & ~0x200;
        break;
    }
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGTRAP, &action, NULL));
    MUST(sigaction(SIGSEGV, &action, NULL));
    long value = 1;
    __asm__ volatile("int3" : "+a"(value)::"memory");
    printf("rax %ld\n", value);
    step = 1;
    value = 16;
    __asm__ volatile("mov (%%rax), %%rax" : "+a"(value)::"memory");
    printf("skipped, rax %ld\n", value);
    step = 2;
    double real;
    __asm__ volatile("xorps %%xmm3, %%xmm3; int3; movsd %%xmm3, %0" : "=m"(real)::"xmm3", "memory");
    printf("xmm3 %.2f\n", real);
    step = 3;
    __asm__ volatile("int3" ::: "memory");
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    printf("blocked %d\n", sigismember(&now, SIGUSR2));
    step = 4;
    unsigned long flags;
    __asm__ volatile("push $0x202; popf; int3; pushf; pop %0; push $0x202; popf" : "=r"(flags)::"memory", "cc");
    printf("flags %lx\n", flags);
    return 0;
}
