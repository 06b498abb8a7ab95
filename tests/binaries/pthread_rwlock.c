//@ cpus: 1 2 4
// Read-write locks, private and shared: results, time-outs, and that readers never see a half-made change.
#include "pthread_observe.h"

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static volatile long left, right;
static atomic_long torn, reads, writes;

static void *read_and_write(void *argument) {
    long number = (long)argument;
    for (int i = 0; i < 1000; i++) {
        struct timespec until = time_after_ms(CLOCK_REALTIME, 2);
        if ((number + i) % 4 == 0) {
            int error = i % 3 == 0 ? pthread_rwlock_trywrlock(&lock)
                        : i % 3 == 1 ? pthread_rwlock_timedwrlock(&lock, &until)
                                     : EBUSY;
            if (error != 0)
                pthread_rwlock_wrlock(&lock);
            left++;
            if (i % 50 == 0)
                sched_yield();
            right++;
            writes++;
        } else {
            int error = i % 3 == 0 ? pthread_rwlock_tryrdlock(&lock)
                        : i % 3 == 1 ? pthread_rwlock_timedrdlock(&lock, &until)
                                     : EBUSY;
            if (error != 0)
                pthread_rwlock_rdlock(&lock);
            torn += left != right;
            if (i % 50 == 0)
                sched_yield();
            torn += left != right;
            reads++;
        }
        pthread_rwlock_unlock(&lock);
    }
    return NULL;
}

static void *try_all(void *argument) {
    (void)argument;
    struct timespec soon = time_after_ms(CLOCK_REALTIME, 5), bad = {0, 1000000000};
    if (ANSWER(pthread_rwlock_tryrdlock(&lock)) == 0)
        ANSWER(pthread_rwlock_unlock(&lock));
    if (ANSWER(pthread_rwlock_trywrlock(&lock)) == 0)
        ANSWER(pthread_rwlock_unlock(&lock));
    if (ANSWER(pthread_rwlock_timedrdlock(&lock, &soon)) == 0)
        ANSWER(pthread_rwlock_unlock(&lock));
    soon = time_after_ms(CLOCK_REALTIME, 5);
    if (ANSWER(pthread_rwlock_timedwrlock(&lock, &soon)) == 0)
        ANSWER(pthread_rwlock_unlock(&lock));
    if (ANSWER(pthread_rwlock_timedwrlock(&lock, &bad)) == 0)
        ANSWER(pthread_rwlock_unlock(&lock));
    return NULL;
}

int main(void) {
    for (int shared = 0; shared < 2; shared++) {
        pthread_rwlockattr_t attr;
        int got = -1;
        pthread_t threads[6];
        ANSWER(pthread_rwlockattr_init(&attr));
        ANSWER(pthread_rwlockattr_setpshared(&attr, shared));
        ANSWER(pthread_rwlockattr_getpshared(&attr, &got));
        printf("shared %d\n", got);
        ANSWER(pthread_rwlock_init(&lock, &attr));
        ANSWER(pthread_rwlockattr_destroy(&attr));
        join_thread(start_thread(try_all, NULL));
        ANSWER(pthread_rwlock_rdlock(&lock));
        ANSWER(pthread_rwlock_rdlock(&lock));
        join_thread(start_thread(try_all, NULL));
        ANSWER(pthread_rwlock_unlock(&lock));
        ANSWER(pthread_rwlock_unlock(&lock));
        ANSWER(pthread_rwlock_wrlock(&lock));
        join_thread(start_thread(try_all, NULL));
        ANSWER(pthread_rwlock_unlock(&lock));
        left = right = torn = reads = writes = 0;
        for (long i = 0; i < 6; i++)
            threads[i] = start_thread(read_and_write, (void *)i);
        for (int i = 0; i < 6; i++)
            join_thread(threads[i]);
        printf("reads %ld, writes %ld, torn %ld, %ld %ld\n", reads, writes, torn, left, right);
        ANSWER(pthread_rwlock_destroy(&lock));
    }
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    ANSWER(pthread_rwlockattr_setpshared(&attr, 5));
    return 0;
}
