// sigtimedwait and sigsuspend.
#include "observe.h"
#include <time.h>

static void handler(int number) {
    printf("handler %d\n", number);
}

int main(void) {
    sigset_t set, none;
    siginfo_t info;
    struct timespec zero = {0, 0}, moment = {0, 10000000}, bad = {0, -1};
    sigemptyset(&none);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    signal(SIGUSR1, handler);
    signal(SIGUSR2, handler);
    sigprocmask(SIG_BLOCK, &set, NULL);
    TRY(sigtimedwait(&set, &info, &zero));
    TRY(sigtimedwait(&set, &info, &moment));
    TRY(sigtimedwait(&set, &info, &bad));
    raise(SIGUSR2);
    kill(getpid(), SIGUSR1);
    TRY(sigtimedwait(&set, &info, &moment));
    printf("code %d, own %d\n", info.si_code, info.si_pid == getpid());
    TRY(sigwaitinfo(&set, NULL));
    TRY(sigtimedwait(&set, NULL, &zero));
    // sigsuspend runs the handler, then answers; the mask is back afterwards.
    raise(SIGUSR1);
    raise(SIGUSR2);
    sigset_t one = none, now;
    sigaddset(&one, SIGUSR1);
    TRY(sigsuspend(&one));
    sigprocmask(SIG_SETMASK, NULL, &now);
    printf("mask %d %d\n", sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2));
    TRY(sigsuspend(&none));
    TRY(syscall(SYS_rt_sigsuspend, &none, 4));
    TRY(syscall(SYS_rt_sigsuspend, 16, 8));
    TRY(syscall(SYS_rt_sigtimedwait, &set, NULL, &zero, 4));
    TRY(syscall(SYS_rt_sigpending, &set, 16));
    return 0;
}
