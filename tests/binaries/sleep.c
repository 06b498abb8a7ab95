// Sleeping lasts at least as long as asked, and not much longer; errors.
#include "observe.h"
#include <time.h>

static long long now(int clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

int main(void) {
    static const long lengths[] = {0, 1, 1000, 50000, 1000000, 20000000, 150000000};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct timespec length = {0, lengths[i]};
        long long start = now(CLOCK_MONOTONIC);
        int result = nanosleep(&length, NULL);
        long long took = now(CLOCK_MONOTONIC) - start;
        printf("%ld ns: %d, long enough %d, not far too long %d\n", lengths[i], result, took >= lengths[i],
               took < lengths[i] + 2000000000);
    }
    struct timespec until, length = {0, 10000000}, bad = {0, 1000000000}, negative = {-1, 0}, rest;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 30000000;
    if (until.tv_nsec >= 1000000000)
        until.tv_sec++, until.tv_nsec -= 1000000000;
    TRY(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    CHECK(now(CLOCK_MONOTONIC) >= until.tv_sec * 1000000000ll + until.tv_nsec);
    // In the past.
    TRY(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    TRY(clock_nanosleep(CLOCK_REALTIME, 0, &length, &rest));
    TRY(clock_nanosleep(CLOCK_BOOTTIME, 0, &length, &rest));
    TRY(nanosleep(&bad, NULL));
    TRY(nanosleep(&negative, NULL));
    TRY(syscall(SYS_nanosleep, 16, NULL));
    TRY(syscall(SYS_clock_nanosleep, 100, 0, &length, NULL));
    TRY(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &length, NULL));
    TRY(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &bad, NULL));
    // A sleeping process uses no processor time.
    struct timespec before, after, pause = {0, 200000000};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec < 100000000);
    return 0;
}
