//@ status: SIGSEGV
//@ run:
//@ run: ignored
//@ run: blocked
//@ run: nested
// A fault kills: without a handler, when ignored, when blocked, and inside its own handler.
#include "observe.h"

static volatile int *volatile nowhere = (volatile int *)16;

static void handler(int number) {
    printf("handler %d\n", number);
    *nowhere = 1;
    puts("not reached");
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    if (!strcmp(how, "ignored"))
        signal(SIGSEGV, SIG_IGN);
    if (!strcmp(how, "blocked") || !strcmp(how, "nested"))
        signal(SIGSEGV, handler);
    if (!strcmp(how, "blocked")) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGSEGV);
        sigprocmask(SIG_BLOCK, &set, NULL);
    }
    puts("about to fault");
    *nowhere = 1;
    puts("not reached");
    return 0;
}
