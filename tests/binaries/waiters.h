// What the programs about threads that wait for files share: threads that make one waiting call, and a look at who still waits.
#ifndef WAITERS_H
#define WAITERS_H

#include "observe.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { WAITERS_MAX = 16 };

// A thread that makes one call and keeps the answer.
struct waiter {
    pthread_t thread;
    _Atomic int tid, is_done;
    long (*call)(struct waiter *);
    int fd;
    long result;
    int error;
    uint64_t value;
};

static struct waiter waiters[WAITERS_MAX];
static int waiter_count;

static void *waiter_main(void *argument) {
    struct waiter *waiter = argument;
    waiter->tid = (int)syscall(SYS_gettid);
    waiter->result = waiter->call(waiter);
    waiter->error = errno;
    waiter->is_done = 1;
    return NULL;
}

static inline void pause_a_little(void) {
    struct timespec moment = {0, 1000000};
    nanosleep(&moment, NULL);
}

static inline int is_asleep(int tid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0)
        return 0;
    text[len] = 0;
    char *end = strrchr(text, ')');
    return end && end[1] == ' ' && end[2] == 'S';
}

static inline int done_count(void) {
    int done = 0;
    for (int i = 0; i < waiter_count; i++)
        done += waiters[i].is_done;
    return done;
}

// Waits until every waiter has its answer or sleeps, and says how many have it. A thread that was woken sleeps no more, and
// one that wakes another does so before it has its answer: so nothing is under way when all was quiet for two looks.
static inline int settle(void) {
    for (int quiet = 0, before = -1;;) {
        int done = done_count(), is_quiet = done == before;
        for (int i = 0; i < waiter_count; i++)
            if (!waiters[i].is_done && !(waiters[i].tid && is_asleep(waiters[i].tid)))
                is_quiet = 0;
        quiet = is_quiet && done_count() == done ? quiet + 1 : 0;
        before = done;
        if (quiet >= 2)
            return done;
        pause_a_little();
    }
}

// One more thread, asleep in its call when this returns.
static inline struct waiter *start_waiter(long (*call)(struct waiter *), int fd) {
    struct waiter *waiter = &waiters[waiter_count++];
    memset(waiter, 0, sizeof *waiter);
    waiter->call = call;
    waiter->fd = fd;
    if (pthread_create(&waiter->thread, NULL, waiter_main, waiter) != 0) {
        printf("no thread\n");
        exit(99);
    }
    settle();
    return waiter;
}

static inline void start_waiters(int count, long (*call)(struct waiter *), int fd) {
    for (int i = 0; i < count; i++)
        start_waiter(call, fd);
}

// Waits for all to have their answer, and forgets them.
static inline void join_waiters(void) {
    for (int i = 0; i < waiter_count; i++)
        pthread_join(waiters[i].thread, NULL);
    waiter_count = 0;
}

static inline int compare_values(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

// Prints the answers of those who have one, sorted, for it is not said who gets which.
static inline void show_answers(const char *what) {
    uint64_t values[WAITERS_MAX];
    int count = 0;
    for (int i = 0; i < waiter_count; i++)
        if (waiters[i].is_done)
            values[count++] = waiters[i].result < 0 ? (uint64_t)waiters[i].error + 1000000 : waiters[i].value;
    qsort(values, (size_t)count, sizeof *values, compare_values);
    printf("%s: %d of %d answered:", what, count, waiter_count);
    for (int i = 0; i < count; i++)
        if (values[i] >= 1000000)
            printf(" %s", error_name((int)(values[i] - 1000000)));
        else
            printf(" %llu", (unsigned long long)values[i]);
    printf("\n");
}

static void no_action(int signal) { (void)signal; }

// Lets SIGUSR1 end a wait and restart nothing.
static inline void interrupt_waits(void) {
    struct sigaction action = {.sa_handler = no_action};
    MUST(sigaction(SIGUSR1, &action, NULL));
}

#endif
