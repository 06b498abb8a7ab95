// Tasks on signals and timers, and the handlers that all threads live with.
#include "soak.h"
#include <sys/syscall.h>
#include <sys/time.h>

// Queued to single threads; each must be handled as often as it was sent.
#define COUNTED (SIGRTMIN + 2)
// Sent anywhere at any time; only has to do no harm.
#define STRAY SIGUSR1
// Waited for, blocked in all threads.
#define WAITED (SIGRTMIN + 3)
// From timers of tasks.
#define TIMED (SIGRTMIN + 4)

static void count_queued(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    // What the handler interrupted must not see another errno.
    int error = errno;
    if (me == NULL || info->si_value.sival_ptr != me)
        fail(__FILE__, __LINE__, "a queued signal reached another thread", info->si_code);
    me->handled++;
    // Some arithmetic on vector registers.
    volatile double sum = 0;
    for (int i = 0; i < 20; i++)
        sum += (double)i * 1.5;
    if (sum != 285.0)
        fail(__FILE__, __LINE__, "wrong arithmetic in a handler", (long)sum);
    errno = error;
}

static void ignore(int number) { (void)number; }

static void tick(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    atomic_long *counter = info->si_code == SI_TIMER ? info->si_value.sival_ptr : NULL;
    if (counter != NULL)
        (*counter)++;
}

void prepare_signals(void) {
    struct sigaction action = {.sa_sigaction = count_queued, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(COUNTED, &action, NULL);
    action.sa_sigaction = tick;
    sigaction(TIMED, &action, NULL);
    struct sigaction stray = {.sa_handler = ignore};
    sigaction(STRAY, &stray, NULL);
    stray.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &stray, NULL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, WAITED);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static long queue_to(int tid, int number, void *value) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = number;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_value.sival_ptr = value;
    return syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, number, &info);
}

// Signals to a helper that cannot end before it has handled them all.
struct target {
    atomic_int place;
    atomic_int expected;
};

static void handle_all(void *argument, int number) {
    struct target *target = argument;
    (void)number;
    target->place = (int)(me - places) + 1;
    volatile double sum = 0;
    while (target->expected < 0 || me->handled < target->expected) {
        at("is the target of signals");
        // Vector registers must survive the handlers.
        double local = 0;
        for (int i = 0; i < 200; i++)
            local += i;
        ENSURE(local == 19900.0);
        sum += local;
        if (pick(4) == 0)
            sleep_us(pick(300));
    }
}

static void use_queued(void) {
    struct target target = {.expected = -1};
    struct helper helper;
    start_helper(&helper, handle_all, &target, 0);
    at("waits for the target");
    while (target.place == 0)
        sched_yield();
    struct place *place = &places[target.place - 1];
    int sent = 0;
    for (int i = 1 + (int)pick(80); i > 0; i--) {
        at("queues signals");
        if (queue_to(place->tid, COUNTED, place) == 0)
            sent++;
        else
            ENSURE_IS(errno, EAGAIN);
        if (pick(3) == 0)
            ENSURE_IS(syscall(SYS_tgkill, getpid(), place->tid, STRAY), 0);
    }
    target.expected = sent;
    join_helper(&helper);
}

// Values through sigwaitinfo: all arrive, whoever takes them.
struct waited {
    atomic_long sum;
    atomic_int tid;
    int each;
};

static void wait_for_values(void *argument, int number) {
    struct waited *waited = argument;
    (void)number;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, WAITED);
    waited->tid = me->tid;
    for (int i = 0; i < waited->each; i++) {
        siginfo_t info;
        at("waits for a queued value");
        ENSURE_IS(RETRY(sigwaitinfo(&set, &info)), WAITED);
        waited->sum += info.si_value.sival_int;
    }
}

static void use_waited(void) {
    struct waited waited = {.each = 1 + (int)pick(40)};
    struct helper helper;
    start_helper(&helper, wait_for_values, &waited, 0);
    long sum = 0;
    at("waits for the helper");
    while (waited.tid == 0)
        sched_yield();
    for (int i = 1; i <= waited.each; i++) {
        union sigval value = {.sival_int = i};
        siginfo_t info;
        memset(&info, 0, sizeof info);
        info.si_signo = WAITED;
        info.si_code = SI_QUEUE;
        info.si_value = value;
        at("queues a value");
        while (syscall(SYS_rt_tgsigqueueinfo, getpid(), waited.tid, WAITED, &info) != 0) {
            ENSURE_IS(errno, EAGAIN);
            sched_yield();
        }
        sum += i;
    }
    join_helper(&helper);
    ENSURE_IS(waited.sum, sum);
}

// Timers that signal, the thread or the process.
static void use_timers(void) {
    timer_t timers[3];
    static _Thread_local atomic_long counters[3];
    int count = 1 + (int)pick(3);
    for (int i = 0; i < count; i++) {
        struct sigevent event;
        memset(&event, 0, sizeof event);
        counters[i] = 0;
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = TIMED;
        event.sigev_value.sival_ptr = &counters[i];
        // The field has no portable name.
        ((int *)&event)[4] = me->tid;
        ENSURE_IS(timer_create(pick(2) ? CLOCK_MONOTONIC : CLOCK_REALTIME, &event, &timers[i]), 0);
        struct itimerspec time = {{0, pick(2) ? 200000 + pick(1000000) : 0}, {0, 1 + pick(3000000)}};
        ENSURE_IS(timer_settime(timers[i], 0, &time, NULL), 0);
    }
    for (int i = 0; i < count; i++)
        while (counters[i] == 0) {
            at("waits for a timer's signal");
            sleep_us(100 + pick(2000));
        }
    for (int i = 0; i < count; i++)
        ENSURE_IS(timer_delete(timers[i]), 0);
    // One of them may be on its way still; its counter stays while the thread does.
}

static void use_sleeps(void) {
    for (int i = 1 + (int)pick(6); i > 0; i--) {
        struct timespec until = after_us(CLOCK_MONOTONIC, pick(3000)), now;
        at("sleeps until a time");
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
            ;
        clock_gettime(CLOCK_MONOTONIC, &now);
        ENSURE(now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));
        at("sleeps for a time");
        sleep_us(pick(1000));
    }
}

static void block(void *argument, int number) {
    (void)argument, (void)number;
    // Cancelled here or in the sleep that follows.
    for (;;) {
        at("waits to be cancelled");
        pause();
    }
}

static void use_cancel(void) {
    struct helper helpers[3];
    int count = 1 + (int)pick(3);
    for (int i = 0; i < count; i++)
        start_helper(&helpers[i], block, NULL, i);
    if (pick(2))
        sleep_us(pick(1000));
    for (int i = 0; i < count; i++)
        ENSURE_IS(pthread_cancel(helpers[i].thread), 0);
    for (int i = 0; i < count; i++)
        join_helper(&helpers[i]);
}

const struct task signal_tasks[] = {{"queued signals", use_queued}, {"waited signals", use_waited}, {"timers", use_timers},
                                    {"sleeps", use_sleeps},         {"cancel", use_cancel},         {NULL, NULL}};
