//@ status: SIGSEGV
// Running out of stack without another one to handle it on kills, handler or not.
#include "observe.h"
#include <sys/resource.h>

static void handler(int number) {
    (void)number;
    write(1, "not reached\n", 12);
}

#pragma GCC diagnostic ignored "-Winfinite-recursion"
__attribute__((noinline)) static int fall(int depth) {
    volatile char frame[500];
    frame[depth % 500] = depth;
    return fall(depth + 1) + frame[depth % 500];
}

int main(void) {
    struct rlimit limit = {1 << 20, RLIM_INFINITY};
    MUST(setrlimit(RLIMIT_STACK, &limit));
    signal(SIGSEGV, handler);
    puts("falling");
    return fall(0);
}
