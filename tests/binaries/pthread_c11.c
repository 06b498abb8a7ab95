//@ cpus: 1 2 4
// The threads of C11.
#include "pthread_observe.h"
#include <threads.h>

static mtx_t mutex;
static cnd_t changed;
static tss_t key;
static once_flag flag = ONCE_FLAG_INIT;
static atomic_int calls, destroyed, detached;
static long counter, turn;

static void call(void) { calls++; }
static void destroy(void *value) { destroyed += (int)(long)value; }

static int work(void *argument) {
    long number = (long)argument;
    call_once(&flag, call);
    tss_set(key, (void *)(number + 1));
    for (int i = 0; i < 1000; i++) {
        struct timespec until = time_after_ms(CLOCK_REALTIME, 2);
        int got = i % 3 == 0 ? mtx_trylock(&mutex) : i % 3 == 1 ? mtx_timedlock(&mutex, &until) : thrd_busy;
        if (got != thrd_success)
            mtx_lock(&mutex);
        counter++;
        mtx_unlock(&mutex);
        if (i % 100 == 0)
            thrd_yield();
    }
    return tss_get(key) == (void *)(number + 1) ? (int)number : -1;
}

static int leave(void *argument) {
    thrd_exit((int)(long)argument);
}

static int go_away(void *argument) {
    (void)argument;
    detached++;
    return 0;
}

static int play(void *argument) {
    long me = (long)argument;
    for (int i = 0; i < 300; i++) {
        mtx_lock(&mutex);
        while (turn % 3 != me)
            cnd_wait(&changed, &mutex);
        turn++;
        cnd_broadcast(&changed);
        mtx_unlock(&mutex);
    }
    return 0;
}

static int try_lock(void *argument) {
    (void)argument;
    return mtx_trylock(&mutex);
}

int main(void) {
    thrd_t threads[8];
    int result = -1, sum = 0;
    static const int types[] = {mtx_plain, mtx_timed, mtx_plain | mtx_recursive, mtx_timed | mtx_recursive};
    TRY(tss_create(&key, destroy));
    TRY(cnd_init(&changed));
    for (size_t type = 0; type < ARRAY_LEN(types); type++) {
        TRY(mtx_init(&mutex, types[type]));
        counter = 0;
        for (long i = 0; i < 8; i++)
            if (thrd_create(&threads[i], work, (void *)i) != thrd_success)
                return 1;
        for (int i = 0; i < 8; i++) {
            thrd_join(threads[i], &result);
            sum += result;
        }
        printf("counter %ld, sum %d, calls %d, destroyed %d\n", counter, sum, calls, destroyed);
        TRY(mtx_lock(&mutex));
        TRY(mtx_trylock(&mutex));
        thrd_create(&threads[0], try_lock, NULL);
        TRY(thrd_join(threads[0], &result));
        printf("of another: %d\n", result);
        struct timespec soon = time_after_ms(CLOCK_REALTIME, 5);
        if (!(types[type] & mtx_recursive))
            TRY(mtx_timedlock(&mutex, &soon));
        else
            TRY(mtx_unlock(&mutex));
        TRY(mtx_unlock(&mutex));
        turn = 0;
        for (long i = 0; i < 3; i++)
            thrd_create(&threads[i], play, (void *)i);
        for (int i = 0; i < 3; i++)
            thrd_join(threads[i], NULL);
        printf("turn %ld\n", turn);
        mtx_lock(&mutex);
        soon = time_after_ms(CLOCK_REALTIME, 5);
        while ((result = cnd_timedwait(&changed, &mutex, &soon)) == thrd_success)
            ;
        printf("timed wait %d\n", result == thrd_timedout);
        mtx_unlock(&mutex);
        mtx_destroy(&mutex);
    }
    thrd_create(&threads[0], leave, (void *)33);
    TRY(thrd_join(threads[0], &result));
    printf("left with %d\n", result);
    thrd_create(&threads[0], go_away, NULL);
    TRY(thrd_detach(threads[0]));
    await(&detached, 1);
    CHECK(thrd_equal(thrd_current(), thrd_current()));
    struct timespec little = {0, 2000000}, bad = {0, -1}, rest = {5, 5};
    TRY(thrd_sleep(&little, NULL));
    TRY(thrd_sleep(&little, &rest));
    CHECK(thrd_sleep(&bad, NULL) < 0);
    TRY(cnd_signal(&changed));
    cnd_destroy(&changed);
    tss_delete(key);
    return 0;
}
