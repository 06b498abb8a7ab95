//@ cpus: 1 2 4
// Mutexes of every type and protocol: results, time-outs, owners that die, and that no two threads are ever inside.
#include "pthread_observe.h"

#define THREADS 6
#define ROUNDS 600

static pthread_mutex_t mutex;
static long counter, inside, wrong;

static void make(int type, int protocol, int robust, int shared) {
    pthread_mutexattr_t attr;
    int value = -1;
    pthread_mutexattr_init(&attr);
    printf("-- type %d, protocol %d, robust %d, shared %d\n", type, protocol, robust, shared);
    ANSWER(pthread_mutexattr_settype(&attr, type));
    ANSWER(pthread_mutexattr_setprotocol(&attr, protocol));
    ANSWER(pthread_mutexattr_setrobust(&attr, robust));
    ANSWER(pthread_mutexattr_setpshared(&attr, shared));
    pthread_mutexattr_gettype(&attr, &value);
    printf("type %d", value);
    pthread_mutexattr_getprotocol(&attr, &value);
    printf(", protocol %d", value);
    pthread_mutexattr_getrobust(&attr, &value);
    printf(", robust %d", value);
    pthread_mutexattr_getpshared(&attr, &value);
    printf(", shared %d\n", value);
    ANSWER(pthread_mutex_init(&mutex, &attr));
    pthread_mutexattr_destroy(&attr);
}

static void *lock_many(void *argument) {
    long number = (long)argument;
    for (int i = 0; i < ROUNDS; i++) {
        if (number == 0 && i % 4 == 0) {
            while (pthread_mutex_trylock(&mutex) != 0)
                sched_yield();
        } else if (number == 1 && i % 4 == 0) {
            struct timespec until;
            do
                until = time_after_ms(CLOCK_REALTIME, 1);
            while (pthread_mutex_timedlock(&mutex, &until) != 0);
        } else if (pthread_mutex_lock(&mutex) != 0) {
            wrong++;
        }
        wrong += inside++ != 0;
        counter++;
        if (i % 512 == 0)
            pause_ms(1);
        else if (i % 64 == 0)
            sched_yield();
        inside--;
        if (pthread_mutex_unlock(&mutex) != 0)
            wrong++;
    }
    return NULL;
}

static void contend(void) {
    pthread_t threads[THREADS];
    counter = inside = wrong = 0;
    for (long i = 0; i < THREADS; i++)
        threads[i] = start_thread(lock_many, (void *)i);
    for (int i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    printf("counter %ld, wrong %ld\n", counter, wrong);
}

static void *try_as_other(void *argument) {
    struct timespec soon = time_after_ms(CLOCK_REALTIME, 5), past = {1, 0}, bad = {0, -1};
    ANSWER(pthread_mutex_trylock(&mutex));
    ANSWER(pthread_mutex_timedlock(&mutex, &soon));
    ANSWER(pthread_mutex_timedlock(&mutex, &past));
    // The library would wait for ever.
    if (argument == NULL)
        ANSWER(pthread_mutex_timedlock(&mutex, &bad));
    return NULL;
}

static void *unlock_as_other(void *argument) {
    (void)argument;
    ANSWER(pthread_mutex_unlock(&mutex));
    return NULL;
}

static void *lock_and_die(void *argument) {
    (void)argument;
    ANSWER(pthread_mutex_lock(&mutex));
    return NULL;
}

static atomic_int waiting;
static void *wait_for_dead(void *argument) {
    (void)argument;
    waiting++;
    int error = pthread_mutex_lock(&mutex);
    if (error == EOWNERDEAD) {
        pthread_mutex_consistent(&mutex);
        pthread_mutex_unlock(&mutex);
        return (void *)1;
    }
    if (error == 0)
        pthread_mutex_unlock(&mutex);
    return (void *)(long)(error ? 1000 : 0);
}

static void *hold_then_die(void *argument) {
    (void)argument;
    pthread_mutex_lock(&mutex);
    waiting++;
    await(&waiting, 4);
    pause_ms(5);
    return NULL;
}

static void owners_that_die(int protocol) {
    make(PTHREAD_MUTEX_NORMAL, protocol, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_PRIVATE);
    join_thread(start_thread(lock_and_die, NULL));
    ANSWER(pthread_mutex_lock(&mutex));
    ANSWER(pthread_mutex_consistent(&mutex));
    ANSWER(pthread_mutex_unlock(&mutex));
    ANSWER(pthread_mutex_consistent(&mutex));
    ANSWER(pthread_mutex_lock(&mutex));
    ANSWER(pthread_mutex_unlock(&mutex));
    // Three wait while the owner dies: the first one hears of it and repairs.
    waiting = 0;
    pthread_t threads[4] = {start_thread(hold_then_die, NULL)};
    await(&waiting, 1);
    for (int i = 1; i < 4; i++)
        threads[i] = start_thread(wait_for_dead, NULL);
    long sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (long)join_thread(threads[i]);
    printf("heard of the death %ld\n", sum);
    // Nobody repairs.
    join_thread(start_thread(lock_and_die, NULL));
    ANSWER(pthread_mutex_trylock(&mutex));
    ANSWER(pthread_mutex_unlock(&mutex));
    ANSWER(pthread_mutex_lock(&mutex));
    ANSWER(pthread_mutex_trylock(&mutex));
    ANSWER(pthread_mutex_destroy(&mutex));
}

int main(void) {
    static pthread_mutex_t initial = PTHREAD_MUTEX_INITIALIZER;
    ANSWER(pthread_mutex_lock(&initial));
    ANSWER(pthread_mutex_trylock(&initial));
    ANSWER(pthread_mutex_unlock(&initial));

    static const int types[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        for (int protocol = PTHREAD_PRIO_NONE; protocol <= PTHREAD_PRIO_INHERIT; protocol++)
            for (int robust = 0; robust < 2; robust++)
                for (int shared = 0; shared < 2; shared++) {
                    make(types[i], protocol, robust, shared);
                    ANSWER(pthread_mutex_lock(&mutex));
                    ANSWER(pthread_mutex_trylock(&mutex));
                    if (types[i] != PTHREAD_MUTEX_NORMAL)
                        ANSWER(pthread_mutex_lock(&mutex));
                    if (types[i] == PTHREAD_MUTEX_RECURSIVE) {
                        ANSWER(pthread_mutex_unlock(&mutex));
                        ANSWER(pthread_mutex_unlock(&mutex));
                    }
                    join_thread(start_thread(try_as_other, protocol ? &mutex : NULL));
                    if (types[i] != PTHREAD_MUTEX_NORMAL || robust)
                        join_thread(start_thread(unlock_as_other, NULL));
                    ANSWER(pthread_mutex_unlock(&mutex));
                    if (types[i] != PTHREAD_MUTEX_NORMAL || robust)
                        ANSWER(pthread_mutex_unlock(&mutex));
                    contend();
                    ANSWER(pthread_mutex_destroy(&mutex));
                }
    owners_that_die(PTHREAD_PRIO_NONE);
    owners_that_die(PTHREAD_PRIO_INHERIT);

    pthread_mutexattr_t attr;
    int ceiling = -1;
    pthread_mutexattr_init(&attr);
    ANSWER(pthread_mutexattr_settype(&attr, 9));
    ANSWER(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_PROTECT));
    ANSWER(pthread_mutexattr_setprotocol(&attr, 9));
    ANSWER(pthread_mutexattr_setrobust(&attr, 9));
    ANSWER(pthread_mutexattr_setpshared(&attr, 9));
    ANSWER(pthread_mutex_getprioceiling(&initial, &ceiling));
    ANSWER(pthread_mutex_setprioceiling(&initial, 3, &ceiling));
    return 0;
}
