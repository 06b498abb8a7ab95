//@ cpus: 1 2 4
//@ timeout: 120
// Many threads wait, wake, move, time out and are interrupted at once: every wake that was counted has reached one thread.
#include "futex.h"

#define WAITERS 6
#define WAKERS 2
#define ROUNDS 1200

static word words[3], pi_lock, mutex_word;
static atomic_long woken, counted, given_up, odd;
static atomic_int running;
static long protected_sum, inheriting_sum;
static uint32_t seeds[WAITERS + WAKERS];

static uint32_t next_random(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void handler(int signal) { (void)signal; }

// The mutex of U. Drepper, "Futexes are tricky".
static void lock(void) {
    uint32_t expected = 0;
    if (atomic_compare_exchange_strong(&mutex_word, &expected, 1))
        return;
    while (atomic_exchange(&mutex_word, 2) != 0)
        futex(&mutex_word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 2, NULL, NULL, 0);
}

static void unlock(void) {
    if (atomic_exchange(&mutex_word, 0) == 2)
        futex(&mutex_word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

static void lock_inheriting(void) {
    uint32_t expected = 0;
    if (atomic_compare_exchange_strong(&pi_lock, &expected, (uint32_t)own_tid()))
        return;
    while (futex(&pi_lock, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0) != 0)
        atomic_fetch_add(&odd, 1);
}

static void unlock_inheriting(void) {
    uint32_t expected = (uint32_t)own_tid();
    if (atomic_compare_exchange_strong(&pi_lock, &expected, 0))
        return;
    if (futex(&pi_lock, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0) != 0)
        atomic_fetch_add(&odd, 1);
}

static void *wait_often(void *argument) {
    uint32_t *seed = argument;
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t random = next_random(seed);
        struct timespec limit = {0, random % 300000};
        long result = futex(&words[random >> 20 & 1], FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, &limit, NULL, 0);
        if (result == 0)
            atomic_fetch_add(&woken, 1);
        else if (errno == ETIMEDOUT || errno == EINTR)
            atomic_fetch_add(&given_up, 1);
        else
            atomic_fetch_add(&odd, 1);
        lock();
        protected_sum++;
        unlock();
        lock_inheriting();
        inheriting_sum++;
        if (random % 16 == 0)
            sched_yield();
        unlock_inheriting();
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static struct {
    pthread_t thread;
    _Atomic int tid;
} waiters[WAITERS];

static void *wake_often(void *argument) {
    uint32_t *seed = argument;
    while (atomic_load(&running) > 0) {
        uint32_t random = next_random(seed);
        word *here = &words[random & 1], *there = &words[~random & 1];
        long result = 0;
        switch (random >> 8 & 3) {
        case 0:
            result = futex(here, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1 + (random >> 12) % 3, NULL, NULL, 0);
            break;
        case 1:
            // Whom it wakes cannot be told from whom it moves: it wakes none.
            futex(here, FUTEX_REQUEUE | FUTEX_PRIVATE_FLAG, 0, COUNT(1 + (random >> 12) % 4), there, 0);
            break;
        case 2:
            result = futex(here, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, COUNT(1), there,
                           FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0));
            break;
        case 3:
            syscall(SYS_tgkill, getpid(), atomic_load(&waiters[random % WAITERS].tid), SIGUSR1);
            break;
        }
        if (result < 0)
            atomic_fetch_add(&odd, 1);
        else
            atomic_fetch_add(&counted, result);
        if (random % 8 == 0)
            sched_yield();
    }
    return NULL;
}

static void *waiter_main(void *argument) {
    int index = (int)(long)argument;
    atomic_store(&waiters[index].tid, own_tid());
    return wait_often(&seeds[index]);
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    MUST(sigaction(SIGUSR1, &action, NULL));
    atomic_store(&running, WAITERS);
    pthread_t wakers[WAKERS];
    for (int i = 0; i < WAITERS + WAKERS; i++)
        seeds[i] = 2463534242u + (uint32_t)i * 7919;
    for (int i = 0; i < WAITERS; i++) {
        atomic_store(&waiters[i].tid, own_tid());
        pthread_create(&waiters[i].thread, NULL, waiter_main, (void *)(long)i);
    }
    for (int i = 0; i < WAKERS; i++)
        pthread_create(&wakers[i], NULL, wake_often, &seeds[WAITERS + i]);
    for (int i = 0; i < WAITERS; i++)
        pthread_join(waiters[i].thread, NULL);
    for (int i = 0; i < WAKERS; i++)
        pthread_join(wakers[i], NULL);
    CHECK(atomic_load(&woken) == atomic_load(&counted));
    CHECK(atomic_load(&woken) + atomic_load(&given_up) == WAITERS * ROUNDS);
    printf("odd: %ld\n", atomic_load(&odd));
    printf("sums: %ld %ld\n", protected_sum, inheriting_sum);
    printf("words: %x %x %x\n", atomic_load(&mutex_word), atomic_load(&pi_lock), atomic_load(&words[0]));
    return 0;
}
