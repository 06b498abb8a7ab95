// rt_sigaction: what is remembered, and what cannot be set.
#include "observe.h"

struct kernel_action {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

static void handler(int number) {
    (void)number;
}

static long act(int number, const struct kernel_action *new, struct kernel_action *old) {
    return syscall(SYS_rt_sigaction, number, new, old, 8);
}

int main(void) {
    struct kernel_action old, new = {(void *)handler, SA_RESTART | SA_NODEFER | 0x04000000, (void *)0x1234, ~0ul};
    TRY(act(SIGUSR1, NULL, &old));
    printf("%d %lx %d %lx\n", old.handler == NULL, old.flags, old.restorer == NULL, old.mask);
    TRY(act(SIGUSR1, &new, NULL));
    TRY(act(SIGUSR1, NULL, &old));
    printf("%d %lx %d %lx\n", old.handler == (void *)handler, old.flags, old.restorer == (void *)0x1234, old.mask);
    new.flags = 0x04000000;
    new.handler = (void *)1;
    TRY(act(SIGUSR1, &new, &old));
    printf("%lx\n", old.flags);
    TRY(act(SIGUSR1, NULL, &old));
    printf("%d\n", old.handler == (void *)1);
    TRY(act(SIGKILL, &new, NULL));
    TRY(act(SIGSTOP, &new, NULL));
    TRY(act(SIGKILL, NULL, &old));
    TRY(act(0, &new, NULL));
    TRY(act(65, &new, NULL));
    TRY(act(-1, NULL, &old));
    TRY(act(64, &new, NULL));
    TRY(syscall(SYS_rt_sigaction, SIGUSR1, &new, NULL, 4));
    TRY(syscall(SYS_rt_sigaction, SIGUSR1, 16, NULL, 8));
    TRY(syscall(SYS_rt_sigaction, SIGUSR1, NULL, 16, 8));
    CHECK(signal(SIGKILL, SIG_IGN) == SIG_ERR);
    return 0;
}
