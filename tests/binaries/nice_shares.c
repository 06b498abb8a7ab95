//@ cpus: 1 4
// Threads that share a CPU get it by their nice values, and the idle class next to nothing, but something.
#include "observe.h"
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#define THREADS 3

static volatile int over;
static long long used[THREADS];

static long long now(int clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static void *work(void *argument) {
    long own = (long)argument;
    struct sched_param parameters = {0};
    if (own == 1)
        MUST(syscall(SYS_setpriority, PRIO_PROCESS, 0, 5));
    if (own == 2)
        MUST(syscall(SYS_sched_setscheduler, 0, SCHED_IDLE, &parameters));
    long long begin = now(CLOCK_THREAD_CPUTIME_ID);
    while (!over)
        for (volatile int i = 0; i < 10000; i++)
            ;
    used[own] = now(CLOCK_THREAD_CPUTIME_ID) - begin;
    return NULL;
}

int main(void) {
    cpu_set_t set;
    MUST(sched_getaffinity(0, sizeof set, &set));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    MUST(sched_setaffinity(0, sizeof set, &set));
    pthread_t threads[THREADS];
    long long begin = now(CLOCK_PROCESS_CPUTIME_ID);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    struct timespec pause = {0, 50000000};
    while (now(CLOCK_PROCESS_CPUTIME_ID) - begin < 1500000000ll)
        nanosleep(&pause, NULL);
    over = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    // 1024 to 335 by weight.
    double ratio = (double)used[0] / (double)used[1];
    CHECK(ratio > 2.3 && ratio < 4);
    CHECK(used[2] > 0 && used[2] < used[1] / 5);
    if (ratio <= 2.3 || ratio >= 4)
        fprintf(stderr, "used %lld %lld %lld ms\n", used[0] / 1000000, used[1] / 1000000, used[2] / 1000000);
    return 0;
}
