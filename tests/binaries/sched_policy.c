//@ cpus: 1 4
// Scheduling policies: what is taken, what is refused, what is kept, with and without privileges.
#include "observe.h"
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#define RESET_ON_FORK 0x40000000

static long set(int pid, int policy, int priority) {
    struct sched_param parameters = {.sched_priority = priority};
    return syscall(SYS_sched_setscheduler, pid, policy, &parameters);
}

static long set_param(int pid, int priority) {
    struct sched_param parameters = {.sched_priority = priority};
    return syscall(SYS_sched_setparam, pid, &parameters);
}

static long get(int pid) {
    return syscall(SYS_sched_getscheduler, pid);
}

static long get_param(int pid) {
    struct sched_param parameters = {.sched_priority = -77};
    long result = syscall(SYS_sched_getparam, pid, &parameters);
    return result < 0 ? result : parameters.sched_priority;
}

static long interval(int pid) {
    struct timespec time = {-1, -1};
    long result = syscall(SYS_sched_rr_get_interval, pid, &time);
    return result < 0 ? result : time.tv_sec * 1000000000 + time.tv_nsec;
}

static void show(const char *when) {
    printf("%s: policy %#lx, priority %ld, nice %ld\n", when, get(0), get_param(0), 20 - syscall(SYS_getpriority, 0, 0));
}

static int gate[2];
static volatile int other_tid;

static void *other(void *unused) {
    char byte;
    other_tid = (int)syscall(SYS_gettid);
    MUST(write(gate[1], "x", 1));
    MUST(read(gate[0], &byte, 1));
    show("the thread, as others made it");
    return unused;
}

static void *inheriting(void *unused) {
    show("a new thread");
    return unused;
}

static void start_and_join(void *(*main)(void *)) {
    pthread_t thread;
    pthread_create(&thread, NULL, main, NULL);
    pthread_join(thread, NULL);
}

int main(void) {
    // Whatever the caller has.
    MUST(syscall(SYS_setpriority, 0, 0, 0));
    show("at the start");
    static const int policies[] = {SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, 4, SCHED_IDLE};
    for (size_t i = 0; i < ARRAY_LEN(policies); i++)
        for (int priority = -1; priority <= 100; priority += priority < 1 ? 1 : priority < 2 ? 97 : 1) {
            long result = set(0, policies[i], priority);
            printf("policy %d priority %d: %s", policies[i], priority, result ? error_name(errno) : "taken");
            printf(", now %#lx %ld\n", get(0), get_param(0));
        }
    TRY(set(0, SCHED_OTHER, 0));
    TRY(set(0, -1, 0));
    TRY(set(0, 100, 0));
    TRY(set(-1, SCHED_OTHER, 0));
    TRY(set(999999999, SCHED_OTHER, 0));
    TRY(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, NULL));
    TRY(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, 16));
    TRY(syscall(SYS_sched_setscheduler, 999999999, SCHED_OTHER, 16));
    TRY(syscall(SYS_sched_setparam, 0, NULL));
    TRY(syscall(SYS_sched_getparam, 0, NULL));
    TRY(syscall(SYS_sched_getparam, 0, 16));
    TRY(get_param(-1));
    TRY(get_param(999999999));
    TRY(get(-1));
    TRY(get(999999999));

    puts("-- parameters alone");
    TRY(set_param(0, 0));
    TRY(set_param(0, 1));
    TRY(set(0, SCHED_RR, 7));
    TRY(set_param(0, 8));
    TRY(set_param(0, 0));
    show("round robin");

    puts("-- turns");
    TRY(interval(0));
    TRY(set(0, SCHED_FIFO, 7));
    TRY(interval(0));
    TRY(set(0, SCHED_OTHER, 0));
    CHECK(interval(0) >= 0 && interval(0) < 1000000000);
    TRY(interval(-1));
    TRY(interval(999999999));
    TRY(syscall(SYS_sched_rr_get_interval, 0, 16));

    puts("-- nice values stay");
    TRY(setpriority(PRIO_PROCESS, 0, 5));
    TRY(set(0, SCHED_FIFO, 3));
    show("first in, first out");
    TRY(setpriority(PRIO_PROCESS, 0, 6));
    TRY(set(0, SCHED_IDLE, 0));
    show("idle");
    TRY(set(0, SCHED_BATCH, 0));
    show("batch");
    TRY(setpriority(PRIO_PROCESS, 0, 0));
    TRY(set(0, SCHED_OTHER, 0));

    puts("-- inheritance");
    start_and_join(inheriting);
    TRY(set(0, SCHED_RR, 9));
    start_and_join(inheriting);
    TRY(set(0, SCHED_RR | RESET_ON_FORK, 9));
    show("resets on fork");
    TRY(set_param(0, 10));
    show("still resets");
    start_and_join(inheriting);
    TRY(set(0, SCHED_OTHER | RESET_ON_FORK, 0));
    TRY(setpriority(PRIO_PROCESS, 0, -3));
    start_and_join(inheriting);
    TRY(setpriority(PRIO_PROCESS, 0, 4));
    start_and_join(inheriting);
    TRY(set(0, SCHED_BATCH | RESET_ON_FORK, 0));
    start_and_join(inheriting);
    TRY(set(0, SCHED_OTHER, 0));
    TRY(setpriority(PRIO_PROCESS, 0, 0));
    show("no more");

    puts("-- another thread");
    pthread_t thread;
    char byte;
    MUST(pipe(gate));
    int back[2];
    MUST(pipe(back));
    int to_other = gate[0];
    gate[0] = back[0];
    pthread_create(&thread, NULL, other, NULL);
    MUST(read(to_other, &byte, 1));
    TRY(set(other_tid, SCHED_RR, 20) | 0);
    CHECK(get(other_tid) == SCHED_RR);
    CHECK(get_param(other_tid) == 20);
    CHECK(get(getpid()) == SCHED_OTHER);
    MUST(syscall(SYS_setpriority, PRIO_PROCESS, other_tid, 11));
    MUST(write(back[1], "x", 1));
    pthread_join(thread, NULL);
    show("this one");

    puts("-- without privileges");
    struct rlimit none = {0, 0};
    MUST(setrlimit(RLIMIT_NICE, &none));
    MUST(setrlimit(RLIMIT_RTPRIO, &none));
    MUST(set(0, SCHED_RR, 5));
    MUST(syscall(SYS_setresuid, 1000, 1000, 1000));
    TRY(set(0, SCHED_RR, 6));
    TRY(set(0, SCHED_RR, 5));
    TRY(set(0, SCHED_RR, 4));
    TRY(set(0, SCHED_FIFO, 3));
    TRY(set(0, SCHED_RR | RESET_ON_FORK, 3));
    TRY(set(0, SCHED_RR, 3));
    TRY(set_param(0, 2));
    TRY(set_param(0, 3));
    TRY(set(0, SCHED_OTHER | RESET_ON_FORK, 0));
    TRY(set(0, SCHED_RR | RESET_ON_FORK, 1));
    TRY(set(0, SCHED_BATCH | RESET_ON_FORK, 0));
    TRY(set(0, SCHED_IDLE | RESET_ON_FORK, 0));
    TRY(set(0, SCHED_OTHER | RESET_ON_FORK, 0));
    show("at the end");
    return 0;
}
