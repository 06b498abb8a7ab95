//@ cpus: 1 2 4
// Condition variables, private and shared, on both clocks: no wake-up is lost, time-outs come, the mutex is held afterwards.
#include "pthread_observe.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static int turn, generation, tokens, woken;

static void make(clockid_t clock, int shared) {
    pthread_condattr_t attr;
    clockid_t got = -1;
    int is_shared = -1;
    printf("-- clock %d, shared %d\n", (int)clock, shared);
    ANSWER(pthread_condattr_init(&attr));
    ANSWER(pthread_condattr_setclock(&attr, clock));
    ANSWER(pthread_condattr_setpshared(&attr, shared));
    pthread_condattr_getclock(&attr, &got);
    pthread_condattr_getpshared(&attr, &is_shared);
    printf("clock %d, shared %d\n", (int)got, is_shared);
    ANSWER(pthread_cond_init(&changed, &attr));
    ANSWER(pthread_condattr_destroy(&attr));
}

static void *play(void *argument) {
    int me = (int)(long)argument;
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % 2 != me)
            pthread_cond_wait(&changed, &mutex);
        turn++;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *wait_for_all(void *argument) {
    (void)argument;
    pthread_mutex_lock(&mutex);
    int mine = generation;
    woken++;
    while (generation == mine)
        pthread_cond_wait(&changed, &mutex);
    woken--;
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void *take_tokens(void *argument) {
    (void)argument;
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&mutex);
        while (tokens == 0)
            pthread_cond_wait(&changed, &mutex);
        tokens--;
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void use(clockid_t clock) {
    pthread_t threads[10];
    turn = 0;
    for (long i = 0; i < 2; i++)
        threads[i] = start_thread(play, (void *)i);
    for (int i = 0; i < 2; i++)
        join_thread(threads[i]);
    printf("turns %d\n", turn);

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 10; i++)
            threads[i] = start_thread(wait_for_all, NULL);
        for (;;) {
            pthread_mutex_lock(&mutex);
            if (woken == 10)
                break;
            pthread_mutex_unlock(&mutex);
            sched_yield();
        }
        generation++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
        for (int i = 0; i < 10; i++)
            join_thread(threads[i]);
    }
    printf("still waiting %d\n", woken);

    for (int i = 0; i < 4; i++)
        threads[i] = start_thread(take_tokens, NULL);
    for (int i = 0; i < 800; i++) {
        pthread_mutex_lock(&mutex);
        tokens++;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&mutex);
    }
    for (int i = 0; i < 4; i++)
        join_thread(threads[i]);
    printf("tokens left %d\n", tokens);

    pthread_mutex_lock(&mutex);
    struct timespec soon = time_after_ms(clock, 5), past = {1, 0}, bad = {5, 1000000000}, now;
    // A condition variable may wake for no reason.
    int error;
    while ((error = pthread_cond_timedwait(&changed, &mutex, &soon)) == 0)
        ;
    clock_gettime(clock, &now);
    printf("timed wait: %s, %s\n", error_name(error),
           now.tv_sec > soon.tv_sec || (now.tv_sec == soon.tv_sec && now.tv_nsec >= soon.tv_nsec) ? "in time" : "early");
    ANSWER(pthread_cond_timedwait(&changed, &mutex, &past));
    ANSWER(pthread_cond_timedwait(&changed, &mutex, &bad));
    ANSWER(pthread_mutex_trylock(&mutex));
    ANSWER(pthread_mutex_unlock(&mutex));
    ANSWER(pthread_cond_signal(&changed));
    ANSWER(pthread_cond_broadcast(&changed));
    ANSWER(pthread_cond_destroy(&changed));
}

// Destroyed at once after a broadcast, while those woken still leave.
static void destroy_early(void) {
    for (int round = 0; round < 50; round++) {
        pthread_t threads[4];
        pthread_cond_init(&changed, NULL);
        for (int i = 0; i < 4; i++)
            threads[i] = start_thread(wait_for_all, NULL);
        for (;;) {
            pthread_mutex_lock(&mutex);
            if (woken == 4)
                break;
            pthread_mutex_unlock(&mutex);
            sched_yield();
        }
        generation++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
        pthread_cond_destroy(&changed);
        memset(&changed, 0xff, sizeof changed);
        for (int i = 0; i < 4; i++)
            join_thread(threads[i]);
    }
    printf("destroyed early, waiting %d\n", woken);
}

static void *wait_wrongly(void *argument) {
    return (void *)(long)pthread_cond_wait(&changed, argument);
}

int main(void) {
    for (int shared = 0; shared < 2; shared++) {
        make(CLOCK_REALTIME, shared);
        use(CLOCK_REALTIME);
        make(CLOCK_MONOTONIC, shared);
        use(CLOCK_MONOTONIC);
    }
    destroy_early();

    // With a mutex that knows its owner, and is not held.
    pthread_mutexattr_t kind;
    pthread_mutex_t checked;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &kind);
    pthread_cond_init(&changed, NULL);
    printf("not held: %s\n", error_name((int)(long)join_thread(start_thread(wait_wrongly, &checked))));

    // With a mutex that hands its priority on.
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_NORMAL);
    pthread_mutexattr_setprotocol(&kind, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&mutex, &kind);
    use(CLOCK_REALTIME);

    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    ANSWER(pthread_condattr_setclock(&attr, CLOCK_PROCESS_CPUTIME_ID));
    ANSWER(pthread_condattr_setclock(&attr, CLOCK_THREAD_CPUTIME_ID));
    ANSWER(pthread_condattr_setclock(&attr, -5));
    ANSWER(pthread_condattr_setpshared(&attr, 5));
    return 0;
}
