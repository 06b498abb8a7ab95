//@ cpus: 1 2 4
// Waits that end by time or by a signal, and how they begin again.
#include "futex.h"

static word value;
static atomic_int handled;

static void handler(int signal) {
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

static void handle(int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    MUST(sigaction(SIGUSR1, &action, NULL));
}

static long elapsed_ms(const struct timespec *since) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
}

// Interrupts a wait. If it begins again, ends it by a wake.
static void interrupt(const char *label, int operation, int flags, const struct timespec *timeout, uint32_t bits) {
    handle(flags);
    atomic_store(&handled, 0);
    struct caller caller = {.address = &value, .operation = operation, .timeout = timeout, .bits = bits};
    start(&caller);
    until_waiters(&value, operation & FUTEX_PRIVATE_FLAG, 1);
    MUST(syscall(SYS_tgkill, getpid(), atomic_load(&caller.tid), SIGUSR1));
    while (!atomic_load(&handled))
        sched_yield();
    // One that has ended cannot be woken any more.
    int woken = 0;
    for (int i = 0; i < 100 && !woken; i++) {
        struct timespec moment = {0, 2000000};
        nanosleep(&moment, NULL);
        woken = (int)futex(&value, FUTEX_WAKE | (operation & FUTEX_PRIVATE_FLAG), 1, NULL, NULL, 0);
    }
    printf("%s: woken %d, ", label, woken);
    finish("answer", &caller);
}

int main(void) {
    int private = FUTEX_PRIVATE_FLAG;
    struct timespec begin, short_time = {0, 30000000}, long_time = {100, 0}, time;

    puts("times");
    clock_gettime(CLOCK_MONOTONIC, &begin);
    TRY(futex(&value, FUTEX_WAIT | private, 0, &short_time, NULL, 0));
    CHECK(elapsed_ms(&begin) >= 30);
    time = after_ms(CLOCK_MONOTONIC, 30);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    TRY(futex(&value, FUTEX_WAIT_BITSET | private, 0, &time, NULL, 1));
    CHECK(elapsed_ms(&begin) >= 29);
    time = after_ms(CLOCK_REALTIME, 30);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    TRY(futex(&value, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME | private, 0, &time, NULL, 1));
    CHECK(elapsed_ms(&begin) >= 28);
    // A point on the other clock is long past, or far ahead.
    time = after_ms(CLOCK_MONOTONIC, 100000);
    TRY(futex(&value, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME | private, 0, &time, NULL, 1));

    puts("signals");
    struct timespec far = after_ms(CLOCK_MONOTONIC, 100000), far_real = after_ms(CLOCK_REALTIME, 100000);
    interrupt("plain", FUTEX_WAIT | private, 0, NULL, 0);
    interrupt("plain, restarts", FUTEX_WAIT | private, SA_RESTART, NULL, 0);
    interrupt("shared, restarts", FUTEX_WAIT, SA_RESTART, NULL, 0);
    interrupt("with a time", FUTEX_WAIT | private, 0, &long_time, 0);
    interrupt("with a time, restarts", FUTEX_WAIT | private, SA_RESTART, &long_time, 0);
    interrupt("bits", FUTEX_WAIT_BITSET | private, 0, NULL, 5);
    interrupt("bits, restarts", FUTEX_WAIT_BITSET | private, SA_RESTART, NULL, 5);
    interrupt("bits until", FUTEX_WAIT_BITSET | private, 0, &far, 5);
    interrupt("bits until, restarts", FUTEX_WAIT_BITSET | private, SA_RESTART, &far, 5);
    interrupt("bits until then", FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME | private, SA_RESTART, &far_real, 5);

    puts("signals that are not handled");
    signal(SIGUSR1, SIG_IGN);
    struct caller caller = {.address = &value, .operation = FUTEX_WAIT | private, .timeout = &long_time};
    start(&caller);
    until_waiters(&value, private, 1);
    for (int i = 0; i < 5; i++)
        MUST(syscall(SYS_tgkill, getpid(), atomic_load(&caller.tid), SIGUSR1));
    until_waiters(&value, private, 1);
    TRY(futex(&value, FUTEX_WAKE | private, 1, NULL, NULL, 0));
    finish("answer", &caller);

    puts("a wait that is stopped goes on");
    struct caller stopped = {.address = &value, .operation = FUTEX_WAIT | private, .timeout = &long_time};
    start(&stopped);
    until_waiters(&value, private, 1);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    MUST(syscall(SYS_tgkill, getpid(), own_tid(), SIGUSR2));
    until_waiters(&value, private, 1);
    TRY(futex(&value, FUTEX_WAKE | private, 1, NULL, NULL, 0));
    finish("answer", &stopped);
    return 0;
}
