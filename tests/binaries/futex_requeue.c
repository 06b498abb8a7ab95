//@ cpus: 1 2 4
// Waiters that are made to wait for another word.
#include "futex.h"

#define THREADS 6

static word first, second;
static struct caller callers[THREADS];

static void begin(int private) {
    memset(callers, 0, sizeof callers);
    for (int i = 0; i < THREADS; i++) {
        callers[i].address = &first;
        callers[i].operation = FUTEX_WAIT | private;
        start(&callers[i]);
        until_waiters(&first, private, i + 1);
    }
}

static void show(int private) { printf("first %d, second %d\n", waiters_of(&first, private), waiters_of(&second, private)); }

static void end(int private) {
    TRY(futex(&first, FUTEX_WAKE | private, INT_MAX, NULL, NULL, 0));
    TRY(futex(&second, FUTEX_WAKE | private, INT_MAX, NULL, NULL, 0));
    for (int i = 0; i < THREADS; i++)
        finish("waiter", &callers[i]);
}

int main(void) {
    for (int private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
        puts(private ? "private" : "shared");
        begin(private);
        TRY(futex(&first, FUTEX_CMP_REQUEUE | private, 1, COUNT(1), &second, 5));
        show(private);
        TRY(futex(&first, FUTEX_CMP_REQUEUE | private, 1, COUNT(2), &second, 0));
        finish("woken", &callers[0]);
        show(private);
        TRY(futex(&first, FUTEX_REQUEUE | private, 0, COUNT(1), &second, 77));
        show(private);
        TRY(futex(&second, FUTEX_WAKE | private, 1, NULL, NULL, 0));
        finish("woken", &callers[1]);
        TRY(futex(&second, FUTEX_REQUEUE | private, 0, COUNT(INT_MAX), &first, 0));
        show(private);
        TRY(futex(&first, FUTEX_REQUEUE | private, 0, COUNT(0), &second, 0));
        TRY(futex(&first, FUTEX_REQUEUE | private, INT_MAX, COUNT(INT_MAX), &second, 0));
        for (int i = 2; i < THREADS; i++)
            finish("woken", &callers[i]);

        begin(private);
        TRY(futex(&first, FUTEX_REQUEUE | private, 2, COUNT(INT_MAX), &second, 0));
        show(private);
        end(private);

        puts("a waiter whose time runs out elsewhere");
        struct timespec soon = {0, 200000000};
        struct caller caller = {.address = &first, .operation = FUTEX_WAIT | private, .timeout = &soon};
        start(&caller);
        until_waiters(&first, private, 1);
        TRY(futex(&first, FUTEX_REQUEUE | private, 0, COUNT(1), &second, 0));
        finish("moved", &caller);
        show(private);
    }
    return 0;
}
