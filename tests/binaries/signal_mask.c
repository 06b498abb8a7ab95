// rt_sigprocmask: blocking, pending, what cannot be blocked, errors.
#include "observe.h"

static int count;

static void handler(int number) {
    (void)number;
    count++;
}

static void show(void) {
    uint64_t mask;
    MUST(syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, 8));
    printf("mask %016lx, handled %d\n", mask, count);
}

int main(void) {
    show();
    signal(SIGUSR1, handler);
    uint64_t usr1 = 1ul << (SIGUSR1 - 1), all = ~0ul, none = 0, old;
    TRY(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &usr1, &old, 8));
    printf("old %lx\n", old);
    raise(SIGUSR1);
    raise(SIGUSR1);
    show();
    TRY(syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &usr1, &old, 8));
    printf("old %lx\n", old);
    show();
    TRY(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8));
    show();
    TRY(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8));
    show();
    TRY(syscall(SYS_rt_sigprocmask, 99, &usr1, NULL, 8));
    TRY(syscall(SYS_rt_sigprocmask, 99, NULL, &old, 8));
    TRY(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &usr1, NULL, 4));
    TRY(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 16, NULL, 8));
    TRY(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &usr1, 16, 8));
    show();
    TRY(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, NULL, 8));
    return 0;
}
