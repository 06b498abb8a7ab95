// Tasks on threads themselves: trees of them, detached ones, affinity, names and nice values.
#include "soak.h"
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static atomic_int detached_alive;

static void grow(void *argument, int number) {
    atomic_long *leaves = argument;
    at("grows");
    if (number == 0) {
        (*leaves)++;
        return;
    }
    struct helper helpers[2];
    int count = 1 + (int)pick(2);
    for (int i = 0; i < count; i++)
        start_helper(&helpers[i], grow, argument, number - 1);
    for (int i = 0; i < count; i++)
        join_helper(&helpers[i]);
}

static void use_tree(void) {
    atomic_long leaves = 0;
    grow(&leaves, (int)pick(5));
    ENSURE(leaves >= 1 && leaves <= 16);
}

static void *live_shortly(void *argument) {
    if (argument != NULL)
        sched_yield();
    detached_alive--;
    return NULL;
}

static void use_detached(void) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    // Room for several signal frames, one in the other.
    pthread_attr_setstacksize(&attr, 49152 + 4096 * pick(8));
    for (int i = (int)pick(20); i > 0; i--) {
        pthread_t thread;
        at("starts detached threads");
        detached_alive++;
        ENSURE_IS(pthread_create(&thread, &attr, live_shortly, pick(2) ? &attr : NULL), 0);
    }
    pthread_attr_destroy(&attr);
    at("waits for detached threads");
    while (detached_alive > 0)
        sleep_us(100);
}

// Runs on each processor in turn, and is there.
static void use_affinity(void) {
    cpu_set_t all, one, now;
    ENSURE_IS(sched_getaffinity(0, sizeof all, &all), 0);
    for (int i = 0; i < 20; i++) {
        int cpu = (int)pick(64);
        if (!CPU_ISSET(cpu, &all))
            continue;
        at("moves to a processor");
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        // The disturber may have changed it between the calls, so only what is its own is checked.
        ENSURE_IS(syscall(SYS_sched_setaffinity, 0, sizeof one, &one), 0);
        ENSURE(syscall(SYS_sched_getaffinity, 0, sizeof now, &now) > 0);
        if (pick(3) == 0)
            sched_yield();
    }
    syscall(SYS_sched_setaffinity, 0, sizeof all, &all);
}

static void use_policy(void) {
    static const int policies[] = {SCHED_OTHER, SCHED_BATCH, SCHED_OTHER};
    struct sched_param param = {0};
    int policy = policies[pick(3)];
    ENSURE_IS(syscall(SYS_sched_setscheduler, 0, policy, &param), 0);
    ENSURE_IS(syscall(SYS_sched_getscheduler, 0), policy);
    syscall(SYS_setpriority, PRIO_PROCESS, 0, (int)pick(8));
    for (int i = 0; i < 50; i++)
        sched_yield();
    syscall(SYS_setpriority, PRIO_PROCESS, 0, 0);
    ENSURE_IS(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &param), 0);
}

// A real-time thread that sleeps and wakes among the others.
static void be_urgent(void *argument, int number) {
    (void)argument;
    struct sched_param param = {.sched_priority = 1 + number};
    ENSURE_IS(syscall(SYS_sched_setscheduler, 0, number % 2 ? SCHED_FIFO : SCHED_RR, &param), 0);
    for (int i = 0; i < 10; i++) {
        at("is urgent");
        sleep_us(pick(500));
    }
}

static void use_urgent(void) {
    struct helper helpers[2];
    for (int i = 0; i < 2; i++)
        start_helper(&helpers[i], be_urgent, NULL, i);
    for (int i = 0; i < 2; i++)
        join_helper(&helpers[i]);
}

const struct task thread_tasks[] = {{"tree", use_tree},     {"detached", use_detached}, {"affinity", use_affinity},
                                    {"policy", use_policy}, {"urgent", use_urgent},     {NULL, NULL}};
