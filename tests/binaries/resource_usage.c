// getrusage and times: processor time grows with work, memory with use.
#include "observe.h"
#include <sys/resource.h>
#include <sys/times.h>
#include <time.h>

static long micros(const struct timeval *time) {
    return time->tv_sec * 1000000l + time->tv_usec;
}

int main(void) {
    struct rusage before, after, children;
    struct tms spent;
    MUST(getrusage(RUSAGE_SELF, &before));
    clock_t ticks = times(&spent);
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    volatile unsigned long sum = 0;
    do {
        for (int i = 0; i < 100000; i++)
            sum += i;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < 300);
    MUST(getrusage(RUSAGE_SELF, &after));
    long used = micros(&after.ru_utime) + micros(&after.ru_stime) - micros(&before.ru_utime) - micros(&before.ru_stime);
    CHECK(used > 0);
    CHECK(times(&spent) - ticks >= 25);
    CHECK(spent.tms_cutime == 0 && spent.tms_cstime == 0);
    CHECK(after.ru_maxrss > 0);
    volatile char *area = malloc(32 << 20);
    for (int i = 0; i < 32 << 20; i += 512)
        area[i] = 1;
    struct rusage more;
    MUST(getrusage(RUSAGE_SELF, &more));
    CHECK(more.ru_maxrss >= after.ru_maxrss && more.ru_maxrss > 16384);
    CHECK(more.ru_minflt > before.ru_minflt);
    TRY(getrusage(RUSAGE_CHILDREN, &children));
    CHECK(micros(&children.ru_utime) == 0 && children.ru_maxrss == 0);
    TRY(getrusage(1, &children));
    TRY(getrusage(77, &children));
    TRY(syscall(SYS_getrusage, RUSAGE_SELF, 16));
    TRY(syscall(SYS_times, 16));
    CHECK(clock() > 0);
    return (int)(sum & 0);
}
