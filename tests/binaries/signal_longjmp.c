// Leaving a handler by siglongjmp restores the mask; by longjmp it does not.
#include "observe.h"
#include <setjmp.h>

static sigjmp_buf with_mask;
static jmp_buf without;
static int which;

static void handler(int number) {
    (void)number;
    if (which)
        siglongjmp(with_mask, 1);
    longjmp(without, 1);
}

static int blocked(void) {
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    return sigismember(&now, SIGUSR1);
}

int main(void) {
    signal(SIGUSR1, handler);
    which = 1;
    volatile int count = 0;
    for (int i = 0; i < 1000; i++)
        if (sigsetjmp(with_mask, 1) == 0)
            raise(SIGUSR1);
        else
            count++;
    printf("%d jumps, blocked %d\n", count, blocked());
    which = 0;
    if (setjmp(without) == 0)
        raise(SIGUSR1);
    printf("blocked %d\n", blocked());
    return 0;
}
