//@ cpus: 1 4
// Of threads that share a CPU who has the lower nice value gets more, and the idle class least, but something.
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
    MUST(syscall(SYS_setpriority, PRIO_PROCESS, 0, own == 0 ? 0 : 8));
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
    // 1024 to 172 to 3 by weight; a machine that is itself made to wait is less exact.
    int is_ordered = used[0] > used[1] && used[1] > used[2] && used[2] > 0;
    CHECK(is_ordered);
    if (!is_ordered)
        fprintf(stderr, "used %lld %lld %lld ms\n", used[0] / 1000000, used[1] / 1000000, used[2] / 1000000);
    return 0;
}
