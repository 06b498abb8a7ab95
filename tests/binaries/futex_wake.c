//@ cpus: 1 2 4
// Who is woken, how many, in which order, and by which bits.
#include "futex.h"

#define THREADS 5

static word value, other;
static struct caller callers[THREADS];

static void begin(int operation, const uint32_t *bits) {
    memset(callers, 0, sizeof callers);
    for (int i = 0; i < THREADS; i++) {
        callers[i].address = &value;
        callers[i].operation = operation;
        callers[i].bits = bits ? bits[i] : 0;
        start(&callers[i]);
        until_waiters(&value, operation & FUTEX_PRIVATE_FLAG, i + 1);
    }
}

static void end(void) {
    for (int i = 0; i < THREADS; i++)
        finish("waiter", &callers[i]);
}

// Lets those who were woken end, and says who is still there.
static void show(int private, int left) {
    until_waiters(&value, private, left);
    printf("waiting: %d\n", waiters_of(&value, private));
}

int main(void) {
    for (int private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
        puts(private ? "private" : "shared");
        begin(FUTEX_WAIT | private, NULL);
        TRY(futex(&value, FUTEX_WAKE | (private ^ FUTEX_PRIVATE_FLAG), 9, NULL, NULL, 0));
        TRY(futex(&other, FUTEX_WAKE | private, 9, NULL, NULL, 0));
        TRY(futex(&value, FUTEX_WAKE | private, 0, NULL, NULL, 0));
        pthread_join(callers[0].thread, NULL);
        printf("the first came back: %ld\n", callers[0].result);
        TRY(futex(&value, FUTEX_WAKE | private, -7, NULL, NULL, 0));
        pthread_join(callers[1].thread, NULL);
        printf("the second came back: %ld\n", callers[1].result);
        show(private, 3);
        TRY(futex(&value, FUTEX_WAKE | private, 2, NULL, NULL, 0));
        show(private, 1);
        TRY(futex(&value, FUTEX_WAKE | private, 2, NULL, NULL, 0));
        TRY(futex(&value, FUTEX_WAKE | private, 2, NULL, NULL, 0));
        for (int i = 2; i < THREADS; i++)
            finish("waiter", &callers[i]);

        begin(FUTEX_WAIT | private, NULL);
        TRY(futex(&value, FUTEX_WAKE | private, INT_MAX, NULL, NULL, 0));
        end();

        puts("bits");
        begin(FUTEX_WAIT_BITSET | private, (uint32_t[]){1, 2, 3, 4, 0x80000000});
        TRY(futex(&value, FUTEX_WAKE_BITSET | private, 9, NULL, NULL, 8));
        TRY(futex(&value, FUTEX_WAKE_BITSET | private, 9, NULL, NULL, 2));
        finish("second", &callers[1]);
        finish("third", &callers[2]);
        TRY(futex(&value, FUTEX_WAKE_BITSET | private, 1, NULL, NULL, 0xc0000000));
        finish("fifth", &callers[4]);
        TRY(futex(&value, FUTEX_WAKE | private, 9, NULL, NULL, 0));
        finish("first", &callers[0]);
        finish("fourth", &callers[3]);
    }
    return 0;
}
