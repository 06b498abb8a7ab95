//@ status: SIGABRT
//@ run:
//@ run: ignored
//@ run: handled
// abort() ends the program by SIGABRT whatever it did about that signal.
#include "observe.h"

static void handler(int number) {
    printf("handler %d\n", number);
}

int main(int argc, char **argv) {
    if (argc > 1)
        signal(SIGABRT, strcmp(argv[1], "ignored") ? handler : SIG_IGN);
    puts("aborting");
    abort();
}
