// What setting the clock refuses, and what it answers. No clock is set: these calls would set the host's.
#include "observe.h"
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <time.h>

int main(void) {
    struct timespec time = {0, 0};
    struct timeval moment = {0, 0};
    struct timezone zone = {0, 0};
    struct timex change;
    // Before the machine started.
    TRY(syscall(SYS_clock_settime, CLOCK_REALTIME, &time));
    time.tv_nsec = 1000000000;
    TRY(syscall(SYS_clock_settime, CLOCK_REALTIME, &time));
    time = (struct timespec){-1, 0};
    TRY(syscall(SYS_clock_settime, CLOCK_REALTIME, &time));
    TRY(syscall(SYS_clock_settime, CLOCK_REALTIME, 1));
    TRY(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &time));
    TRY(syscall(SYS_clock_settime, CLOCK_BOOTTIME, &time));
    TRY(syscall(SYS_clock_settime, CLOCK_TAI, &time));
    TRY(syscall(SYS_clock_settime, CLOCK_REALTIME_COARSE, &time));
    TRY(syscall(SYS_clock_settime, CLOCK_PROCESS_CPUTIME_ID, &time));
    TRY(syscall(SYS_clock_settime, CLOCK_THREAD_CPUTIME_ID, &time));
    TRY(syscall(SYS_clock_settime, 77, &time));
    TRY(syscall(SYS_settimeofday, &moment, 0));
    moment.tv_usec = 1000000;
    TRY(syscall(SYS_settimeofday, &moment, 0));
    moment = (struct timeval){1000000000, -1};
    TRY(syscall(SYS_settimeofday, &moment, 0));
    TRY(syscall(SYS_settimeofday, 1, 0));
    TRY(syscall(SYS_settimeofday, 0, 1));
    zone.tz_minuteswest = 15 * 60 + 1;
    TRY(syscall(SYS_settimeofday, 0, &zone));
    TRY(syscall(SYS_settimeofday, 0, 0));

    memset(&change, 0, sizeof change);
    CHECK(adjtimex(&change) >= 0);
    CHECK(change.tick >= 9000 && change.tick <= 11000);
    CHECK(change.time.tv_sec > 1000000000);
    memset(&change, 0, sizeof change);
    change.modes = ADJ_OFFSET_SS_READ;
    CHECK(adjtimex(&change) >= 0);
    TRY(syscall(SYS_adjtimex, 1));
    change.modes = ADJ_SETOFFSET;
    change.time.tv_sec = 0;
    change.time.tv_usec = -1;
    TRY(adjtimex(&change));
    change.time.tv_usec = 1000000;
    TRY(adjtimex(&change));
    change.modes = ADJ_TICK;
    change.tick = 8999;
    TRY(adjtimex(&change));
    change.tick = 11001;
    TRY(adjtimex(&change));
    change.modes = 0;
    CHECK(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &change) >= 0);
    TRY(syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, &change));
    TRY(syscall(SYS_clock_adjtime, 77, &change));

    // A clock that may be set ends waits for its times; and a count can be given.
    int fd = (int)MUST(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
    struct itimerspec far = {.it_value = {1L << 40, 0}};
    uint64_t count = 0;
    TRY(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, 0));
    TRY(read(fd, &count, 8));
    TRY(timerfd_settime(fd, TFD_TIMER_CANCEL_ON_SET, &far, 0));
    TRY(timerfd_settime(fd, 4, &far, 0));

    MUST(syscall(SYS_setresuid, 1000, 1000, 1000));
    time = (struct timespec){2000000000, 0};
    moment = (struct timeval){2000000000, 0};
    TRY(syscall(SYS_clock_settime, CLOCK_REALTIME, &time));
    TRY(syscall(SYS_settimeofday, &moment, 0));
    zone.tz_minuteswest = 0;
    TRY(syscall(SYS_settimeofday, 0, &zone));
    change.modes = ADJ_SETOFFSET;
    change.time.tv_usec = 0;
    TRY(adjtimex(&change));
    change.modes = ADJ_OFFSET_SINGLESHOT;
    change.offset = 0;
    TRY(adjtimex(&change));
    change.modes = 0;
    CHECK(adjtimex(&change) >= 0);
    return 0;
}
