// POSIX timers: creation, one shot and periodic, what the signal tells, overruns, absolute times, errors.
#include "observe.h"
#include <time.h>

// Raw calls: the C library has its own idea of timer numbers and SIGEV_THREAD.
static int make(int clock, void *event, int *id) { return syscall(SYS_timer_create, clock, event, id); }
static int set_time(int id, int flags, const struct itimerspec *value, struct itimerspec *old) {
    return syscall(SYS_timer_settime, id, flags, value, old);
}
static int get_time(int id, struct itimerspec *value) { return syscall(SYS_timer_gettime, id, value); }
static int overrun(int id) { return syscall(SYS_timer_getoverrun, id); }
static int drop(int id) { return syscall(SYS_timer_delete, id); }

static void show(const char *what, const struct itimerspec *value) {
    printf("%s: value %s, interval %lld.%09ld\n", what,
           value->it_value.tv_sec || value->it_value.tv_nsec ? "runs" : "none", (long long)value->it_interval.tv_sec,
           value->it_interval.tv_nsec);
}

// The handler only notes: it may come while the program prints.
static volatile int count, last_number, last_code, last_value;

static void handler(int number, siginfo_t *info, void *context) {
    (void)context;
    last_number = number;
    last_code = info->si_code;
    last_value = info->si_value.sival_int;
    count++;
}

int main(void) {
    int id = -1, second = -1;
    struct itimerspec now, old, soon = {{0, 0}, {0, 10000000}}, none = {{0, 0}, {0, 0}}, far = {{7, 5}, {1000, 0}};
    struct itimerspec periodic = {{0, 2000000}, {0, 1000000}};
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGRTMIN + 3, &action, NULL);

    // Without an event: SIGALRM with the timer's number.
    TRY(make(CLOCK_MONOTONIC, NULL, &id));
    printf("id %d\n", id);
    TRY(get_time(id, &now));
    show("new", &now);
    TRY(set_time(id, 0, &far, &old));
    show("old", &old);
    TRY(get_time(id, &now));
    show("set", &now);
    CHECK(now.it_value.tv_sec <= 1000 && now.it_value.tv_sec > 900);
    sigset_t mask, empty;
    sigemptyset(&empty);
    sigemptyset(&mask);
    sigaddset(&mask, SIGALRM);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    TRY(set_time(id, 0, &soon, &old));
    show("old", &old);
    TRY(sigsuspend(&empty));
    sigprocmask(SIG_SETMASK, &empty, NULL);
    printf("signal %d code %d value %d\n", last_number, last_code, last_value);
    printf("count %d, overrun %d\n", count, overrun(id));
    TRY(get_time(id, &now));
    show("after", &now);

    // A real-time signal with a value.
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3, .sigev_value.sival_int = 77};
    TRY(make(CLOCK_REALTIME, &event, &second));
    CHECK(second != id);
    count = 0;
    TRY(set_time(second, 0, &periodic, NULL));
    while (count < 5)
        ;
    printf("signal %d code %d value %d\n", last_number, last_code, last_value);
    TRY(set_time(second, 0, &none, &old));
    CHECK(old.it_interval.tv_nsec == 2000000);
    TRY(get_time(second, &now));
    show("stopped", &now);

    // Blocked: one signal stands for all the periods that have passed.
    sigemptyset(&mask);
    sigaddset(&mask, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    TRY(set_time(second, 0, &periodic, NULL));
    struct timespec nap = {0, 60000000}, zero = {0, 0}, second_long = {100, 0};
    nanosleep(&nap, NULL);
    siginfo_t info;
    memset(&info, 0, sizeof info);
    CHECK(sigtimedwait(&mask, &info, &zero) == SIGRTMIN + 3);
    CHECK(info.si_code == SI_TIMER && info.si_value.sival_int == 77 && info.si_timerid == second);
    CHECK(info.si_overrun >= 20);
    CHECK(overrun(second) == info.si_overrun);
    printf("private %d\n", ((int *)&info)[8]);
    CHECK(sigtimedwait(&mask, &info, &second_long) == SIGRTMIN + 3);
    TRY(get_time(second, &now));
    show("periodic", &now);
    CHECK(now.it_value.tv_sec == 0 && now.it_value.tv_nsec <= 2000000);
    TRY(drop(second));
    TRY(drop(second));
    TRY(get_time(second, &now));
    TRY(overrun(second));
    while (sigtimedwait(&mask, &info, &zero) > 0)
        ;

    // Absolute times, in the past and in the future.
    count = 1;
    TRY(set_time(id, TIMER_ABSTIME, &(struct itimerspec){{0, 0}, {0, 1}}, NULL));
    nap.tv_nsec = 30000000;
    while (count < 2)
        ;
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    TRY(set_time(id, TIMER_ABSTIME, &(struct itimerspec){{0, 0}, {at.tv_sec + 500, 0}}, NULL));
    TRY(get_time(id, &now));
    CHECK(now.it_value.tv_sec > 400 && now.it_value.tv_sec <= 500);
    TRY(set_time(id, 0, &none, NULL));

    // Nothing happens, but time passes.
    int silent = -1;
    event.sigev_notify = SIGEV_NONE;
    event.sigev_signo = 12345;
    TRY(make(CLOCK_BOOTTIME, &event, &silent));
    TRY(set_time(silent, 0, &soon, NULL));
    nanosleep(&nap, NULL);
    TRY(get_time(silent, &now));
    show("silent", &now);
    TRY(set_time(silent, 0, &periodic, NULL));
    nanosleep(&nap, NULL);
    TRY(get_time(silent, &now));
    show("silent, periodic", &now);
    TRY(drop(silent));

    // To one thread.
    int own = -1;
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGRTMIN + 3;
    event.sigev_value.sival_int = 5;
    ((int *)&event)[4] = syscall(SYS_gettid);
    TRY(make(CLOCK_MONOTONIC, &event, &own));
    TRY(set_time(own, 0, &soon, NULL));
    CHECK(sigtimedwait(&mask, &info, &second_long) == SIGRTMIN + 3);
    printf("value %d, overrun %d\n", info.si_value.sival_int, info.si_overrun);
    TRY(drop(own));
    ((int *)&event)[4] = 1 << 21;
    TRY(make(CLOCK_MONOTONIC, &event, &own));

    // Processor time.
    event.sigev_notify = SIGEV_SIGNAL;
    int cpu = -1, thread_cpu = -1;
    TRY(make(CLOCK_PROCESS_CPUTIME_ID, &event, &cpu));
    TRY(make(CLOCK_THREAD_CPUTIME_ID, &event, &thread_cpu));
    sigprocmask(SIG_SETMASK, &empty, NULL);
    count = 1;
    TRY(set_time(cpu, 0, &soon, NULL));
    while (count < 2)
        ;
    TRY(set_time(thread_cpu, 0, &soon, NULL));
    while (count < 3)
        ;
    TRY(get_time(cpu, &now));
    show("cpu", &now);
    TRY(drop(cpu));
    TRY(drop(thread_cpu));

    // An ignored signal: the timer goes on.
    signal(SIGALRM, SIG_IGN);
    TRY(set_time(id, 0, &periodic, NULL));
    nanosleep(&nap, NULL);
    TRY(get_time(id, &now));
    show("ignored", &now);
    TRY(drop(id));

    // Errors.
    TRY(make(100, NULL, &id));
    TRY(make(-1, NULL, &id));
    TRY(make(CLOCK_MONOTONIC_RAW, NULL, &id));
    TRY(make(CLOCK_REALTIME_COARSE, NULL, &id));
    TRY(make(CLOCK_MONOTONIC_COARSE, NULL, &id));
    TRY(make(CLOCK_MONOTONIC, (void *)16, &id));
    TRY(make(CLOCK_MONOTONIC, NULL, (void *)16));
    event.sigev_signo = 0;
    TRY(make(CLOCK_MONOTONIC, &event, &id));
    event.sigev_signo = 65;
    TRY(make(CLOCK_MONOTONIC, &event, &id));
    event.sigev_signo = 10;
    event.sigev_notify = 3;
    TRY(make(CLOCK_MONOTONIC, &event, &id));
    MUST(make(CLOCK_TAI, NULL, &id));
    TRY(set_time(id, 0, NULL, NULL));
    TRY(set_time(id, 0, (void *)16, NULL));
    TRY(set_time(id, 0, &(struct itimerspec){{0, 0}, {0, 1000000000}}, NULL));
    TRY(set_time(id, 0, &(struct itimerspec){{0, -1}, {0, 0}}, NULL));
    TRY(set_time(id, 0, &none, (void *)16));
    TRY(set_time(12345, 0, &none, NULL));
    TRY(get_time(id, (void *)16));
    TRY(get_time(-1, &now));
    TRY(overrun(12345));
    TRY(drop(-1));
    return 0;
}
