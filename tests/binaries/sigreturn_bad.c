//@ status: SIGSEGV
//@ run: misaligned
//@ run: unmapped
//@ run: rip
// rt_sigreturn with a frame that makes no sense kills.
#include "observe.h"
#include <ucontext.h>

static const char *how;

static void handler(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    ucontext_t *user = context;
    if (!strcmp(how, "rip"))
        user->uc_mcontext.gregs[REG_RIP] = 0x800000000000;
}

int main(int argc, char **argv) {
    how = argc > 1 ? argv[1] : "";
    puts(how);
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGUSR1, &action, NULL));
    if (!strcmp(how, "unmapped"))
        __asm__ volatile("mov $0x10000, %%esp; mov $15, %%eax; syscall" ::: "memory");
    else if (!strcmp(how, "misaligned"))
        __asm__ volatile("mov $0x10003, %%esp; mov $15, %%eax; syscall" ::: "memory");
    raise(SIGUSR1);
    puts("not reached");
    return 0;
}
