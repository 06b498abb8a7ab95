//@ cpus: 1 2 4
//@ timeout: 120
// Timers in a process with several threads: who is told, clocks of threads and processes, sleeps at the same time, odd times.
#include "observe.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id __sev_fields.sigev_notify_thread_id
#endif

static sem_t go, done;
static volatile int fired, fired_in, fired_value, is_over;
static volatile int tids[4];

static int gettid_(void) { return (int)syscall(SYS_gettid); }

static void on_timer(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    fired_in = gettid_();
    fired_value = info->si_value.sival_int;
    __atomic_add_fetch(&fired, 1, __ATOMIC_SEQ_CST);
}

static void handle(int signal) {
    struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(signal, &action, 0);
}

static void block(int how, int signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    pthread_sigmask(how, &set, 0);
}

static int make_timer(clockid_t clock, int notify, int signal, int tid, int value) {
    struct sigevent event = {.sigev_notify = notify, .sigev_signo = signal};
    int id = -1;
    event.sigev_value.sival_int = value;
    if (notify == 4)
        event.sigev_notify_thread_id = tid;
    MUST(syscall(SYS_timer_create, clock, &event, &id));
    return id;
}

static void set_timer(int id, int flags, long value_ns, long interval_ns) {
    struct itimerspec setting = {{interval_ns / 1000000000, interval_ns % 1000000000},
                                 {value_ns / 1000000000, value_ns % 1000000000}};
    MUST(syscall(SYS_timer_settime, id, flags, &setting, 0));
}

static void wait_for(int count) {
    while (fired < count)
        sched_yield();
}

static void *idle(void *argument) {
    tids[(size_t)argument] = gettid_();
    sem_post(&done);
    sem_wait(&go);
    return 0;
}

static void *busy(void *argument) {
    tids[(size_t)argument] = gettid_();
    sem_post(&done);
    while (!is_over) {
    }
    return 0;
}

static void told_threads(void) {
    pthread_t threads[2];
    handle(SIGRTMIN);
    for (size_t i = 0; i < 2; i++)
        pthread_create(&threads[i], 0, idle, (void *)(i + 1));
    sem_wait(&done);
    sem_wait(&done);
    for (int i = 1; i <= 2; i++) {
        fired = 0;
        int id = make_timer(CLOCK_MONOTONIC, 4, SIGRTMIN, tids[i], 40 + i);
        set_timer(id, 0, 1000000, 0);
        wait_for(1);
        printf("timer of thread %d: in its thread %d, value %d\n", i, fired_in == tids[i], fired_value);
        set_timer(id, 0, 1000000, 1000000);
        wait_for(6);
        TRY(syscall(SYS_timer_delete, id));
        TRY(syscall(SYS_timer_delete, id));
    }
    sem_post(&go);
    sem_post(&go);
    int gone = tids[1];
    pthread_join(threads[0], 0);
    pthread_join(threads[1], 0);
    while (syscall(SYS_tgkill, getpid(), gone, 0) == 0)
        usleep(1000);
    struct sigevent event = {.sigev_notify = 4, .sigev_signo = SIGRTMIN};
    int id;
    event.sigev_notify_thread_id = gone;
    TRY(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
    event.sigev_notify_thread_id = 1 << 30;
    TRY(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
}

static void told_process(void) {
    pthread_t thread;
    fired = 0;
    block(SIG_BLOCK, SIGRTMIN);
    // Only the other thread does not block it.
    block(SIG_UNBLOCK, SIGRTMIN);
    pthread_create(&thread, 0, idle, (void *)1);
    sem_wait(&done);
    block(SIG_BLOCK, SIGRTMIN);
    int id = make_timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 0, 7);
    set_timer(id, 0, 1000000, 0);
    wait_for(1);
    printf("timer of the process: in the thread that does not block it %d\n", fired_in == tids[1]);
    syscall(SYS_timer_delete, id);
    block(SIG_UNBLOCK, SIGRTMIN);
    sem_post(&go);
    pthread_join(thread, 0);
}

static void cpu_clocks(void) {
    pthread_t threads[2];
    clockid_t clock;
    struct timespec start, end;
    is_over = 0;
    for (size_t i = 0; i < 2; i++)
        pthread_create(&threads[i], 0, busy, (void *)(i + 1));
    sem_wait(&done);
    sem_wait(&done);
    fired = 0;
    int id = make_timer(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGRTMIN, 0, 1);
    set_timer(id, 0, 20000000, 20000000);
    wait_for(3);
    puts("timer of the process's CPU clock fires");
    syscall(SYS_timer_delete, id);
    MUST(pthread_getcpuclockid(threads[0], &clock));
    fired = 0;
    id = make_timer(clock, 4, SIGRTMIN, tids[2], 2);
    set_timer(id, 0, 20000000, 20000000);
    wait_for(3);
    printf("timer of another thread's CPU clock fires, in the thread it names: %d\n", fired_in == tids[2]);
    syscall(SYS_timer_delete, id);

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    start.tv_nsec += 30000000;
    if (start.tv_nsec >= 1000000000) {
        start.tv_sec++;
        start.tv_nsec -= 1000000000;
    }
    TRY(syscall(SYS_clock_nanosleep, CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &start, 0));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    CHECK(end.tv_sec > start.tv_sec || (end.tv_sec == start.tv_sec && end.tv_nsec >= start.tv_nsec));
    struct timespec short_time = {0, 30000000};
    TRY(syscall(SYS_clock_nanosleep, CLOCK_PROCESS_CPUTIME_ID, 0, &short_time, 0));
    TRY(syscall(SYS_clock_nanosleep, clock, 0, &short_time, 0));
    TRY(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &short_time, 0));
    TRY(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &short_time, 0));
    TRY(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_COARSE, 0, &short_time, 0));
    TRY(syscall(SYS_clock_nanosleep, 99, 0, &short_time, 0));

    static const struct {
        int which, signal;
        const char *name;
    } kinds[] = {{ITIMER_PROF, SIGPROF, "ITIMER_PROF"}, {ITIMER_VIRTUAL, SIGVTALRM, "ITIMER_VIRTUAL"}, {ITIMER_REAL, SIGALRM, "ITIMER_REAL"}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct itimerval setting = {{0, 10000}, {0, 10000}}, none = {0}, old;
        handle(kinds[i].signal);
        fired = 0;
        MUST(setitimer(kinds[i].which, &setting, 0));
        wait_for(3);
        MUST(setitimer(kinds[i].which, &none, &old));
        printf("%s fires, period %ld\n", kinds[i].name, (long)old.it_interval.tv_usec);
    }
    is_over = 1;
    pthread_join(threads[0], 0);
    pthread_join(threads[1], 0);
}

static volatile int slept_enough;

static void *sleep_some(void *argument) {
    long wanted_ns = 1000000L * (long)(size_t)argument;
    struct timespec start, end, time = {0, wanted_ns};
    for (int i = 0; i < 5; i++) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        int result = clock_nanosleep(i % 2 ? CLOCK_REALTIME : CLOCK_MONOTONIC, 0, &time, 0);
        clock_gettime(CLOCK_MONOTONIC, &end);
        long passed_ns = (end.tv_sec - start.tv_sec) * 1000000000 + end.tv_nsec - start.tv_nsec;
        __atomic_add_fetch(&slept_enough, result == 0 && passed_ns >= wanted_ns, __ATOMIC_SEQ_CST);
    }
    return 0;
}

static void sleepers(void) {
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        pthread_create(&threads[i], 0, sleep_some, (void *)(8 - i));
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], 0);
    printf("40 sleeps in 8 threads: %d long enough\n", slept_enough);
}

static volatile long expirations;
static int timer_fd;

static void *read_timer(void *argument) {
    (void)argument;
    uint64_t count;
    for (int i = 0; i < 5; i++)
        if (read(timer_fd, &count, 8) == 8 && count > 0)
            __atomic_add_fetch(&expirations, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static void one_timer_many_readers(void) {
    pthread_t threads[3];
    struct itimerspec setting = {{0, 1000000}, {0, 1000000}};
    timer_fd = (int)MUST(timerfd_create(CLOCK_MONOTONIC, 0));
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], 0, read_timer, 0);
    MUST(timerfd_settime(timer_fd, 0, &setting, 0));
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], 0);
    printf("three readers of a timerfd: %ld reads with expirations\n", expirations);
    close(timer_fd);
}

static void odd_times(void) {
    struct timespec time = {0, 1000000000};
    struct itimerspec setting = {{0, 0}, {-1, 0}};
    TRY(nanosleep(&time, 0));
    time = (struct timespec){-1, 0};
    TRY(nanosleep(&time, 0));
    time = (struct timespec){0, -1};
    TRY(nanosleep(&time, 0));
    time = (struct timespec){-1, 0};
    TRY(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &time, 0));
    time = (struct timespec){1, 0};
    TRY(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &time, 0));
    TRY(syscall(SYS_clock_nanosleep, CLOCK_TAI, TIMER_ABSTIME, &time, 0));
    TRY(syscall(SYS_clock_nanosleep, CLOCK_BOOTTIME, TIMER_ABSTIME, &(struct timespec){0, 1}, 0));
    int id = make_timer(CLOCK_REALTIME, SIGEV_SIGNAL, SIGRTMIN, 0, 3);
    TRY(syscall(SYS_timer_settime, id, 0, &setting, 0));
    setting.it_value = (struct timespec){0, 1000000000};
    TRY(syscall(SYS_timer_settime, id, 0, &setting, 0));
    setting.it_value = (struct timespec){1, 0};
    setting.it_interval = (struct timespec){0, -1};
    TRY(syscall(SYS_timer_settime, id, 0, &setting, 0));
    fired = 0;
    setting.it_interval = (struct timespec){0, 0};
    TRY(syscall(SYS_timer_settime, id, TIMER_ABSTIME, &setting, 0));
    wait_for(1);
    puts("a time that has passed: fires at once");
    setting.it_value = (struct timespec){INT64_MAX, 999999999};
    TRY(syscall(SYS_timer_settime, id, 0, &setting, 0));
    TRY(syscall(SYS_timer_settime, id, TIMER_ABSTIME, &setting, 0));
    syscall(SYS_timer_gettime, id, &setting);
    CHECK(setting.it_value.tv_sec > 1000000000);
    TRY(syscall(SYS_timer_delete, id));
    int silent = make_timer(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0);
    set_timer(silent, 0, 1000000000000, 0);
    syscall(SYS_timer_gettime, silent, &setting);
    CHECK(setting.it_value.tv_sec >= 900 && setting.it_value.tv_sec <= 1000);
    TRY(syscall(SYS_timer_getoverrun, silent));
    TRY(syscall(SYS_timer_delete, silent));
}

static void overruns(void) {
    sigset_t set;
    siginfo_t info;
    struct timespec no_time = {0, 0};
    block(SIG_BLOCK, SIGRTMIN);
    int id = make_timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 0, 5);
    set_timer(id, 0, 1000000, 1000000);
    usleep(50000);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    int signal = sigtimedwait(&set, &info, &no_time);
    int overrun = (int)syscall(SYS_timer_getoverrun, id);
    printf("taken: %d, code %d, value %d, overrun in it is the timer's: %d, and counts: %d\n", signal == SIGRTMIN,
           info.si_code, info.si_value.sival_int, overrun == info.si_overrun, overrun >= 40);
    set_timer(id, 0, 0, 0);
    while (sigtimedwait(&set, &info, &no_time) > 0) {
    }
    TRY(syscall(SYS_timer_delete, id));
    block(SIG_UNBLOCK, SIGRTMIN);
}

int main(void) {
    sem_init(&go, 0, 0);
    sem_init(&done, 0, 0);
    told_threads();
    told_process();
    cpu_clocks();
    sleepers();
    one_timer_many_readers();
    odd_times();
    overruns();
    return 0;
}
