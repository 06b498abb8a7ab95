// Clocks: which there are, that they go forward, and that they agree.
#include "observe.h"
#include <sys/time.h>
#include <time.h>

static long long nanos(struct timespec time) {
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

int main(void) {
    static const struct {
        const char *name;
        int id;
    } clocks[] = {{"realtime", 0},          {"monotonic", 1},       {"process", 2},         {"thread", 3},
                  {"monotonic raw", 4},     {"realtime coarse", 5}, {"monotonic coarse", 6}, {"boottime", 7},
                  {"tai", 11}};
    struct timespec time, later, resolution;
    for (size_t i = 0; i < ARRAY_LEN(clocks); i++) {
        int backwards = 0;
        long result = syscall(SYS_clock_gettime, clocks[i].id, &time);
        for (int k = 0; k < 2000; k++) {
            clock_gettime(clocks[i].id, &later);
            backwards += nanos(later) < nanos(time);
            time = later;
        }
        printf("%s: %ld, backwards %d, sound %d", clocks[i].name, result, backwards,
               time.tv_nsec >= 0 && time.tv_nsec < 1000000000);
        result = clock_getres(clocks[i].id, &resolution);
        printf(", resolution %s\n", result != 0                         ? error_name(errno)
                                    : resolution.tv_sec == 0 && resolution.tv_nsec > 0 ? "below a second"
                                                                                      : "odd");
    }
    TRY(clock_gettime(10, &time));
    TRY(clock_gettime(12, &time));
    TRY(clock_gettime(100, &time));
    TRY(clock_getres(100, &time));
    TRY(clock_getres(CLOCK_REALTIME, NULL));
    TRY(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 16));
    TRY(syscall(SYS_clock_getres, CLOCK_MONOTONIC, 16));
    struct timeval of_day;
    struct timespec real, coarse, monotonic, boot;
    clock_gettime(CLOCK_REALTIME, &real);
    gettimeofday(&of_day, NULL);
    clock_gettime(CLOCK_REALTIME_COARSE, &coarse);
    CHECK(of_day.tv_sec - real.tv_sec >= 0 && of_day.tv_sec - real.tv_sec <= 2);
    CHECK(llabs(nanos(coarse) - nanos(real)) < 1000000000);
    CHECK(labs(syscall(SYS_time, NULL) - real.tv_sec) <= 2);
    long seconds;
    CHECK(syscall(SYS_time, &seconds) == seconds);
    // It is later than when this was written.
    CHECK(real.tv_sec > 1700000000);
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    CHECK(nanos(boot) >= nanos(monotonic) && nanos(boot) - nanos(monotonic) < 1000000000ll * 86400 * 365);
    TRY(syscall(SYS_gettimeofday, 16, NULL));
    TRY(syscall(SYS_gettimeofday, NULL, NULL));
    TRY(syscall(SYS_time, 16));
    return 0;
}
