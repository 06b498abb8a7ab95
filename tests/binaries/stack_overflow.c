// Running out of stack brings SIGSEGV, handled on another stack; the program goes on.
#include "observe.h"
#include <setjmp.h>
#include <sys/resource.h>

static sigjmp_buf back;
static char *low_water;

static void handler(int number, siginfo_t *info, void *context) {
    (void)context;
    char here;
    char *address = info->si_addr;
    printf("signal %d code %d, address within a page of the deepest frame: %d, handler elsewhere: %d\n", number,
           info->si_code, address <= low_water && low_water - address < 100000, &here > low_water + (64 << 20) || &here < low_water);
    siglongjmp(back, 1);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winfinite-recursion"
#pragma GCC diagnostic ignored "-Wdangling-pointer"
__attribute__((noinline)) static int fall(int depth) {
    volatile char frame[500];
    frame[depth % 500] = depth;
    low_water = (char *)frame;
    return fall(depth + 1) + frame[depth % 500];
}
#pragma GCC diagnostic pop

int main(void) {
    static char other[65536];
    struct rlimit limit = {1 << 20, RLIM_INFINITY};
    MUST(setrlimit(RLIMIT_STACK, &limit));
    stack_t stack = {.ss_sp = other, .ss_size = sizeof other};
    MUST(sigaltstack(&stack, NULL));
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    for (int i = 0; i < 3; i++)
        if (sigsetjmp(back, 1) == 0)
            printf("%d\n", fall(0));
    char *top = (char *)&limit;
    printf("about a megabyte: %d\n", top - low_water > 900000 && top - low_water < 1200000);
    // With a higher limit it goes deeper.
    limit.rlim_cur = 2 << 20;
    MUST(setrlimit(RLIMIT_STACK, &limit));
    if (sigsetjmp(back, 1) == 0)
        printf("%d\n", fall(0));
    printf("about two: %d\n", top - low_water > 1900000 && top - low_water < 2300000);
    return 0;
}
