//@ cpus: 1 2 4
// Mutexes whose holders end, and mutexes with priority inheritance, by the C library.
#include "pthread_observe.h"

static pthread_mutex_t mutex;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static atomic_int step;

static void make(int type, int robust, int protocol, int shared) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    ANSWER(pthread_mutexattr_settype(&attributes, type));
    ANSWER(pthread_mutexattr_setrobust(&attributes, robust));
    ANSWER(pthread_mutexattr_setprotocol(&attributes, protocol));
    ANSWER(pthread_mutexattr_setpshared(&attributes, shared));
    ANSWER(pthread_mutex_init(&mutex, &attributes));
    pthread_mutexattr_destroy(&attributes);
}

static void *take_and_end(void *argument) {
    (void)argument;
    ANSWER(pthread_mutex_lock(&mutex));
    return NULL;
}

static void *take_wait_and_end(void *argument) {
    (void)argument;
    ANSWER(pthread_mutex_lock(&mutex));
    atomic_store(&step, 1);
    await(&step, 2);
    pause_ms(20);
    return NULL;
}

static void *take(void *argument) {
    (void)argument;
    return (void *)(long)pthread_mutex_lock(&mutex);
}

static void *try(void *argument) {
    (void)argument;
    return (void *)(long)pthread_mutex_trylock(&mutex);
}

static void *take_until(void *argument) {
    (void)argument;
    struct timespec soon = time_after_ms(CLOCK_REALTIME, 30);
    return (void *)(long)pthread_mutex_timedlock(&mutex, &soon);
}

static const char *outcome(pthread_t thread) {
    int error = (int)(long)join_thread(thread);
    return error == EOWNERDEAD ? "EOWNERDEAD" : error == ENOTRECOVERABLE ? "ENOTRECOVERABLE" : error ? error_name(error) : "0";
}

#define STATE(call)                                                                                                    \
    do {                                                                                                               \
        int answer = (call);                                                                                           \
        printf("%s: %s\n", #call,                                                                                      \
               answer == EOWNERDEAD        ? "EOWNERDEAD"                                                              \
               : answer == ENOTRECOVERABLE ? "ENOTRECOVERABLE"                                                         \
               : answer                    ? error_name(answer)                                                        \
                                           : "0");                                                                     \
    } while (0)

static void *waiter(void *argument) {
    (void)argument;
    int error = pthread_mutex_lock(&mutex);
    atomic_fetch_add(&step, 1);
    while (error == 0 && atomic_load(&step) < 100)
        error = pthread_cond_wait(&condition, &mutex);
    atomic_fetch_add(&step, 1);
    return (void *)(long)(error ? error : pthread_mutex_unlock(&mutex));
}

static long total;

static void *add(void *argument) {
    (void)argument;
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&mutex);
        total++;
        if (i % 64 == 0)
            sched_yield();
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void robust(int type, int protocol, int shared) {
    make(type, PTHREAD_MUTEX_ROBUST, protocol, shared);
    puts("the holder has ended");
    join_thread(start_thread(take_and_end, NULL));
    STATE(pthread_mutex_trylock(&mutex));
    ANSWER(pthread_mutex_consistent(&mutex));
    ANSWER(pthread_mutex_consistent(&mutex));
    ANSWER(pthread_mutex_unlock(&mutex));
    ANSWER(pthread_mutex_lock(&mutex));
    ANSWER(pthread_mutex_unlock(&mutex));

    puts("the holder ends");
    atomic_store(&step, 0);
    pthread_t holder = start_thread(take_wait_and_end, NULL);
    await(&step, 1);
    pthread_t next = start_thread(take, NULL);
    pause_ms(20);
    atomic_store(&step, 2);
    join_thread(holder);
    printf("next: %s\n", outcome(next));
    // The next one ended with it, too.
    STATE(pthread_mutex_lock(&mutex));
    ANSWER(pthread_mutex_consistent(&mutex));
    printf("tried: %s\n", outcome(start_thread(try, NULL)));
    printf("timed: %s\n", outcome(start_thread(take_until, NULL)));
    ANSWER(pthread_mutex_unlock(&mutex));

    puts("given up");
    join_thread(start_thread(take_and_end, NULL));
    STATE(pthread_mutex_lock(&mutex));
    ANSWER(pthread_mutex_unlock(&mutex));
    STATE(pthread_mutex_lock(&mutex));
    STATE(pthread_mutex_trylock(&mutex));
    ANSWER(pthread_mutex_destroy(&mutex));
}

static void inherit(int type, int robust_kind, int shared) {
    make(type, robust_kind, PTHREAD_PRIO_INHERIT, shared);
    ANSWER(pthread_mutex_lock(&mutex));
    printf("tried: %s\n", outcome(start_thread(try, NULL)));
    printf("timed: %s\n", outcome(start_thread(take_until, NULL)));
    ANSWER(pthread_mutex_unlock(&mutex));
    total = 0;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        threads[i] = start_thread(add, NULL);
    for (int i = 0; i < 4; i++)
        join_thread(threads[i]);
    printf("total: %ld\n", total);

    atomic_store(&step, 0);
    for (int i = 0; i < 3; i++)
        threads[i] = start_thread(waiter, NULL);
    await(&step, 3);
    pthread_mutex_lock(&mutex);
    atomic_store(&step, 100);
    ANSWER(pthread_cond_broadcast(&condition));
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 3; i++)
        printf("waiter: %s\n", outcome(threads[i]));
    ANSWER(pthread_mutex_destroy(&mutex));
}

int main(void) {
    int types[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_RECURSIVE};
    for (unsigned i = 0; i < ARRAY_LEN(types); i++)
        for (int shared = PTHREAD_PROCESS_PRIVATE; shared <= PTHREAD_PROCESS_SHARED; shared++) {
            printf("type %u, shared %d\n", i, shared);
            robust(types[i], PTHREAD_PRIO_NONE, shared);
            puts("with inheritance");
            robust(types[i], PTHREAD_PRIO_INHERIT, shared);
            inherit(types[i], PTHREAD_MUTEX_STALLED, shared);
        }
    return 0;
}
