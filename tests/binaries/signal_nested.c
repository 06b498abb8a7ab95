// Handlers within handlers: masks, SA_NODEFER, SA_RESETHAND, and in what order pending signals come.
#include "observe.h"

static int depth, rounds;

static void trace(int number) {
    printf("%*s> %d\n", depth * 2, "", number);
    depth++;
    if (number == SIGUSR1 && rounds > 0) {
        rounds--;
        raise(SIGUSR1);
        raise(SIGUSR2);
        raise(SIGHUP);
    }
    depth--;
    printf("%*s< %d\n", depth * 2, "", number);
}

static void install(int number, int flags, int blocked) {
    struct sigaction action = {.sa_handler = trace, .sa_flags = flags};
    if (blocked)
        sigaddset(&action.sa_mask, blocked);
    MUST(sigaction(number, &action, NULL));
}

int main(void) {
    puts("plain");
    install(SIGUSR1, 0, 0);
    install(SIGUSR2, 0, 0);
    install(SIGHUP, 0, 0);
    rounds = 2;
    raise(SIGUSR1);
    puts("SIGUSR2 blocked meanwhile");
    install(SIGUSR1, 0, SIGUSR2);
    rounds = 2;
    raise(SIGUSR1);
    puts("not deferred");
    install(SIGUSR1, SA_NODEFER, 0);
    rounds = 2;
    raise(SIGUSR1);
    puts("reset");
    install(SIGUSR2, SA_RESETHAND, 0);
    raise(SIGUSR2);
    struct sigaction now;
    sigaction(SIGUSR2, NULL, &now);
    CHECK(now.sa_handler == SIG_DFL);
    puts("all at once");
    sigset_t set, old;
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, &old);
    const int numbers[] = {SIGTERM, SIGRTMIN + 3, SIGHUP, SIGALRM, SIGRTMIN, SIGPIPE, SIGWINCH, SIGINT};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        install(numbers[i], 0, 0);
        raise(numbers[i]);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    puts("all at once, one after the other");
    sigprocmask(SIG_BLOCK, &set, &old);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct sigaction action = {.sa_handler = trace};
        sigfillset(&action.sa_mask);
        MUST(sigaction(numbers[i], &action, NULL));
        raise(numbers[i]);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    return 0;
}
