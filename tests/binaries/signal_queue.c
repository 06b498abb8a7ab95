// rt_sigqueueinfo: values arrive in order; standard signals merge, real-time signals queue.
#include "observe.h"

static void handler(int number, siginfo_t *info, void *context) {
    (void)context;
    printf("signal %d code %d value %d\n", number == SIGUSR1 ? 10 : number - SIGRTMIN + 100, info->si_code,
           info->si_value.sival_int);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigfillset(&action.sa_mask);
    MUST(sigaction(SIGUSR1, &action, NULL));
    MUST(sigaction(SIGRTMIN, &action, NULL));
    MUST(sigaction(SIGRTMIN + 1, &action, NULL));
    sigset_t all, old, pending;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    for (int i = 1; i <= 3; i++) {
        TRY(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i}));
        TRY(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = i}));
        TRY(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i * 10}));
    }
    TRY(sigpending(&pending));
    printf("pending %d %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGRTMIN),
           sigismember(&pending, SIGHUP));
    sigprocmask(SIG_SETMASK, &old, NULL);
    sigpending(&pending);
    printf("pending %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGRTMIN));
    // Becoming ignored throws away what is pending.
    sigprocmask(SIG_BLOCK, &all, &old);
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 99});
    signal(SIGRTMIN, SIG_IGN);
    sigpending(&pending);
    printf("pending %d\n", sigismember(&pending, SIGRTMIN));
    MUST(sigaction(SIGRTMIN, &action, NULL));
    sigprocmask(SIG_SETMASK, &old, NULL);
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_USER};
    info.si_code = -60;
    TRY(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
    // Behind what the kernel keeps of it, nothing may be in one with a code that nobody knows.
    ((char *)&info)[100] = 1;
    TRY(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
    info.si_code = -8;
    TRY(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
    TRY(syscall(SYS_rt_sigqueueinfo, 999999999, SIGUSR1, &info));
    TRY(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, 16));
    return 0;
}
