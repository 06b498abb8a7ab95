// What the parts of the soak share: workers with a place and a random sequence, helpers, and failing with an explanation.
//
// A worker does one task after the other, each chosen at random. A task starts helper threads, exchanges something with
// them in a way that must end, joins them and checks that nothing was lost. Signals, changes of affinity and of nice values
// reach all of them at any moment, so every call may be interrupted.
#ifndef SOAK_H
#define SOAK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PLACES_MAX 1024

// One thread, for the watchdog.
struct place {
    // 0 while free.
    atomic_int tid;
    // What it does; static text.
    _Atomic(const char *) doing;
    _Atomic(const char *) task;
    atomic_ulong steps;
    uint64_t random;
    // Queued signals that its handler has seen.
    atomic_long handled;
};

extern struct place places[PLACES_MAX];
extern _Thread_local struct place *me;
extern atomic_int should_stop;

// The next number of this thread's sequence, below the limit.
uint32_t pick(uint32_t limit);

// Says where the thread is, which is also progress.
static inline void at(const char *what) {
    atomic_store_explicit(&me->doing, what, memory_order_relaxed);
    atomic_fetch_add_explicit(&me->steps, 1, memory_order_relaxed);
}

// Ends the soak with an explanation and where every thread is.
_Noreturn void fail(const char *file, int line, const char *what, long value);
#define ENSURE(claim) ((claim) ? (void)0 : fail(__FILE__, __LINE__, #claim, errno))
#define ENSURE_IS(value, expected)                                  \
    do {                                                            \
        long seen_ = (long)(value);                                 \
        if (seen_ != (long)(expected))                              \
            fail(__FILE__, __LINE__, #value " is " #expected, seen_); \
    } while (0)
// Repeats a call that a signal interrupts.
#define RETRY(call) ({ long result_; do result_ = (long)(call); while (result_ == -1 && errno == EINTR); result_; })

// A thread with a place of its own.
struct helper {
    pthread_t thread;
    void (*run)(void *, int);
    void *argument;
    int number;
    const char *task;
    uint64_t seed;
};
void start_helper(struct helper *helper, void (*run)(void *, int), void *argument, int number);
void join_helper(struct helper *helper);

void sleep_us(long us);
struct timespec after_us(clockid_t clock, long us);

// The parts. Each does its task once.
struct task {
    const char *name;
    void (*run)(void);
};
extern const struct task lock_tasks[], futex_tasks[], signal_tasks[], file_tasks[], memory_tasks[], thread_tasks[];
void prepare_signals(void);
void prepare_memory(void);

#endif
