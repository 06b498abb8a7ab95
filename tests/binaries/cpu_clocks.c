//@ cpus: 1 2 4
// CPU clocks of processes and threads: their names, that they count what they should and nothing else, also of threads that
// have ended.
#include "observe.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/times.h>
#include <time.h>

#define MS 1000000ll

enum { TICKS, USER, ALL, OF_A_THREAD = 4 };

static int clock_id(int task, int kind) {
    return (int)(~(unsigned)task << 3 | kind);
}

static long long now(int clock) {
    struct timespec time;
    MUST(clock_gettime(clock, &time));
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static long get(int clock) {
    struct timespec time;
    return syscall(SYS_clock_gettime, clock, &time);
}

static long resolution(int clock) {
    struct timespec time;
    return syscall(SYS_clock_getres, clock, &time) ? -1 : time.tv_nsec == 1;
}

static void burn(long long duration) {
    long long end = now(CLOCK_THREAD_CPUTIME_ID) + duration;
    while (now(CLOCK_THREAD_CPUTIME_ID) < end)
        for (volatile int i = 0; i < 20000; i++)
            ;
}

static int ready[2], go[2];
static volatile int other_tid;

static void wait_for(int fd) {
    char byte;
    MUST(read(fd, &byte, 1));
}

static void tell(int fd) {
    MUST(write(fd, "x", 1));
}

static void *other(void *unused) {
    other_tid = (int)syscall(SYS_gettid);
    // For the time of its process a thread may give its own number.
    TRY(get(clock_id(other_tid, ALL)));
    TRY(get(clock_id(other_tid, ALL | OF_A_THREAD)));
    CHECK(resolution(clock_id(other_tid, ALL)) == -1 && errno == EINVAL);
    tell(ready[1]);
    wait_for(go[0]);
    burn(60 * MS);
    tell(ready[1]);
    wait_for(go[0]);
    return unused;
}

static long long rusage(int who) {
    struct rusage usage;
    MUST(getrusage(who, &usage));
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000ll +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000ll;
}

static void *ending(void *unused) {
    burn(80 * MS);
    return unused;
}

int main(void) {
    pid_t pid = getpid();
    clockid_t clock;
    puts("-- names");
    CHECK(clock_getcpuclockid(pid, &clock) == 0 && clock == clock_id(pid, ALL));
    CHECK(clock_getcpuclockid(0, &clock) == 0 && clock == clock_id(0, ALL));
    CHECK(pthread_getcpuclockid(pthread_self(), &clock) == 0 && clock == clock_id(pid, ALL | OF_A_THREAD));
    for (int kind = 0; kind < 8; kind++) {
        printf("kind %d: ", kind);
        TRY(get(clock_id(0, kind)));
        printf("  of this one: ");
        TRY(get(clock_id(pid, kind)));
        printf("  of none: ");
        TRY(get(clock_id(999999, kind)));
        printf("  resolution of a nanosecond: ");
        TRY(resolution(clock_id(pid, kind)));
        printf("  resolution of none: ");
        TRY(resolution(clock_id(999999, kind)));
    }

    puts("-- working");
    long long process = now(CLOCK_PROCESS_CPUTIME_ID), thread = now(CLOCK_THREAD_CPUTIME_ID);
    burn(300 * MS);
    long long thread_used = now(CLOCK_THREAD_CPUTIME_ID) - thread;
    long long process_used = now(CLOCK_PROCESS_CPUTIME_ID) - process;
    CHECK(thread_used >= 300 * MS && process_used >= thread_used);
    CHECK(now(clock_id(pid, ALL | OF_A_THREAD)) >= thread_used && now(clock_id(pid, ALL)) >= process_used);
    CHECK(now(clock_id(0, USER)) > 0 && now(clock_id(0, TICKS)) > 0 && now(clock_id(0, USER | OF_A_THREAD)) > 0);
    CHECK(rusage(RUSAGE_THREAD) >= 300 * MS && rusage(RUSAGE_SELF) >= 300 * MS);

    puts("-- sleeping");
    struct timespec pause = {0, 500 * MS};
    long long wall = now(CLOCK_MONOTONIC);
    process = now(CLOCK_PROCESS_CPUTIME_ID), thread = now(CLOCK_THREAD_CPUTIME_ID);
    nanosleep(&pause, NULL);
    thread_used = now(CLOCK_THREAD_CPUTIME_ID) - thread, process_used = now(CLOCK_PROCESS_CPUTIME_ID) - process;
    wall = now(CLOCK_MONOTONIC) - wall;
    // However long the rest took: while it slept, it used nothing. It is on its way to sleep for a part of the time.
    CHECK(wall - thread_used >= 100 * MS && wall - process_used >= 100 * MS);

    puts("-- another thread");
    pthread_t worker;
    MUST(pipe(ready));
    MUST(pipe(go));
    pthread_create(&worker, NULL, other, NULL);
    wait_for(ready[0]);
    CHECK(pthread_getcpuclockid(worker, &clock) == 0 && clock == clock_id(other_tid, ALL | OF_A_THREAD));
    long long worker_before = now(clock);
    process = now(CLOCK_PROCESS_CPUTIME_ID), thread = now(CLOCK_THREAD_CPUTIME_ID);
    tell(go[1]);
    wait_for(ready[0]);
    CHECK(now(clock) - worker_before >= 60 * MS);
    thread_used = now(CLOCK_THREAD_CPUTIME_ID) - thread, process_used = now(CLOCK_PROCESS_CPUTIME_ID) - process;
    CHECK(process_used - thread_used >= 60 * MS);
    // Its number does not name a process.
    TRY(get(clock_id(other_tid, ALL)));
    TRY(resolution(clock_id(other_tid, ALL)));
    TRY(resolution(clock_id(other_tid, ALL | OF_A_THREAD)));
    tell(go[1]);
    pthread_join(worker, NULL);
    // It is joined a moment before it is gone.
    while (get(clock) == 0)
        usleep(1000);
    TRY(get(clock));

    puts("-- threads that have ended");
    process = now(CLOCK_PROCESS_CPUTIME_ID), thread = now(CLOCK_THREAD_CPUTIME_ID);
    long long self = rusage(RUSAGE_SELF), own = rusage(RUSAGE_THREAD);
    struct tms before, after;
    times(&before);
    pthread_t workers[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&workers[i], NULL, ending, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(workers[i], NULL);
    long long own_used = rusage(RUSAGE_THREAD) - own, self_used = rusage(RUSAGE_SELF) - self;
    CHECK(self_used - own_used >= 319 * MS);
    thread_used = now(CLOCK_THREAD_CPUTIME_ID) - thread, process_used = now(CLOCK_PROCESS_CPUTIME_ID) - process;
    CHECK(process_used - thread_used >= 320 * MS);
    times(&after);
    CHECK(after.tms_utime + after.tms_stime - before.tms_utime - before.tms_stime >= 30);

    puts("-- nothing goes back");
    int backwards = 0;
    long long last[4] = {0};
    struct rusage usage, last_usage = {0};
    for (int i = 0; i < 3000; i++) {
        int clocks[4] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, clock_id(0, USER), clock_id(pid, TICKS)};
        for (int k = 0; k < 4; k++) {
            long long time = now(clocks[k]);
            backwards += time < last[k];
            last[k] = time;
        }
        getrusage(RUSAGE_SELF, &usage);
        backwards += timercmp(&usage.ru_utime, &last_usage.ru_utime, <);
        backwards += timercmp(&usage.ru_stime, &last_usage.ru_stime, <);
        last_usage = usage;
    }
    CHECK(backwards == 0);
    return 0;
}
