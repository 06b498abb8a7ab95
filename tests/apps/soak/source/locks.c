// Tasks on the locks of the C library.
#include "soak.h"
#include <semaphore.h>

#define ACCOUNTS 8
#define BALANCE 1000

enum kind { NORMAL, RECURSIVE, CHECKED, INHERITING, ROBUST, KINDS };

// Accounts behind a lock: what is moved is never lost.
struct bank {
    pthread_mutex_t mutex;
    pthread_rwlock_t lock;
    pthread_spinlock_t spin;
    sem_t semaphore;
    int how;
    long balance[ACCOUNTS];
};

static void make_mutex(pthread_mutex_t *mutex, enum kind kind) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    if (kind == RECURSIVE)
        pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    if (kind == CHECKED)
        pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    if (kind == INHERITING)
        pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    if (kind == ROBUST)
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    ENSURE_IS(pthread_mutex_init(mutex, &attr), 0);
    pthread_mutexattr_destroy(&attr);
}

static void lock_mutex(pthread_mutex_t *mutex) {
    switch (pick(3)) {
    case 0:
        if (pthread_mutex_trylock(mutex) == 0)
            return;
        break;
    case 1: {
        struct timespec until = after_us(CLOCK_REALTIME, pick(2000));
        int error = pthread_mutex_timedlock(mutex, &until);
        if (error == 0)
            return;
        ENSURE_IS(error, ETIMEDOUT);
    }
    }
    ENSURE_IS(pthread_mutex_lock(mutex), 0);
}

static void enter(struct bank *bank, int writes) {
    at("takes the bank's lock");
    if (bank->how < KINDS)
        lock_mutex(&bank->mutex);
    else if (bank->how == KINDS)
        ENSURE_IS(writes ? pthread_rwlock_wrlock(&bank->lock) : pthread_rwlock_rdlock(&bank->lock), 0);
    else if (bank->how == KINDS + 1)
        ENSURE_IS(pthread_spin_lock(&bank->spin), 0);
    else
        ENSURE_IS(RETRY(sem_wait(&bank->semaphore)), 0);
    at("is in the bank");
}

static void leave(struct bank *bank) {
    if (bank->how < KINDS)
        ENSURE_IS(pthread_mutex_unlock(&bank->mutex), 0);
    else if (bank->how == KINDS)
        ENSURE_IS(pthread_rwlock_unlock(&bank->lock), 0);
    else if (bank->how == KINDS + 1)
        ENSURE_IS(pthread_spin_unlock(&bank->spin), 0);
    else
        ENSURE_IS(sem_post(&bank->semaphore), 0);
}

static void move_money(void *argument, int number) {
    struct bank *bank = argument;
    (void)number;
    for (int i = (int)pick(200); i >= 0; i--) {
        if (pick(3) == 0) {
            long sum = 0;
            enter(bank, 0);
            for (int account = 0; account < ACCOUNTS; account++)
                sum += ((volatile long *)bank->balance)[account];
            leave(bank);
            ENSURE_IS(sum, ACCOUNTS * BALANCE);
        } else {
            uint32_t from = pick(ACCOUNTS), to = pick(ACCOUNTS), amount = pick(10);
            enter(bank, 1);
            bank->balance[from] -= amount;
            if (bank->how != KINDS + 1 && pick(40) == 0)
                sleep_us(pick(300));
            bank->balance[to] += amount;
            leave(bank);
        }
    }
}

static void use_bank(void) {
    struct bank bank;
    struct helper helpers[4];
    int count = 1 + (int)pick(4);
    bank.how = (int)pick(KINDS + 3);
    make_mutex(&bank.mutex, bank.how < KINDS ? (enum kind)bank.how : NORMAL);
    pthread_rwlock_init(&bank.lock, NULL);
    pthread_spin_init(&bank.spin, 0);
    sem_init(&bank.semaphore, 0, 1);
    for (int i = 0; i < ACCOUNTS; i++)
        bank.balance[i] = BALANCE;
    for (int i = 0; i < count; i++)
        start_helper(&helpers[i], move_money, &bank, i);
    move_money(&bank, count);
    for (int i = 0; i < count; i++)
        join_helper(&helpers[i]);
    long sum = 0;
    for (int i = 0; i < ACCOUNTS; i++)
        sum += bank.balance[i];
    ENSURE_IS(sum, ACCOUNTS * BALANCE);
    ENSURE_IS(pthread_mutex_destroy(&bank.mutex), 0);
}

// A bounded queue of numbers: what goes in comes out.
struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled, emptied;
    clockid_t clock;
    long items[8];
    unsigned put, got, left;
    atomic_long sum;
};

static void wait_for(struct queue *queue, pthread_cond_t *condition) {
    if (pick(2)) {
        struct timespec until = after_us(queue->clock, pick(3000));
        int error = pthread_cond_timedwait(condition, &queue->mutex, &until);
        ENSURE(error == 0 || error == ETIMEDOUT);
    } else {
        ENSURE_IS(pthread_cond_wait(condition, &queue->mutex), 0);
    }
}

static void consume(void *argument, int number) {
    struct queue *queue = argument;
    (void)number;
    for (;;) {
        at("waits for an item");
        lock_mutex(&queue->mutex);
        while (queue->put == queue->got && queue->left > 0)
            wait_for(queue, &queue->filled);
        if (queue->put == queue->got) {
            ENSURE_IS(pthread_mutex_unlock(&queue->mutex), 0);
            return;
        }
        queue->sum += queue->items[queue->got++ % 8];
        pthread_cond_signal(&queue->emptied);
        ENSURE_IS(pthread_mutex_unlock(&queue->mutex), 0);
    }
}

static void use_queue(void) {
    struct queue queue = {.clock = pick(2) ? CLOCK_REALTIME : CLOCK_MONOTONIC, .left = 1 + pick(300)};
    struct helper helpers[4];
    int count = 1 + (int)pick(4);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, queue.clock);
    pthread_condattr_setpshared(&attr, (int)pick(2));
    make_mutex(&queue.mutex, pick(2) ? NORMAL : INHERITING);
    pthread_cond_init(&queue.filled, &attr);
    pthread_cond_init(&queue.emptied, &attr);
    for (int i = 0; i < count; i++)
        start_helper(&helpers[i], consume, &queue, i);
    long sum = 0;
    for (unsigned left = queue.left; left > 0; left--) {
        at("waits for room");
        lock_mutex(&queue.mutex);
        while (queue.put - queue.got == 8)
            wait_for(&queue, &queue.emptied);
        sum += queue.items[queue.put++ % 8] = left;
        queue.left--;
        if (queue.left == 0)
            pthread_cond_broadcast(&queue.filled);
        else
            pthread_cond_signal(&queue.filled);
        ENSURE_IS(pthread_mutex_unlock(&queue.mutex), 0);
    }
    at("joins consumers");
    for (int i = 0; i < count; i++)
        join_helper(&helpers[i]);
    ENSURE_IS(queue.sum, sum);
    pthread_cond_destroy(&queue.filled);
    pthread_cond_destroy(&queue.emptied);
}

struct meeting {
    pthread_barrier_t barrier;
    atomic_int arrived, serial;
    int count, rounds;
};

static void meet(void *argument, int number) {
    struct meeting *meeting = argument;
    (void)number;
    for (int round = 1; round <= meeting->rounds; round++) {
        if (pick(8) == 0)
            sleep_us(pick(500));
        meeting->arrived++;
        at("waits at the barrier");
        meeting->serial += pthread_barrier_wait(&meeting->barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
        ENSURE(meeting->arrived >= round * meeting->count);
        at("waits at the second barrier");
        pthread_barrier_wait(&meeting->barrier);
    }
}

static void use_barrier(void) {
    struct helper helpers[5];
    struct meeting meeting = {.count = 2 + (int)pick(4), .rounds = 1 + (int)pick(30)};
    pthread_barrierattr_t attr;
    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, (int)pick(2));
    pthread_barrier_init(&meeting.barrier, &attr, (unsigned)meeting.count);
    for (int i = 1; i < meeting.count; i++)
        start_helper(&helpers[i - 1], meet, &meeting, i);
    meet(&meeting, 0);
    for (int i = 1; i < meeting.count; i++)
        join_helper(&helpers[i - 1]);
    ENSURE_IS(meeting.serial, meeting.rounds);
    pthread_barrier_destroy(&meeting.barrier);
}

// Tokens pass through a chain of semaphores.
struct chain {
    sem_t links[5];
    int count, tokens;
};

static void pass_on(void *argument, int number) {
    struct chain *chain = argument;
    for (int i = 0; i < chain->tokens; i++) {
        at("waits for a token");
        struct timespec until = after_us(CLOCK_REALTIME, pick(1000));
        if (sem_timedwait(&chain->links[number], &until) != 0)
            ENSURE_IS(RETRY(sem_wait(&chain->links[number])), 0);
        sem_post(&chain->links[number + 1]);
    }
}

static void use_chain(void) {
    struct helper helpers[4];
    struct chain chain = {.count = 1 + (int)pick(4), .tokens = 1 + (int)pick(200)};
    for (int i = 0; i <= chain.count; i++)
        sem_init(&chain.links[i], (int)pick(2), 0);
    for (int i = 0; i < chain.count; i++)
        start_helper(&helpers[i], pass_on, &chain, i);
    for (int i = 0; i < chain.tokens; i++)
        sem_post(&chain.links[0]);
    for (int i = 0; i < chain.tokens; i++) {
        at("waits for the end of the chain");
        ENSURE_IS(RETRY(sem_wait(&chain.links[chain.count])), 0);
    }
    for (int i = 0; i < chain.count; i++)
        join_helper(&helpers[i]);
}

// Owners die with a robust mutex in their hands; the next one hears of it.
struct robust {
    pthread_mutex_t mutex;
    atomic_int deaths, heard;
};

static void own_and_die(void *argument, int number) {
    struct robust *robust = argument;
    (void)number;
    at("takes the robust mutex");
    int error = pthread_mutex_lock(&robust->mutex);
    if (error == EOWNERDEAD) {
        robust->heard++;
        ENSURE_IS(pthread_mutex_consistent(&robust->mutex), 0);
        error = 0;
    }
    ENSURE_IS(error, 0);
    if (pick(3) == 0)
        sleep_us(pick(200));
    if (pick(2))
        robust->deaths++;
    else
        ENSURE_IS(pthread_mutex_unlock(&robust->mutex), 0);
}

static void use_robust(void) {
    struct helper helpers[6];
    struct robust robust = {.deaths = 0};
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    // Without priority inheritance: with both, musl's unlock may meet a word that it does not expect.
    pthread_mutex_init(&robust.mutex, &attr);
    int count = 2 + (int)pick(5);
    for (int i = 0; i < count; i++)
        start_helper(&helpers[i], own_and_die, &robust, i);
    for (int i = 0; i < count; i++)
        join_helper(&helpers[i]);
    at("takes what the dead left");
    int error = pthread_mutex_lock(&robust.mutex);
    if (error == EOWNERDEAD) {
        robust.heard++;
        pthread_mutex_consistent(&robust.mutex);
        error = 0;
    }
    ENSURE_IS(error, 0);
    ENSURE_IS(pthread_mutex_unlock(&robust.mutex), 0);
    ENSURE_IS(robust.heard, robust.deaths);
}

const struct task lock_tasks[] = {{"bank", use_bank},       {"queue", use_queue},   {"barrier", use_barrier},
                                  {"semaphores", use_chain}, {"robust", use_robust}, {NULL, NULL}};
