// Blocking calls under an alarm: which fail with EINTR, which start again, with and without SA_RESTART.
#include "observe.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>

static volatile int alarms;
static int feed = -1;

static void handler(int number) {
    (void)number;
    alarms++;
    // The second alarm ends a call that starts again.
    if (alarms == 2 && feed >= 0)
        MUST(write(feed, "restored", 8));
}

static void arm(int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(SIGALRM, &action, NULL);
    alarms = 0;
    struct itimerval value = {{0, 20000}, {0, 20000}};
    MUST(setitimer(ITIMER_REAL, &value, NULL));
}

static void disarm(const char *what) {
    struct itimerval none = {{0, 0}, {0, 0}};
    MUST(setitimer(ITIMER_REAL, &none, NULL));
    printf("%s: alarmed %s\n", what, alarms ? "yes" : "no");
}

int main(void) {
    int p[2], full[2];
    char bytes[8] = "";
    MUST(pipe(p));
    MUST(pipe(full));
    static char page[65536];
    MUST(write(full[1], page, sizeof page));
    int counter = MUST(eventfd(0, 0));

    arm(0);
    TRY(read(p[0], bytes, 8));
    disarm("read");
    arm(0);
    TRY(write(full[1], bytes, 8));
    disarm("write");
    arm(0);
    TRY(read(counter, bytes, 8));
    disarm("eventfd");
    arm(0);
    TRY(open("/dev/null", O_RDONLY));
    TRY(syscall(SYS_pause));
    disarm("pause");

    // Started again, until the handler feeds the pipe.
    feed = p[1];
    arm(SA_RESTART);
    TRY(read(p[0], bytes, 8));
    printf("%.8s\n", bytes);
    disarm("read");
    CHECK(alarms >= 2);
    feed = -1;

    // Never started again after a handler.
    static const int flags[] = {0, SA_RESTART};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        struct timespec forever = {1000, 0}, rest = {0, 0};
        struct timeval long_time = {1000, 0};
        struct pollfd set = {p[0], POLLIN, 0};
        fd_set reading;
        sigset_t none;
        sigemptyset(&none);
        arm(flags[i]);
        TRY(nanosleep(&forever, &rest));
        CHECK(rest.tv_sec > 900 && rest.tv_sec < 1000);
        TRY(clock_nanosleep(CLOCK_MONOTONIC, 0, &forever, &rest));
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1000;
        TRY(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL));
        TRY(poll(&set, 1, -1));
        TRY(poll(&set, 1, 1000000));
        TRY(ppoll(&set, 1, &forever, NULL));
        FD_ZERO(&reading);
        FD_SET(p[0], &reading);
        TRY(select(p[0] + 1, &reading, NULL, NULL, NULL));
        FD_ZERO(&reading);
        FD_SET(p[0], &reading);
        TRY(select(p[0] + 1, &reading, NULL, NULL, &long_time));
        CHECK(long_time.tv_sec <= 1000);
        TRY(pselect(0, NULL, NULL, NULL, &forever, &none));
        TRY(pause());
        TRY(sigsuspend(&none));
        sigset_t other;
        sigemptyset(&other);
        sigaddset(&other, SIGUSR1);
        TRY(syscall(SYS_rt_sigtimedwait, &other, NULL, &forever, 8));
        TRY(syscall(SYS_rt_sigtimedwait, &other, NULL, NULL, 8));
        disarm("never");
    }

    // Ignored signals interrupt nothing, and a blocked one waits.
    signal(SIGALRM, SIG_IGN);
    struct itimerval value = {{0, 0}, {0, 5000}};
    MUST(setitimer(ITIMER_REAL, &value, NULL));
    struct timespec nap = {0, 50000000};
    TRY(nanosleep(&nap, NULL));
    struct pollfd set = {p[0], POLLIN, 0};
    MUST(setitimer(ITIMER_REAL, &value, NULL));
    TRY(poll(&set, 1, 50));
    return 0;
}
