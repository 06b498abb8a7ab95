//@ status: SIGPIPE
// Writing to a pipe that nobody reads kills by SIGPIPE.
#include "observe.h"

static void handler(int number) {
    (void)number;
    write(1, "in the handler\n", 15);
}

int main(void) {
    int p[2];
    MUST(pipe(p));
    MUST(close(p[0]));
    signal(SIGPIPE, handler);
    TRY(write(p[1], "x", 1));
    signal(SIGPIPE, SIG_DFL);
    TRY(write(p[1], "x", 1));
    puts("not reached");
    return 0;
}
