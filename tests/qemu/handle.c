// Says that it runs, then which signal comes first.
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void handler(int signal) { caught = signal; }

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    sigset_t blocked, none;

    // Blocked until it waits, so that none comes between the test and the pause.
    sigemptyset(&none);
    sigfillset(&blocked);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    for (int signal = 1; signal < 32; signal++)
        sigaction(signal, &action, NULL);
    puts("ready");
    fflush(stdout);
    while (!caught)
        sigsuspend(&none);
    printf("signal %d\n", caught);
    return 0;
}
