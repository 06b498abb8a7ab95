// alarm and interval timers: what they answer, the signals they send, one shot and periodic, in real and processor time.
#include "observe.h"
#include <sys/time.h>
#include <time.h>

static volatile int alarms, virtuals, profs;

static void handler(int number) {
    if (number == SIGALRM)
        alarms++;
    else if (number == SIGVTALRM)
        virtuals++;
    else
        profs++;
}

static void show(const char *what, const struct itimerval *value) {
    // The value left is only compared with zero: it depends on the machine's speed.
    printf("%s: value %s, interval %lld.%06ld\n", what, value->it_value.tv_sec || value->it_value.tv_usec ? "runs" : "none",
           (long long)value->it_interval.tv_sec, (long)value->it_interval.tv_usec);
}

static void wait_for(volatile int *count, int wanted) {
    while (*count < wanted) {
        volatile int work = 0;
        for (int i = 0; i < 10000; i++)
            work++;
    }
}

static void info_handler(int number, siginfo_t *info, void *context) {
    (void)context;
    printf("signal %d, code %d, errno %d\n", number == SIGALRM, info->si_code, info->si_errno);
    alarms++;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGVTALRM, &action, NULL);
    sigaction(SIGPROF, &action, NULL);

    TRY(alarm(0));
    TRY(alarm(1000));
    long left = alarm(2000);
    CHECK(left > 0 && left <= 1000);
    left = alarm(0);
    CHECK(left > 1000 && left <= 2000);
    TRY(alarm(0));
    TRY(syscall(SYS_alarm, 0xffffffff));
    left = alarm(0);
    CHECK(left > 0xf0000000 && left <= 0xffffffff);

    struct itimerval set = {{0, 0}, {0, 20000}}, old;
    sigset_t mask, none;
    sigemptyset(&none);
    sigemptyset(&mask);
    sigaddset(&mask, SIGALRM);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    TRY(setitimer(ITIMER_REAL, &set, NULL));
    TRY(sigsuspend(&none));
    sigprocmask(SIG_SETMASK, &none, NULL);
    printf("alarms %d\n", alarms);
    TRY(getitimer(ITIMER_REAL, &old));
    show("after one shot", &old);

    // While the program runs.
    TRY(setitimer(ITIMER_REAL, &set, &old));
    show("old", &old);
    wait_for(&alarms, 2);
    printf("alarms %d\n", alarms);

    // Periodic.
    struct itimerval periodic = {{0, 10000}, {0, 5000}};
    TRY(setitimer(ITIMER_REAL, &periodic, NULL));
    wait_for(&alarms, 5);
    CHECK(alarms >= 5);
    struct itimerval far = {{3, 7}, {1000, 999999}};
    TRY(setitimer(ITIMER_REAL, &far, &old));
    CHECK(old.it_interval.tv_sec == 0 && old.it_interval.tv_usec == 10000);
    TRY(getitimer(ITIMER_REAL, &old));
    show("far", &old);
    CHECK(old.it_value.tv_sec <= 1000);
    left = alarm(5);
    CHECK(left > 0 && left <= 1001);
    TRY(getitimer(ITIMER_REAL, &old));
    show("alarm has no interval", &old);
    CHECK(old.it_value.tv_sec <= 5);
    struct itimerval stop = {{4, 0}, {0, 0}};
    TRY(setitimer(ITIMER_REAL, &stop, &old));
    show("stopped", &old);
    TRY(getitimer(ITIMER_REAL, &old));
    show("stopped with interval", &old);

    // Processor time.
    struct itimerval cpu = {{0, 20000}, {0, 20000}};
    TRY(setitimer(ITIMER_VIRTUAL, &cpu, NULL));
    wait_for(&virtuals, 3);
    struct itimerval zero = {{0, 0}, {0, 0}};
    TRY(setitimer(ITIMER_VIRTUAL, &zero, &old));
    show("virtual", &old);
    TRY(getitimer(ITIMER_VIRTUAL, &old));
    show("virtual", &old);
    struct itimerval once = {{0, 0}, {0, 30000}};
    TRY(setitimer(ITIMER_PROF, &once, NULL));
    TRY(getitimer(ITIMER_PROF, &old));
    show("prof", &old);
    wait_for(&profs, 1);
    printf("profs %d\n", profs);
    TRY(getitimer(ITIMER_PROF, &old));
    show("prof", &old);
    // Sleeping uses none.
    struct itimerval second = {{0, 0}, {5, 0}};
    TRY(setitimer(ITIMER_PROF, &second, NULL));
    struct timespec nap = {0, 50000000};
    TRY(nanosleep(&nap, NULL));
    TRY(setitimer(ITIMER_PROF, &zero, &old));
    CHECK(old.it_value.tv_sec >= 1);

    // Blocked: it waits, once.
    sigprocmask(SIG_BLOCK, &mask, NULL);
    alarms = 0;
    struct itimerval quick = {{0, 1000}, {0, 1000}};
    TRY(setitimer(ITIMER_REAL, &quick, NULL));
    nap.tv_nsec = 30000000;
    TRY(nanosleep(&nap, NULL));
    printf("alarms while blocked %d\n", alarms);
    sigset_t pending;
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGALRM));
    TRY(setitimer(ITIMER_REAL, &zero, NULL));
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGALRM));
    TRY(sigsuspend(&none));
    printf("alarms %d\n", alarms);
    struct sigaction with_info = {.sa_sigaction = info_handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGALRM, &with_info, NULL);
    TRY(setitimer(ITIMER_REAL, &once, NULL));
    TRY(sigsuspend(&none));
    printf("alarms %d\n", alarms);

    // Errors.
    struct itimerval bad = {{0, 0}, {0, 1000000}}, negative = {{-1, 0}, {0, 0}};
    TRY(setitimer(ITIMER_REAL, &bad, NULL));
    TRY(setitimer(ITIMER_REAL, &negative, NULL));
    TRY(syscall(SYS_setitimer, 3, &zero, NULL));
    TRY(syscall(SYS_setitimer, -1, &zero, NULL));
    TRY(syscall(SYS_setitimer, 3, &bad, NULL));
    TRY(syscall(SYS_setitimer, ITIMER_REAL, 16, NULL));
    TRY(syscall(SYS_setitimer, ITIMER_REAL, &zero, 16));
    TRY(syscall(SYS_getitimer, 3, &old));
    TRY(syscall(SYS_getitimer, ITIMER_REAL, 16));
    TRY(syscall(SYS_getitimer, ITIMER_REAL, 0));
    return 0;
}
