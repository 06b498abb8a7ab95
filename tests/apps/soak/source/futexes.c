// Tasks on raw futexes: what is woken once comes back, with no second wake-up.
#include "soak.h"
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#define WAITERS 6

static long futex(atomic_uint *word, int operation, unsigned value, const void *timeout, atomic_uint *other, unsigned last) {
    return syscall(SYS_futex, word, operation, value, timeout, other, last);
}

// Either kind of key.
static int flavour(int private) { return private ? FUTEX_PRIVATE_FLAG : 0; }

struct gate {
    atomic_uint first, second, released[WAITERS];
    atomic_int ready, through;
    int private, uses_bits;
};

static void wait_at_gate(void *argument, int number) {
    struct gate *gate = argument;
    unsigned bits = gate->uses_bits ? 1u << number : FUTEX_BITSET_MATCH_ANY;
    gate->ready++;
    while (!gate->released[number]) {
        at("waits in a futex for its release");
        struct timespec until = after_us(CLOCK_MONOTONIC, 100000 + pick(900000000));
        long result = pick(2) ? futex(&gate->first, FUTEX_WAIT_BITSET | flavour(gate->private), 0, &until, NULL, bits)
                              : futex(&gate->first, FUTEX_WAIT_BITSET | flavour(gate->private), 0, NULL, NULL, bits);
        ENSURE(result == 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT);
        // Once the word is changed the release is near.
        if (gate->first != 0)
            sched_yield();
    }
    gate->through++;
}

static void start_gate(struct gate *gate, struct helper *helpers) {
    for (int i = 0; i < WAITERS; i++)
        start_helper(&helpers[i], wait_at_gate, gate, i);
    at("waits until all are at the gate");
    while (gate->ready < WAITERS)
        sleep_us(50);
    if (pick(2))
        sleep_us(pick(500));
}

static void join_gate(struct gate *gate, struct helper *helpers) {
    for (int i = 0; i < WAITERS; i++)
        join_helper(&helpers[i]);
    ENSURE_IS(gate->through, WAITERS);
    ENSURE_IS(futex(&gate->first, FUTEX_WAKE | flavour(gate->private), INT_MAX, NULL, NULL, 0), 0);
    ENSURE_IS(futex(&gate->second, FUTEX_WAKE | flavour(gate->private), INT_MAX, NULL, NULL, 0), 0);
}

// One after the other by its bit.
static void use_bits(void) {
    struct gate gate = {.private = (int)pick(2), .uses_bits = 1};
    struct helper helpers[WAITERS];
    start_gate(&gate, helpers);
    for (int i = 0; i < WAITERS; i++) {
        gate.released[i] = 1;
        if (i == WAITERS - 1)
            gate.first = 1;
        long woken = futex(&gate.first, FUTEX_WAKE_BITSET | flavour(gate.private), INT_MAX, NULL, NULL, 1u << i);
        ENSURE(woken == 0 || woken == 1);
        // It may have been on its way into the futex: that one sees a changed word at the latest now.
        if (woken == 0) {
            gate.first = 1;
            futex(&gate.first, FUTEX_WAKE_BITSET | flavour(gate.private), INT_MAX, NULL, NULL, 1u << i);
        }
    }
    join_gate(&gate, helpers);
}

// Moved to another word and woken there.
static void use_requeue(void) {
    struct gate gate = {.private = (int)pick(2)};
    struct helper helpers[WAITERS];
    start_gate(&gate, helpers);
    gate.first = 1;
    unsigned wakes = pick(3);
    long moved = pick(2) ? futex(&gate.first, FUTEX_CMP_REQUEUE | flavour(gate.private), wakes, (void *)(long)INT_MAX,
                                 &gate.second, 1)
                         : futex(&gate.first, FUTEX_REQUEUE | flavour(gate.private), wakes, (void *)(long)INT_MAX,
                                 &gate.second, 0);
    ENSURE(moved >= 0 && moved <= WAITERS);
    for (int i = 0; i < WAITERS; i++)
        gate.released[i] = 1;
    futex(&gate.first, FUTEX_WAKE | flavour(gate.private), INT_MAX, NULL, NULL, 0);
    futex(&gate.second, FUTEX_WAKE | flavour(gate.private), INT_MAX, NULL, NULL, 0);
    join_gate(&gate, helpers);
    errno = 0;
    ENSURE(futex(&gate.first, FUTEX_CMP_REQUEUE | flavour(gate.private), 1, (void *)1L, &gate.second, 77) == -1 &&
           errno == EAGAIN);
}

// Both words woken by one operation that changes one of them.
static void use_wake_op(void) {
    struct gate gate = {.private = (int)pick(2)};
    struct helper helpers[WAITERS];
    start_gate(&gate, helpers);
    for (int i = 0; i < WAITERS; i++)
        gate.released[i] = 1;
    ENSURE(futex(&gate.second, FUTEX_WAKE_OP | flavour(gate.private), INT_MAX, (void *)(long)INT_MAX, &gate.first,
                 FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0)) >= 0);
    ENSURE_IS(gate.first, 1);
    join_gate(&gate, helpers);
}

// Two threads hand a turn to and fro, with plain waits.
struct turns {
    atomic_uint turn;
    unsigned rounds;
    int private;
};

static void take_turns(void *argument, int number) {
    struct turns *turns = argument;
    for (unsigned round = 0; round < turns->rounds; round++) {
        unsigned mine = 2 * round + (unsigned)number, now;
        while ((now = turns->turn) != mine) {
            at("waits for its turn");
            long result = futex(&turns->turn, FUTEX_WAIT | flavour(turns->private), now, NULL, NULL, 0);
            ENSURE(result == 0 || errno == EAGAIN || errno == EINTR);
        }
        turns->turn = mine + 1;
        long woken = futex(&turns->turn, FUTEX_WAKE | flavour(turns->private), 1, NULL, NULL, 0);
        ENSURE(woken == 0 || woken == 1);
    }
}

static void use_turns(void) {
    struct turns turns = {.rounds = 1 + pick(300), .private = (int)pick(2)};
    struct helper helper;
    start_helper(&helper, take_turns, &turns, 1);
    take_turns(&turns, 0);
    join_helper(&helper);
    ENSURE_IS(turns.turn, 2 * turns.rounds);
}

// A lock with priority inheritance, made of raw operations alone.
struct inheriting {
    atomic_uint word;
    long counter;
    int private;
};

static void lock_raw(void *argument, int number) {
    struct inheriting *lock = argument;
    unsigned tid = (unsigned)me->tid;
    (void)number;
    for (int i = 0; i < 100; i++) {
        unsigned free_word = 0;
        at("takes the inheriting futex");
        if (!atomic_compare_exchange_strong(&lock->word, &free_word, tid)) {
            long result;
            if (pick(3) == 0) {
                struct timespec until = after_us(CLOCK_REALTIME, pick(2000));
                result = futex(&lock->word, FUTEX_LOCK_PI | flavour(lock->private), 0, &until, NULL, 0);
                if (result != 0 && errno == ETIMEDOUT)
                    continue;
            } else {
                result = RETRY(futex(&lock->word, FUTEX_LOCK_PI | flavour(lock->private), 0, NULL, NULL, 0));
            }
            ENSURE_IS(result, 0);
        }
        ENSURE_IS(lock->word & FUTEX_TID_MASK, tid);
        long before = lock->counter;
        if (pick(20) == 0)
            sleep_us(pick(200));
        lock->counter = before + 1;
        unsigned owned = tid;
        if (!atomic_compare_exchange_strong(&lock->word, &owned, 0))
            ENSURE_IS(futex(&lock->word, FUTEX_UNLOCK_PI | flavour(lock->private), 0, NULL, NULL, 0), 0);
    }
}

static void use_inheriting(void) {
    struct inheriting lock = {.private = (int)pick(2)};
    struct helper helpers[4];
    int count = 1 + (int)pick(4);
    for (int i = 0; i < count; i++)
        start_helper(&helpers[i], lock_raw, &lock, i);
    lock_raw(&lock, count);
    for (int i = 0; i < count; i++)
        join_helper(&helpers[i]);
    ENSURE_IS(lock.word, 0);
    ENSURE(lock.counter > 0 && lock.counter <= 100 * (count + 1));
}

static void use_time_outs(void) {
    atomic_uint word = 5;
    for (int i = 0; i < 20; i++) {
        struct timespec relative = {0, pick(1000000)}, now, until = after_us(CLOCK_MONOTONIC, pick(1000));
        at("waits for a time-out");
        errno = 0;
        if (pick(2)) {
            ENSURE(futex(&word, FUTEX_WAIT, 5, &relative, NULL, 0) == -1 && (errno == ETIMEDOUT || errno == EINTR));
        } else {
            ENSURE(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 5, &until, NULL, 1) == -1 && (errno == ETIMEDOUT || errno == EINTR));
            clock_gettime(CLOCK_MONOTONIC, &now);
            ENSURE(errno == EINTR || now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));
        }
    }
}

const struct task futex_tasks[] = {{"futex bits", use_bits},
                                   {"futex requeue", use_requeue},
                                   {"futex wake-op", use_wake_op},
                                   {"futex turns", use_turns},
                                   {"futex inheriting", use_inheriting},
                                   {"futex time-outs", use_time_outs},
                                   {NULL, NULL}};
