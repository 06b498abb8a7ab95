//@ cpus: 1 2 4
// Barriers, spin locks and once: nobody passes early, one is told to be the last, one call is made.
#include "pthread_observe.h"

#define THREADS 7
#define ROUNDS 200

static pthread_barrier_t barrier;
static atomic_int arrived, early, serial, odd;

static void *meet(void *argument) {
    (void)argument;
    for (int round = 1; round <= ROUNDS; round++) {
        arrived++;
        int result = pthread_barrier_wait(&barrier);
        serial += result == PTHREAD_BARRIER_SERIAL_THREAD;
        odd += result != 0 && result != PTHREAD_BARRIER_SERIAL_THREAD;
        early += arrived < round * THREADS;
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static pthread_spinlock_t spin;
static long counter;

static void *spin_many(void *argument) {
    (void)argument;
    for (int i = 0; i < 3000; i++) {
        if (i % 8 != 0 || pthread_spin_trylock(&spin) != 0)
            pthread_spin_lock(&spin);
        counter++;
        pthread_spin_unlock(&spin);
    }
    return NULL;
}

static pthread_once_t once = PTHREAD_ONCE_INIT, cancelled_once = PTHREAD_ONCE_INIT;
static atomic_int calls, unfinished, entered;

static void call_slowly(void) {
    pause_ms(5);
    calls++;
}

static void never_end(void) {
    entered++;
    if (entered == 1)
        for (;;)
            pause();
    calls++;
}

static void *call(void *argument) {
    pthread_once(&once, call_slowly);
    unfinished += calls != 1;
    return argument;
}

static void *call_cancelled(void *argument) {
    pthread_once(&cancelled_once, never_end);
    return argument;
}

static void together(void *(*function)(void *)) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = start_thread(function, NULL);
    for (int i = 0; i < THREADS; i++)
        join_thread(threads[i]);
}

int main(void) {
    for (int shared = 0; shared < 2; shared++) {
        pthread_barrierattr_t attr;
        int got = -1;
        ANSWER(pthread_barrierattr_init(&attr));
        ANSWER(pthread_barrierattr_setpshared(&attr, shared));
        ANSWER(pthread_barrierattr_getpshared(&attr, &got));
        printf("shared %d\n", got);
        ANSWER(pthread_barrier_init(&barrier, &attr, 0));
        ANSWER(pthread_barrier_init(&barrier, &attr, THREADS));
        ANSWER(pthread_barrierattr_destroy(&attr));
        arrived = early = serial = odd = 0;
        together(meet);
        printf("arrived %d, early %d, serial %d, odd %d\n", arrived, early, serial / 1, odd);
        ANSWER(pthread_barrier_destroy(&barrier));
        ANSWER(pthread_spin_init(&spin, shared));
        counter = 0;
        together(spin_many);
        printf("spin %ld\n", counter);
        ANSWER(pthread_spin_lock(&spin));
        ANSWER(pthread_spin_trylock(&spin));
        ANSWER(pthread_spin_unlock(&spin));
        ANSWER(pthread_spin_destroy(&spin));
    }
    ANSWER(pthread_barrier_init(&barrier, NULL, 1));
    printf("alone %d\n", pthread_barrier_wait(&barrier));
    pthread_barrierattr_t attr;
    pthread_barrierattr_init(&attr);
    ANSWER(pthread_barrierattr_setpshared(&attr, 5));

    together(call);
    printf("calls %d, unfinished %d\n", calls, unfinished);
    // The one who calls is cancelled: somebody else calls.
    pthread_t first = start_thread(call_cancelled, NULL);
    await(&entered, 1);
    pthread_t second = start_thread(call_cancelled, NULL);
    pause_ms(5);
    ANSWER(pthread_cancel(first));
    CHECK(join_thread(first) == PTHREAD_CANCELED);
    CHECK(join_thread(second) == NULL);
    printf("entered %d, calls %d\n", entered, calls);
    return 0;
}
