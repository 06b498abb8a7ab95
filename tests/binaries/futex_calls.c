//@ cpus: 1 2 4
// The calls futex_wake, futex_wait and futex_requeue.
#include "futex.h"

enum { CALL_WAKE = 454, CALL_WAIT = 455, CALL_REQUEUE = 456 };

static word first, second;

static long do_wake(word *address, unsigned long mask, int count, unsigned flags) {
    return syscall(CALL_WAKE, address, mask, count, flags);
}

static long do_wait(word *address, unsigned long value, unsigned long mask, unsigned flags, const struct timespec *timeout,
                    int clock) {
    return syscall(CALL_WAIT, address, value, mask, flags, timeout, clock);
}

static long requeue(const struct futex_waitv *both, unsigned flags, int wake, int count) {
    return syscall(CALL_REQUEUE, both, flags, wake, count);
}

static long call(struct caller *caller) {
    return do_wait(caller->address, caller->value, caller->bits, (unsigned)caller->operation, caller->timeout,
                   CLOCK_MONOTONIC);
}

static atomic_int handled;
static void handler(int signal) {
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

static void interrupt(int flags, const struct timespec *timeout) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    MUST(sigaction(SIGUSR1, &action, NULL));
    atomic_store(&handled, 0);
    struct caller caller = {.call = call, .address = &first, .bits = 1, .operation = FUTEX_32, .timeout = timeout};
    start(&caller);
    until_waiters(&first, 0, 1);
    MUST(syscall(SYS_tgkill, getpid(), atomic_load(&caller.tid), SIGUSR1));
    while (!atomic_load(&handled))
        sched_yield();
    int woken = 0;
    for (int i = 0; i < 100 && !woken; i++) {
        struct timespec moment = {0, 2000000};
        nanosleep(&moment, NULL);
        woken = (int)do_wake(&first, 1, 1, FUTEX_32);
    }
    printf("woken %d, ", woken);
    finish("answer", &caller);
}

int main(void) {
    struct timespec past = {0, 0}, wrong = {0, -1};
    unsigned private = FUTEX_32 | FUTEX_PRIVATE_FLAG;
    word *odd = (word *)((char *)&first + 1), *nowhere = (word *)16;

    puts("waking");
    unsigned flags[] = {0, 1, 3, FUTEX_32 | 256, FUTEX_32 | 1u << 20, FUTEX_32, private};
    for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
        printf("flags %x: ", flags[i]);
        TRY(do_wake(&first, 1, 1, flags[i]));
        TRY(do_wait(&first, 0, 1, flags[i], &past, CLOCK_MONOTONIC));
    }
    TRY(do_wake(&first, 0, 1, private));
    TRY(do_wake(&first, 0, 0, private));
    TRY(do_wake(&first, 1ul << 32, 1, private));
    TRY(do_wake(odd, 1, 1, private));
    TRY(do_wake(odd, 1, 0, private));
    TRY(do_wake(nowhere, 1, 1, FUTEX_32));
    TRY(do_wake(nowhere, 1, 0, FUTEX_32));
    TRY(do_wake(nowhere, 1, 1, private));

    puts("waiting");
    TRY(do_wait(&first, 1, 1, private, NULL, 0));
    TRY(do_wait(&first, 0, 0, private, NULL, 0));
    TRY(do_wait(&first, 1ul << 32, 1, private, NULL, 0));
    TRY(do_wait(&first, 0, 1ul << 32, private, NULL, 0));
    TRY(do_wait(&first, 0, 1, private, &past, CLOCK_REALTIME));
    TRY(do_wait(&first, 0, 1, private, &past, CLOCK_TAI));
    TRY(do_wait(&first, 1, 1, private, NULL, CLOCK_TAI));
    TRY(do_wait(&first, 0, 1, private, &wrong, CLOCK_REALTIME));
    TRY(do_wait(odd, 0, 1, private, NULL, 0));
    TRY(do_wait(nowhere, 0, 1, private, NULL, 0));

    puts("counts");
    struct caller callers[4];
    memset(callers, 0, sizeof callers);
    for (int i = 0; i < 4; i++) {
        callers[i] = (struct caller){.call = call, .address = &first, .bits = 1u << i, .operation = (int)private};
        start(&callers[i]);
        until_waiters(&first, FUTEX_PRIVATE_FLAG, i + 1);
    }
    TRY(do_wake(&first, 15, 0, private));
    TRY(do_wake(&first, 16, 9, private));
    TRY(do_wake(&first, 4, 9, private));
    finish("third", &callers[2]);
    struct futex_waitv both[2] = {{.uaddr = (uintptr_t)&first, .flags = private},
                                  {.uaddr = (uintptr_t)&second, .flags = private}};
    TRY(requeue(both, 1, 1, 1));
    TRY(requeue(NULL, 0, 1, 1));
    TRY(requeue((void *)16, 0, 1, 1));
    TRY(requeue(both, 0, -1, 1));
    TRY(requeue(both, 0, 1, -1));
    both[0].val = 1;
    TRY(requeue(both, 0, 1, 1));
    both[0].val = 0;
    both[1].flags = FUTEX_32;
    TRY(requeue(both, 0, 1, 1));
    both[1].flags = private;
    both[1].val = 99;
    TRY(requeue(both, 0, 1, 1));
    finish("first", &callers[0]);
    TRY(requeue(both, 0, 0, 0));
    TRY(waiters_of(&second, FUTEX_PRIVATE_FLAG));
    TRY(do_wake(&second, ~0u, 9, private));
    finish("second", &callers[1]);
    TRY(do_wake(&first, ~0u, -1, private));
    finish("fourth", &callers[3]);

    puts("signals");
    struct timespec far = after_ms(CLOCK_MONOTONIC, 100000);
    interrupt(0, NULL);
    interrupt(SA_RESTART, NULL);
    interrupt(0, &far);
    interrupt(SA_RESTART, &far);
    return 0;
}
