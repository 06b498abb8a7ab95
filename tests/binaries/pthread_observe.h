// What the programs on threads share: printing what a function of <pthread.h> answered, and short ways to start and join.
#ifndef PTHREAD_OBSERVE_H
#define PTHREAD_OBSERVE_H

#include "observe.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

// These functions answer the error itself.
#define ANSWER(call) answer_print(#call, (call))

static inline int answer_print(const char *text, int error) {
    printf("%s: %s\n", text, error == 0 ? "0" : error_name(error));
    return error;
}

static inline pthread_t start_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, function, argument);
    if (error != 0) {
        printf("pthread_create: %s\n", error_name(error));
        exit(99);
    }
    return thread;
}

static inline void *join_thread(pthread_t thread) {
    void *result = NULL;
    int error = pthread_join(thread, &result);
    if (error != 0) {
        printf("pthread_join: %s\n", error_name(error));
        exit(99);
    }
    return result;
}

// Lets others come so far that they probably wait; nothing may depend on it.
static inline void pause_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0)
        ;
}

static inline struct timespec time_after_ms(clockid_t clock, long ms) {
    struct timespec time;
    clock_gettime(clock, &time);
    time.tv_sec += ms / 1000;
    time.tv_nsec += ms % 1000 * 1000000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

// Waits until a counter has reached a value.
static inline void await(atomic_int *counter, int value) {
    while (atomic_load(counter) < value)
        pause_ms(1);
}

#endif
