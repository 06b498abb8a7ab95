//@ cpus: 1 2 4
// When sched_setaffinity returns, the thread runs nowhere else any more, whatever it does: it computes, sleeps, yields.
#include "observe.h"
#include <pthread.h>
#include <sched.h>
#include <time.h>

#define WORKERS 3
#define MOVES 150

struct sample {
    volatile unsigned long count;
    volatile unsigned cpu;
};

static struct sample samples[WORKERS] __attribute__((aligned(64)));
static volatile int tids[WORKERS], over;

static void *work(void *argument) {
    int own = (int)(long)argument;
    struct sample *sample = &samples[own];
    tids[own] = (int)syscall(SYS_gettid);
    while (!over) {
        unsigned cpu;
        syscall(SYS_getcpu, &cpu, NULL, NULL);
        sample->cpu = cpu;
        __atomic_fetch_add(&sample->count, 1, __ATOMIC_SEQ_CST);
        struct timespec pause = {0, 50000};
        if (own == 1)
            nanosleep(&pause, NULL);
        else if (own == 2)
            sched_yield();
    }
    return NULL;
}

static int cpus[CPU_SETSIZE], count;

static int allows(const cpu_set_t *set, unsigned cpu) {
    return cpu < CPU_SETSIZE && CPU_ISSET(cpu, set);
}

int main(void) {
    cpu_set_t all, one, two;
    MUST(sched_getaffinity(0, sizeof all, &all));
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all))
            cpus[count++] = cpu;
    pthread_t threads[WORKERS];
    for (long i = 0; i < WORKERS; i++) {
        pthread_create(&threads[i], NULL, work, (void *)i);
        while (!tids[i])
            sched_yield();
    }
    unsigned random = 12345;
    int astray = 0, own_astray = 0;
    for (int i = 0; i < MOVES; i++) {
        random = random * 1103515245 + 12345;
        int worker = (random >> 16) % WORKERS;
        CPU_ZERO(&one);
        CPU_SET(cpus[(random >> 8) % count], &one);
        two = one;
        CPU_SET(cpus[(random >> 20) % count], &two);
        const cpu_set_t *set = i % 3 ? &one : &two;
        MUST(sched_setaffinity(tids[worker], sizeof *set, set));
        // What it looks at from now on it sees there: the second look that ends has begun after the call.
        unsigned long seen = __atomic_load_n(&samples[worker].count, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&samples[worker].count, __ATOMIC_SEQ_CST) < seen + 2)
            sched_yield();
        astray += !allows(set, samples[worker].cpu);
        // This thread moves too.
        unsigned cpu;
        MUST(sched_setaffinity(0, sizeof *set, set));
        syscall(SYS_getcpu, &cpu, NULL, NULL);
        own_astray += !allows(set, cpu);
    }
    over = 1;
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    CHECK(astray == 0);
    CHECK(own_astray == 0);
    return 0;
}
