//@ cpus: 1 4
// Nice values and I/O priorities: of threads, groups and users, their limits and privileges.
#include "observe.h"
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

static long get(int which, int who) {
    return syscall(SYS_getpriority, which, who);
}

static long set(int which, int who, int nice) {
    return syscall(SYS_setpriority, which, who, nice);
}

static long io_get(int which, int who) {
    return syscall(SYS_ioprio_get, which, who);
}

static long io_set(int which, int who, int priority) {
    return syscall(SYS_ioprio_set, which, who, priority);
}

static int ready[2], go[2];
static volatile int other_tid;

static void *other(void *unused) {
    char byte;
    printf("a new thread: %ld, I/O %ld\n", get(PRIO_PROCESS, 0), io_get(1, 0));
    other_tid = (int)syscall(SYS_gettid);
    MUST(write(ready[1], "x", 1));
    MUST(read(go[0], &byte, 1));
    printf("the thread: %ld, I/O %ld\n", get(PRIO_PROCESS, 0), io_get(1, 0));
    return unused;
}

int main(void) {
    // Whatever the caller has.
    MUST(syscall(SYS_setpriority, 0, 0, 0));
    // A user of its own, so that nobody else's priorities count.
    MUST(syscall(SYS_setresuid, 54321, 0, 0));
    puts("-- nice values");
    for (int nice = -22; nice <= 22; nice += 4) {
        long result = set(PRIO_PROCESS, 0, nice);
        printf("%d: %ld, now %ld\n", nice, result, get(PRIO_PROCESS, 0));
    }
    TRY(set(PRIO_PROCESS, 0, INT_MAX));
    TRY(get(PRIO_PROCESS, 0));
    TRY(set(PRIO_PROCESS, 0, INT_MIN));
    TRY(get(PRIO_PROCESS, 0));
    TRY(set(PRIO_USER, 54321, 3));
    TRY(get(PRIO_USER, 0));
    TRY(get(PRIO_USER, 54321));
    TRY(get(PRIO_USER, 54322));
    TRY(set(PRIO_USER, 54322, 1));
    TRY(get(-1, 0));
    TRY(get(3, 0));
    TRY(set(-1, 0, 0));
    TRY(set(3, 0, 0));
    TRY(get(PRIO_PROCESS, -1));
    TRY(get(PRIO_PROCESS, 999999999));
    TRY(get(PRIO_PGRP, 999999999));
    TRY(set(PRIO_PROCESS, 999999999, 0));
    TRY(set(PRIO_PGRP, 999999999, 0));

    puts("-- I/O");
    TRY(io_get(1, 0));
    static const int priorities[] = {0, 1, 7, 1 << 13, 1 << 13 | 7, 2 << 13, 2 << 13 | 4, 2 << 13 | 7, 3 << 13, 3 << 13 | 5,
                                     4 << 13, 7 << 13, 7 << 13 | 1, 1 << 16 | 2 << 13 | 3};
    for (size_t i = 0; i < ARRAY_LEN(priorities); i++) {
        long result = io_set(1, 0, priorities[i]);
        printf("%#x: %s, now %#lx\n", priorities[i], result ? error_name(errno) : "taken", io_get(1, 0));
    }
    TRY(io_get(3, 54321));
    TRY(io_set(1, 0, 0));
    for (int nice = -20; nice <= 19; nice += 13) {
        MUST(set(PRIO_PROCESS, 0, nice));
        printf("nice %d: %#lx, of the user %#lx\n", nice, io_get(1, 0), io_get(3, 54321));
    }
    struct sched_param parameters = {0};
    MUST(syscall(SYS_sched_setscheduler, 0, SCHED_IDLE, &parameters));
    TRY(io_get(3, 0));
    parameters.sched_priority = 5;
    MUST(syscall(SYS_sched_setscheduler, 0, SCHED_RR, &parameters));
    TRY(io_get(3, 0));
    parameters.sched_priority = 0;
    MUST(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &parameters));
    TRY(io_get(0, 0));
    TRY(io_get(4, 0));
    TRY(io_set(0, 0, 2 << 13));
    TRY(io_set(9, 0, 9 << 13));
    TRY(io_get(1, 999999999));
    TRY(io_set(1, 999999999, 2 << 13));
    TRY(io_set(1, 999999999, 7 << 13));
    TRY(io_get(3, 54322));

    puts("-- threads");
    char byte;
    pthread_t thread;
    MUST(pipe(ready));
    MUST(pipe(go));
    MUST(set(PRIO_PROCESS, 0, 2));
    MUST(io_set(1, 0, 2 << 13 | 6));
    pthread_create(&thread, NULL, other, NULL);
    MUST(read(ready[0], &byte, 1));
    CHECK(set(PRIO_PROCESS, other_tid, 9) == 0);
    CHECK(io_set(1, other_tid, 2 << 13 | 1) == 0);
    TRY(get(PRIO_PROCESS, 0));
    TRY(get(PRIO_USER, 0));
    TRY(io_get(3, 0));
    CHECK(get(PRIO_PROCESS, other_tid) == 11);
    CHECK(get(PRIO_PROCESS, getpid()) == 18);
    TRY(set(PRIO_USER, 0, 5));
    CHECK(get(PRIO_PROCESS, other_tid) == 15);
    MUST(write(go[1], "x", 1));
    pthread_join(thread, NULL);
    TRY(get(PRIO_PROCESS, 0));

    puts("-- without privileges");
    struct rlimit limit = {0, 0};
    MUST(setrlimit(RLIMIT_NICE, &limit));
    MUST(syscall(SYS_setresuid, 54321, 54321, 54321));
    TRY(set(PRIO_PROCESS, 0, 4));
    TRY(set(PRIO_PROCESS, 0, 5));
    TRY(set(PRIO_PROCESS, 0, 6));
    TRY(set(PRIO_USER, 0, 5));
    TRY(set(PRIO_USER, 0, 7));
    TRY(get(PRIO_PROCESS, 0));
    TRY(io_set(1, 0, 1 << 13));
    TRY(io_set(1, 0, 2 << 13));
    TRY(io_set(1, 0, 3 << 13));
    return 0;
}
