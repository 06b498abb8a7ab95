// ppoll and pselect let a blocked signal in for as long as they wait, and only then.
#include "observe.h"
#include <poll.h>
#include <sys/select.h>
#include <time.h>

static volatile int handled;

static void handler(int number) {
    handled = number;
}

int main(void) {
    sigset_t block, none;
    struct timespec forever = {1000, 0}, zero = {0, 0};
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGUSR1);
    printf("handled %d\n", handled);
    TRY(ppoll(NULL, 0, &zero, NULL));
    printf("handled %d\n", handled);
    TRY(ppoll(NULL, 0, &forever, &none));
    printf("handled %d\n", handled);
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    CHECK(sigismember(&now, SIGUSR1) == 1);
    handled = 0;
    raise(SIGUSR1);
    TRY(pselect(0, NULL, NULL, NULL, &forever, &none));
    printf("handled %d\n", handled);
    handled = 0;
    raise(SIGUSR1);
    // Even with nothing to wait for.
    int p[2];
    MUST(pipe(p));
    struct pollfd set = {p[1], POLLOUT, 0};
    TRY(ppoll(&set, 1, &forever, &none));
    printf("handled %d, revents %x\n", handled, set.revents);
    // An ignored or default-ignored signal does not end the wait.
    signal(SIGUSR1, SIG_IGN);
    raise(SIGUSR1);
    raise(SIGCHLD);
    struct timespec moment = {0, 10000000};
    TRY(ppoll(NULL, 0, &moment, &none));
    return 0;
}
