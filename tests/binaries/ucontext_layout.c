// The frame a handler gets: what the context says about the interrupted program.
#include "observe.h"
#include <ucontext.h>

static void handler(int number, siginfo_t *info, void *context) {
    ucontext_t *user = context;
    greg_t *registers = user->uc_mcontext.gregs;
    const char *frame = __builtin_frame_address(0);
    (void)info;
    printf("signal %d\n", number);
    printf("rax %llx rbx %llx r15 %llx rdi %llx\n", registers[REG_RAX], registers[REG_RBX], registers[REG_R15], registers[REG_RDI]);
    printf("flags %llx, cs %llx, ss is user's: %d\n", registers[REG_EFL] & 0xcd5, registers[REG_CSGSFS] & 0xffff,
           ((registers[REG_CSGSFS] >> 48) & 3) == 3);
    printf("old mask %llx\n", registers[REG_OLDMASK]);
    printf("uc_flags %lx, link %p\n", user->uc_flags & ~1ul, (void *)user->uc_link);
    // Whether a process that never had another stack says SS_DISABLE here depends on its ancestors.
    printf("other stack: flags %x, size %zu\n", user->uc_stack.ss_flags & ~SS_DISABLE, user->uc_stack.ss_size);
    CHECK(((uintptr_t)frame & 15) == 0);
    CHECK(((uintptr_t)user->uc_mcontext.fpregs & 63) == 0);
    // The frame lies below the red zone of the interrupted code.
    CHECK((char *)user < (char *)registers[REG_RSP] - 128 && (char *)user > (char *)registers[REG_RSP] - 16384);
    CHECK((char *)info < (char *)registers[REG_RSP] - 128);
    printf("mxcsr %x, control %x\n", user->uc_mcontext.fpregs->mxcsr, user->uc_mcontext.fpregs->cwd);
    CHECK(sigismember(&user->uc_sigmask, SIGUSR1) == 0 && sigismember(&user->uc_sigmask, SIGUSR2) == 1);
    // The extended state announces itself behind the legacy area.
    uint32_t *reserved = (uint32_t *)((char *)user->uc_mcontext.fpregs + 464);
    CHECK(reserved[0] == 0x46505853);
    uint32_t extended = reserved[1], state = reserved[4];
    CHECK(extended >= state + 4 && state >= 512 + 64);
    CHECK(*(uint32_t *)((char *)user->uc_mcontext.fpregs + extended - 4) == 0x46505845);
    CHECK((*(uint64_t *)((char *)user->uc_mcontext.fpregs + 512) & ~*(uint64_t *)(reserved + 2)) == 0);
    unsigned mxcsr;
    unsigned long flags;
    unsigned short control;
    __asm__ volatile("stmxcsr %0; fnstcw %1; pushf; pop %2" : "=m"(mxcsr), "=m"(control), "=r"(flags));
    printf("in the handler: mxcsr %x, control %x, DF %lx\n", mxcsr & 0xffc0, control, flags & 0x400);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGTRAP, &action, NULL));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    unsigned mxcsr = 0x3f80, normal = 0x1f80;
    __asm__ volatile("ldmxcsr %0\n"
                     "mov $0xaaaa, %%eax; mov $0xbbbb, %%ebx; mov $0xffff, %%r15d; mov $0xd1, %%edi\n"
                     "std; stc; int3; cld\n"
                     "ldmxcsr %1" ::"m"(mxcsr), "m"(normal)
                     : "rax", "rbx", "r15", "rdi", "memory", "cc");
    puts("back");
    return 0;
}
