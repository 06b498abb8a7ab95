//@ cpus: 1 2 4
// Waiting for one of many words.
#include "futex.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

static word words[130];
static struct futex_waitv waiters[130];

static long waitv(const void *list, unsigned count, unsigned flags, const struct timespec *timeout, int clock) {
    return syscall(SYS_futex_waitv, list, count, flags, timeout, clock);
}

static void set(int count, unsigned flags) {
    for (int i = 0; i < count; i++)
        waiters[i] = (struct futex_waitv){.uaddr = (uintptr_t)&words[i], .flags = FUTEX_32 | flags};
}

static long call(struct caller *caller) {
    return waitv(waiters, caller->value, 0, caller->timeout, CLOCK_MONOTONIC);
}

static void one(int count, int index, int private) {
    set(count, (unsigned)private);
    struct caller caller = {.call = call, .value = (uint32_t)count};
    start(&caller);
    until_waiters(&words[count - 1], private, 1);
    printf("%d of %d: ", index, count);
    TRY(futex(&words[index], FUTEX_WAKE | private, 1, NULL, NULL, 0));
    finish("answer", &caller);
    printf("left: %d\n", waiters_of(&words[0], private));
}

static atomic_int handled;
static void handler(int signal) {
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

static void interrupt(int flags, const struct timespec *timeout) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    MUST(sigaction(SIGUSR1, &action, NULL));
    set(3, FUTEX_PRIVATE_FLAG);
    atomic_store(&handled, 0);
    struct caller caller = {.call = call, .value = 3, .timeout = timeout};
    start(&caller);
    until_waiters(&words[2], FUTEX_PRIVATE_FLAG, 1);
    MUST(syscall(SYS_tgkill, getpid(), atomic_load(&caller.tid), SIGUSR1));
    while (!atomic_load(&handled))
        sched_yield();
    int woken = 0;
    for (int i = 0; i < 100 && !woken; i++) {
        struct timespec moment = {0, 2000000};
        nanosleep(&moment, NULL);
        woken = (int)futex(&words[1], FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
    }
    printf("woken %d, ", woken);
    finish("answer", &caller);
}

int main(void) {
    struct timespec past = {0, 0}, wrong = {0, -1};
    set(130, FUTEX_PRIVATE_FLAG);
    puts("refused");
    TRY(waitv(waiters, 2, 1, &past, CLOCK_MONOTONIC));
    TRY(waitv(waiters, 0, 0, &past, CLOCK_MONOTONIC));
    TRY(waitv(waiters, 129, 0, &past, CLOCK_MONOTONIC));
    TRY(waitv(NULL, 2, 0, &past, CLOCK_MONOTONIC));
    TRY(waitv((void *)16, 2, 0, &past, CLOCK_MONOTONIC));
    TRY(waitv(waiters, 2, 0, &past, CLOCK_BOOTTIME));
    TRY(waitv(waiters, 2, 0, NULL + 16, CLOCK_REALTIME));
    TRY(waitv(waiters, 2, 0, &wrong, CLOCK_REALTIME));
    TRY(waitv((void *)16, 2, 0, &wrong, CLOCK_REALTIME));
    waiters[1].reserved = 1;
    TRY(waitv(waiters, 2, 0, &past, CLOCK_MONOTONIC));
    set(2, FUTEX_PRIVATE_FLAG);
    unsigned flags[] = {0, 1, 3, 64 | FUTEX_32, 256 | FUTEX_32, FUTEX_PRIVATE_FLAG, 1u << 31 | FUTEX_32};
    for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
        waiters[1].flags = flags[i];
        printf("flags %x: ", flags[i]);
        TRY(waitv(waiters, 2, 0, &past, CLOCK_MONOTONIC));
    }
    set(2, 0);
    waiters[1].val = 1ull << 32;
    TRY(waitv(waiters, 2, 0, &past, CLOCK_MONOTONIC));
    waiters[1].val = 1;
    TRY(waitv(waiters, 2, 0, &past, CLOCK_MONOTONIC));
    waiters[1].val = 0;
    waiters[1].uaddr += 2;
    TRY(waitv(waiters, 2, 0, &past, CLOCK_MONOTONIC));
    waiters[1].uaddr = 16;
    TRY(waitv(waiters, 2, 0, &past, CLOCK_MONOTONIC));
    waiters[1].flags |= FUTEX_PRIVATE_FLAG;
    TRY(waitv(waiters, 2, 0, &past, CLOCK_MONOTONIC));

    puts("times");
    set(128, FUTEX_PRIVATE_FLAG);
    TRY(waitv(waiters, 128, 0, &past, CLOCK_MONOTONIC));
    TRY(waitv(waiters, 128, 0, &past, CLOCK_REALTIME));
    struct timespec soon = after_ms(CLOCK_MONOTONIC, 20);
    TRY(waitv(waiters, 3, 0, &soon, CLOCK_MONOTONIC));
    soon = after_ms(CLOCK_REALTIME, 20);
    TRY(waitv(waiters, 3, 0, &soon, CLOCK_REALTIME));
    printf("left: %d\n", waiters_of(&words[0], FUTEX_PRIVATE_FLAG));

    puts("wakes");
    for (int private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
        one(1, 0, private);
        one(5, 0, private);
        one(5, 3, private);
        one(128, 127, private);
        one(128, 64, private);
    }
    // The same word twice.
    set(2, FUTEX_PRIVATE_FLAG);
    waiters[1].uaddr = waiters[0].uaddr;
    struct caller twice = {.call = call, .value = 2};
    start(&twice);
    until_waiters(&words[0], FUTEX_PRIVATE_FLAG, 2);
    TRY(futex(&words[0], FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 2, NULL, NULL, 0));
    finish("the last", &twice);
    // Moved to another word.
    set(2, FUTEX_PRIVATE_FLAG);
    struct caller moved = {.call = call, .value = 2};
    start(&moved);
    until_waiters(&words[1], FUTEX_PRIVATE_FLAG, 1);
    TRY(futex(&words[0], FUTEX_REQUEUE | FUTEX_PRIVATE_FLAG, 0, COUNT(1), &words[9], 0));
    TRY(futex(&words[0], FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0));
    TRY(futex(&words[9], FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0));
    finish("moved", &moved);

    puts("signals");
    struct timespec far = after_ms(CLOCK_MONOTONIC, 100000);
    interrupt(0, NULL);
    interrupt(SA_RESTART, NULL);
    interrupt(0, &far);
    interrupt(SA_RESTART, &far);
    return 0;
}
