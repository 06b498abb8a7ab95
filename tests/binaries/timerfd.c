// Timers behind descriptors: expiry counts, blocking and not, polling, absolute times, errors.
#include "observe.h"
#include <poll.h>
#include <sys/timerfd.h>
#include <time.h>

static void show(const char *what, const struct itimerspec *value) {
    printf("%s: value %s, interval %lld.%09ld\n", what,
           value->it_value.tv_sec || value->it_value.tv_nsec ? "runs" : "none", (long long)value->it_interval.tv_sec,
           value->it_interval.tv_nsec);
}

static int readable(int fd, int timeout_ms) {
    struct pollfd set = {fd, POLLIN | POLLOUT | POLLPRI, 0};
    int result = poll(&set, 1, timeout_ms);
    return result == 1 ? set.revents : result;
}

int main(void) {
    static const int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
    struct itimerspec soon = {{0, 0}, {0, 10000000}}, none = {{0, 0}, {0, 0}}, now, old;
    struct itimerspec periodic = {{0, 2000000}, {0, 1000000}}, far = {{9, 1}, {1000, 0}};
    struct timespec nap = {0, 50000000};
    uint64_t expired;
    for (size_t i = 0; i < ARRAY_LEN(clocks); i++) {
        int fd = TRY(timerfd_create(clocks[i], 0));
        TRY(timerfd_gettime(fd, &now));
        show("new", &now);
        TRY(readable(fd, 0));
        TRY(timerfd_settime(fd, 0, &soon, &old));
        show("old", &old);
        TRY(read(fd, &expired, sizeof expired));
        printf("expired %llu\n", (unsigned long long)expired);
        TRY(timerfd_gettime(fd, &now));
        show("expired", &now);
        TRY(timerfd_settime(fd, 0, &soon, &old));
        TRY(readable(fd, -1));
        TRY(readable(fd, -1));
        TRY(read(fd, &expired, 100));
        TRY(readable(fd, 0));
        // Periods that passed unread are counted.
        TRY(timerfd_settime(fd, 0, &periodic, &old));
        nanosleep(&nap, NULL);
        TRY(read(fd, &expired, sizeof expired));
        CHECK(expired >= 20);
        TRY(timerfd_gettime(fd, &now));
        CHECK(now.it_value.tv_sec == 0 && now.it_value.tv_nsec <= 2000000);
        TRY(read(fd, &expired, sizeof expired));
        CHECK(expired >= 1);
        // Setting it forgets what was not read.
        nanosleep(&nap, NULL);
        TRY(timerfd_settime(fd, 0, &far, &old));
        CHECK(old.it_interval.tv_nsec == 2000000);
        TRY(readable(fd, 0));
        TRY(timerfd_gettime(fd, &now));
        show("far", &now);
        // Absolute times: long ago, and ahead.
        struct itimerspec at = {{0, 0}, {0, 1}};
        TRY(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL));
        TRY(read(fd, &expired, sizeof expired));
        printf("expired %llu\n", (unsigned long long)expired);
        clock_gettime(clocks[i], &at.it_value);
        at.it_value.tv_sec += 500;
        TRY(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL));
        TRY(timerfd_gettime(fd, &now));
        CHECK(now.it_value.tv_sec > 400 && now.it_value.tv_sec <= 500);
        TRY(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, NULL));
        TRY(readable(fd, 0));
        struct itimerspec stop = {{6, 0}, {0, 0}};
        TRY(timerfd_settime(fd, 0, &stop, NULL));
        TRY(timerfd_gettime(fd, &now));
        show("stopped", &now);
        close(fd);
    }
    int fd = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    printf("flags %x %x\n", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
    TRY(read(fd, &expired, sizeof expired));
    TRY(timerfd_settime(fd, 0, &far, NULL));
    TRY(read(fd, &expired, sizeof expired));
    TRY(read(fd, &expired, 7));
    TRY(write(fd, &expired, sizeof expired));
    TRY(lseek(fd, 0, SEEK_SET));
    struct stat status;
    MUST(fstat(fd, &status));
    printf("mode %o size %lld\n", status.st_mode, (long long)status.st_size);
    // A running timer that is closed.
    MUST(timerfd_settime(fd, 0, &soon, NULL));
    MUST(close(fd));
    nanosleep(&nap, NULL);

    // Errors.
    fd = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
    TRY(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0));
    TRY(timerfd_create(CLOCK_MONOTONIC_RAW, 0));
    TRY(timerfd_create(100, 0));
    TRY(timerfd_create(-1, 0));
    TRY(timerfd_create(CLOCK_MONOTONIC, 1));
    TRY(timerfd_settime(fd, 4, &soon, NULL));
    TRY(timerfd_settime(fd, 0, &(struct itimerspec){{0, 0}, {0, 1000000000}}, NULL));
    TRY(timerfd_settime(fd, 0, &(struct itimerspec){{-1, 0}, {0, 0}}, NULL));
    TRY(timerfd_settime(fd, 0, (void *)16, NULL));
    TRY(timerfd_settime(fd, 0, &none, (void *)16));
    TRY(timerfd_settime(0, 0, &none, NULL));
    TRY(timerfd_settime(99, 0, &none, NULL));
    TRY(timerfd_gettime(0, &now));
    TRY(timerfd_gettime(99, &now));
    TRY(timerfd_gettime(fd, (void *)16));
    return 0;
}
