//@ trapped
//@ cpus: 1 2 4
// Cancellation: states, types, what is cleaned up, condition waits that take their mutex back, threads that resist.
#include "pthread_observe.h"

static atomic_int ready, go_on, cleaned;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void clean(void *argument) { cleaned += (int)(long)argument; }

static void unlock(void *argument) {
    // The wait has taken the mutex again: nobody else can.
    cleaned += pthread_mutex_trylock(argument) == EBUSY;
    pthread_mutex_unlock(argument);
}

static const char *outcome(void *result) {
    static char text[32];
    if (result == PTHREAD_CANCELED)
        return "cancelled";
    snprintf(text, sizeof text, "%ld", (long)result);
    return text;
}

static void *states(void *argument) {
    (void)argument;
    int old = -1;
    ANSWER(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old));
    printf("old %d\n", old);
    ANSWER(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old));
    printf("old %d\n", old);
    ANSWER(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old));
    printf("old %d\n", old);
    ANSWER(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old));
    printf("old %d\n", old);
    ANSWER(pthread_setcancelstate(99, &old));
    ANSWER(pthread_setcanceltype(99, &old));
    return NULL;
}

// Computes for ever; only an asynchronous cancellation ends it.
static void *compute(void *argument) {
    volatile unsigned long number = 0;
    pthread_cleanup_push(clean, (void *)1);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    ready++;
    for (;;)
        number++;
    pthread_cleanup_pop(0);
    return argument;
}

// Deferred: ends at the test alone.
static void *compute_and_test(void *argument) {
    pthread_cleanup_push(clean, (void *)1);
    ready++;
    while (!go_on)
        ;
    cleaned += 10;
    pthread_testcancel();
    cleaned += 100;
    pthread_cleanup_pop(0);
    return argument;
}

// Disabled: blocking calls go on, and the request is kept.
static void *resist(void *argument) {
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    ready++;
    while (!go_on)
        pause_ms(1);
    pthread_testcancel();
    pthread_mutex_lock(&mutex);
    struct timespec soon = time_after_ms(CLOCK_REALTIME, 3);
    while (pthread_cond_timedwait(&changed, &mutex, &soon) == 0)
        ;
    pthread_mutex_unlock(&mutex);
    cleaned += 1000;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_testcancel();
    return argument;
}

// The C library's own third state: calls fail instead.
static void *masked(void *argument) {
    pthread_setcancelstate(PTHREAD_CANCEL_MASKED, NULL);
    ready++;
    struct timespec long_time = {1000, 0};
    int result;
    // A sleep that had begun is interrupted.
    do
        result = nanosleep(&long_time, NULL);
    while (result == -1 && errno == EINTR);
    printf("masked sleep: %s\n", error_name(errno));
    int state = -1;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
    printf("state %d\n", state);
    pthread_testcancel();
    return argument;
}

static void *wait_on_condition(void *argument) {
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(unlock, &mutex);
    ready++;
    for (;;)
        pthread_cond_wait(&changed, &mutex);
    pthread_cleanup_pop(0);
    return argument;
}

static void *sleep_long(void *argument) {
    ready++;
    for (;;)
        sleep(1000);
    return argument;
}

static void *join_long(void *argument) {
    ready++;
    pthread_join((pthread_t)argument, NULL);
    return NULL;
}

static void *cancel_self(void *argument) {
    pthread_cleanup_push(clean, (void *)1);
    pthread_cancel(pthread_self());
    cleaned += 10;
    pthread_testcancel();
    cleaned += 100;
    pthread_cleanup_pop(0);
    return argument;
}

// Asynchronously a thread cancels itself inside of the call.
static void *cancel_self_at_once(void *argument) {
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    pthread_cancel(pthread_self());
    cleaned += 1;
    return argument;
}

// A handler that blocks, inside of a thread that is cancelled there.
static void block(void) {
    for (;;)
        pause();
}
static void on_signal(int number) {
    (void)number;
    ready++;
    block();
}
static void *in_handler(void *argument) {
    pthread_cleanup_push(clean, (void *)1);
    pthread_kill(pthread_self(), SIGUSR1);
    pthread_cleanup_pop(0);
    return argument;
}

static void cancel_one(const char *what, void *(*function)(void *), int releases) {
    ready = go_on = cleaned = 0;
    pthread_t thread = start_thread(function, NULL);
    await(&ready, 1);
    pause_ms(2);
    int error = pthread_cancel(thread);
    if (releases) {
        pause_ms(2);
        go_on = 1;
    }
    void *result = join_thread(thread);
    printf("%s: %d, %s, cleaned %d\n", what, error, outcome(result), cleaned);
}

int main(void) {
    join_thread(start_thread(states, NULL));
    cancel_one("asynchronous", compute, 0);
    cancel_one("deferred", compute_and_test, 1);
    cancel_one("disabled", resist, 1);
    cancel_one("masked", masked, 0);
    cancel_one("condition", wait_on_condition, 0);
    cancel_one("sleep", sleep_long, 0);

    ready = cleaned = 0;
    pthread_t sleeper = start_thread(sleep_long, NULL), joiner = start_thread(join_long, (void *)sleeper);
    await(&ready, 2);
    pthread_cancel(joiner);
    printf("joiner %s\n", outcome(join_thread(joiner)));
    pthread_cancel(sleeper);
    printf("sleeper %s\n", outcome(join_thread(sleeper)));

    printf("self %s", outcome(join_thread(start_thread(cancel_self, NULL))));
    printf(", cleaned %d\n", cleaned);
    cleaned = 0;
    printf("self at once %s", outcome(join_thread(start_thread(cancel_self_at_once, NULL))));
    printf(", cleaned %d\n", cleaned);

    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    cancel_one("in a handler", in_handler, 0);

    // Many at once, some before they have begun.
    pthread_t threads[120];
    long count = 0;
    cleaned = 0;
    for (int i = 0; i < 120; i++) {
        // Few compute: each of them keeps the others from their end for a turn.
        threads[i] = start_thread(i % 15 == 0 ? compute : i % 3 == 1 ? wait_on_condition : sleep_long, NULL);
        if (i % 2 == 0)
            pthread_cancel(threads[i]);
    }
    for (int i = 0; i < 120; i++) {
        pthread_cancel(threads[i]);
        count += join_thread(threads[i]) == PTHREAD_CANCELED;
    }
    printf("cancelled %ld\n", count);
    ANSWER(pthread_mutex_trylock(&mutex));
    return 0;
}
