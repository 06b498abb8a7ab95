// What a handler is told: who sent the signal, how, and with what.
#include "observe.h"

static void handler(int number, siginfo_t *info, void *context) {
    (void)context;
    printf("signal %d: si_signo %d, si_code %d, from this process %d, value %d\n", number, info->si_signo, info->si_code,
           info->si_pid == getpid() && info->si_uid == getuid(), info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    const int numbers[] = {SIGHUP, SIGUSR1, SIGCHLD, SIGWINCH, SIGRTMIN, SIGRTMAX};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        MUST(sigaction(numbers[i], &action, NULL));
    TRY(kill(getpid(), SIGHUP));
    TRY(raise(SIGUSR1));
    TRY(syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR1));
    TRY(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGCHLD));
    TRY(kill(getpid(), SIGRTMAX));
    TRY(kill(getpid(), 0));
    TRY(kill(getpid(), 65));
    TRY(kill(getpid(), -1));
    TRY(kill(999999999, SIGHUP));
    TRY(kill(999999999, 0));
    TRY(syscall(SYS_tkill, 999999999, SIGHUP));
    TRY(syscall(SYS_tkill, 0, SIGHUP));
    TRY(syscall(SYS_tkill, -1, SIGHUP));
    TRY(syscall(SYS_tgkill, getpid(), 999999999, SIGHUP));
    TRY(syscall(SYS_tgkill, 0, syscall(SYS_gettid), SIGHUP));
    TRY(syscall(SYS_tgkill, getpid() + 1, syscall(SYS_gettid), SIGHUP));
    TRY(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 65));
    TRY(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 0));
    return 0;
}
