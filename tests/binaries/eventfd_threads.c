//@ cpus: 1 2 4
// Event counters and threads: who wakes for how much, in both modes, at the upper bound, and when a waiter is interrupted.
#include "waiters.h"
#include <sys/eventfd.h>

static long take(struct waiter *waiter) { return read(waiter->fd, &waiter->value, 8); }

static long add(struct waiter *waiter) {
    uint64_t amount = 10;
    waiter->value = amount;
    return write(waiter->fd, &amount, 8);
}

static void give(int fd, uint64_t amount) { MUST(write(fd, &amount, 8)); }

static uint64_t get(int fd) {
    uint64_t value = 0;
    MUST(read(fd, &value, 8));
    return value;
}

// Every reader of a semaphore gets one.
static void semaphore(void) {
    int fd = MUST(eventfd(0, EFD_SEMAPHORE));
    start_waiters(5, take, fd);
    printf("semaphore, nothing: %d\n", settle());
    give(fd, 1);
    printf("one for one: %d\n", settle());
    give(fd, 3);
    printf("three at once: %d\n", settle());
    show_answers("semaphore");
    give(fd, 4);
    join_waiters();
    printf("left: %llu", (unsigned long long)get(fd));
    printf(" %llu", (unsigned long long)get(fd));
    printf(" %llu\n", (unsigned long long)get(fd));
    close(fd);
}

// One reader of a counter gets everything.
static void counter(void) {
    int fd = MUST(eventfd(0, 0));
    start_waiters(3, take, fd);
    give(fd, 5);
    printf("all to one: %d\n", settle());
    show_answers("counter");
    give(fd, 6);
    printf("and to another: %d\n", settle());
    give(fd, 7);
    settle();
    show_answers("at the end");
    join_waiters();
    close(fd);
}

static void full(void) {
    int fd = MUST(eventfd(0, 0));
    give(fd, UINT64_MAX - 1);
    start_waiters(3, add, fd);
    printf("writers of a full counter: %d\n", settle());
    CHECK(get(fd) == UINT64_MAX - 1);
    printf("after a read: %d\n", settle());
    join_waiters();
    printf("sum %llu\n", (unsigned long long)get(fd));
    close(fd);
}

static void interrupted(void) {
    int fd = MUST(eventfd(0, 0));
    interrupt_waits();
    struct waiter *first = start_waiter(take, fd);
    start_waiters(2, take, fd);
    pthread_kill(first->thread, SIGUSR1);
    printf("interrupted: %d\n", settle());
    show_answers("by a signal");
    give(fd, 3);
    printf("the next wake reaches another: %d\n", settle());
    // As many wakes as interruptions: none of the wakes may get lost with the one who gives up.
    for (int i = 0; i < waiter_count; i++)
        if (!waiters[i].is_done)
            pthread_kill(waiters[i].thread, SIGUSR1);
    settle();
    give(fd, 4);
    join_waiters();
    int answered = 0, errors = 0;
    for (int i = 0; i < 3; i++)
        waiters[i].result < 0 ? errors++ : answered++;
    printf("together: %d\n", answered + errors);
    close(fd);
}

// Tokens handed from threads to threads: none is lost, none doubled.
enum { TOKENS = 4000, SIDES = 3 };
static int exchange_fd;
static _Atomic int taken;

static void *taker(void *argument) {
    uint64_t value;
    while (atomic_load(&taken) < TOKENS * SIDES && read(exchange_fd, &value, 8) == 8)
        if (atomic_fetch_add(&taken, 1) + 1 == TOKENS * SIDES)
            give(exchange_fd, SIDES);
    return argument;
}

static void *giver(void *argument) {
    for (int i = 0; i < TOKENS; i++)
        give(exchange_fd, 1);
    return argument;
}

static void exchange(void) {
    pthread_t takers[SIDES], givers[SIDES];
    exchange_fd = MUST(eventfd(0, EFD_SEMAPHORE));
    for (int i = 0; i < SIDES; i++)
        pthread_create(&givers[i], NULL, giver, NULL);
    for (int i = 0; i < SIDES; i++)
        pthread_create(&takers[i], NULL, taker, NULL);
    for (int i = 0; i < SIDES; i++)
        pthread_join(givers[i], NULL);
    for (int i = 0; i < SIDES; i++)
        pthread_join(takers[i], NULL);
    CHECK(taken >= TOKENS * SIDES);
    close(exchange_fd);
}

int main(void) {
    semaphore();
    counter();
    full();
    interrupted();
    exchange();
}
