//@ cpus: 1 2
// The first thread ends before the others: what is asked of it or changed then is its own affair, and its figures stay.
#include "observe.h"
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

static long long nanos(int clock) {
    struct timespec time;
    if (clock_gettime(clock, &time))
        return -1;
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static char state_of_first(void) {
    static char text[1024];
    FILE *file = fopen("/proc/self/stat", "r");
    char *end = file && fgets(text, sizeof text, file) ? strrchr(text, ')') : NULL;
    if (file)
        fclose(file);
    return end ? end[2] : '?';
}

static long long leader_used;

static void *idle(void *unused) {
    struct timespec pause = {0, 300000000};
    nanosleep(&pause, NULL);
    return unused;
}

static void *rest(void *unused) {
    int pid = getpid();
    for (int i = 0; i < 5000 && state_of_first() != 'Z'; i++)
        usleep(1000);
    printf("state %c\n", state_of_first());
    // Threads that come now may get what the first one ran on.
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, idle, NULL);
    struct sched_param parameters = {.sched_priority = 10};
    TRY(syscall(SYS_sched_setscheduler, pid, SCHED_FIFO, &parameters));
    TRY(syscall(SYS_sched_getscheduler, pid));
    TRY(syscall(SYS_sched_getscheduler, 0));
    TRY(syscall(SYS_setpriority, PRIO_PROCESS, pid, 3));
    TRY(syscall(SYS_getpriority, PRIO_PROCESS, 0));
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    long long process = nanos(CLOCK_PROCESS_CPUTIME_ID);
    CHECK(process >= leader_used);
    struct rusage usage;
    MUST(getrusage(RUSAGE_THREAD, &usage));
    CHECK(usage.ru_utime.tv_sec == 0);
    exit(0);
    return unused;
}

int main(void) {
    pthread_t thread;
    MUST(syscall(SYS_setpriority, PRIO_PROCESS, 0, 0));
    while (nanos(CLOCK_THREAD_CPUTIME_ID) < 150000000)
        ;
    pthread_create(&thread, NULL, rest, NULL);
    leader_used = nanos(CLOCK_THREAD_CPUTIME_ID);
    syscall(SYS_exit, 0);
}
