//@ cpus: 1 2 4
// In which order threads of one CPU run under the real-time policies: by priority, by turn, at once when something more urgent
// comes, and with what waiters lend.
#include "observe.h"
#include <pthread.h>
#include <sched.h>

static char order[4096];

static void note(const char *what) {
    strcat(order, what);
    strcat(order, " ");
}

static void show(const char *title) {
    printf("%s: %s\n", title, order);
    order[0] = 0;
}

static void become(int policy, int priority) {
    struct sched_param parameters = {.sched_priority = priority};
    MUST(syscall(SYS_sched_setscheduler, 0, policy, &parameters));
}

static void make(int tid, int policy, int priority) {
    struct sched_param parameters = {.sched_priority = priority};
    MUST(syscall(SYS_sched_setscheduler, tid, policy, &parameters));
}

struct worker {
    const char *name;
    int policy, priority;
    void (*job)(struct worker *worker);
    pthread_t thread;
    volatile int tid;
    int pipe[2];
};

static void wait_for(struct worker *worker) {
    char byte;
    MUST(read(worker->pipe[0], &byte, 1));
}

static void tell(struct worker *worker) {
    MUST(write(worker->pipe[1], "x", 1));
}

static void *work(void *argument) {
    struct worker *worker = argument;
    worker->tid = (int)syscall(SYS_gettid);
    // Begins above all others, so that the order of starting does not depend on who made it.
    become(worker->policy, worker->priority);
    worker->job(worker);
    return NULL;
}

// Starts a worker; it has its priority, and runs if that is above the caller's, before this returns.
static void start(struct worker *worker) {
    struct sched_param own;
    int policy = (int)syscall(SYS_sched_getscheduler, 0);
    syscall(SYS_sched_getparam, 0, &own);
    MUST(pipe(worker->pipe));
    worker->tid = 0;
    // It inherits the highest priority there is, and comes to run when this thread lets it.
    become(SCHED_FIFO, 99);
    pthread_create(&worker->thread, NULL, work, worker);
    while (!worker->tid)
        sched_yield();
    become(policy, own.sched_priority);
}

static void join(struct worker *workers, int count) {
    for (int i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
        close(workers[i].pipe[0]);
        close(workers[i].pipe[1]);
    }
}

static void once(struct worker *worker) {
    note(worker->name);
}

static void thrice(struct worker *worker) {
    for (int i = 0; i < 3; i++) {
        note(worker->name);
        sched_yield();
    }
}

static void when_told(struct worker *worker) {
    wait_for(worker);
    note(worker->name);
}

static volatile int progress[2];

// Goes on only when the other one has, which on one CPU takes turns.
static void in_turns(struct worker *worker) {
    int own = worker->name[0] - '0';
    for (int i = 1; i <= 3; i++) {
        progress[own] = i;
        while (progress[!own] < i)
            ;
    }
    note("done");
}

static pthread_mutex_t lock;

static void holding(struct worker *worker) {
    pthread_mutex_lock(&lock);
    note("locks");
    wait_for(worker);
    note("low");
    pthread_mutex_unlock(&lock);
    note("low-after");
}

static void locking(struct worker *worker) {
    wait_for(worker);
    note("high-wants");
    pthread_mutex_lock(&lock);
    note("high");
    pthread_mutex_unlock(&lock);
}

int main(void) {
    // Whatever the caller has.
    MUST(syscall(SYS_setpriority, 0, 0, 0));
    cpu_set_t set;
    MUST(sched_getaffinity(0, sizeof set, &set));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    MUST(sched_setaffinity(0, sizeof set, &set));
    become(SCHED_FIFO, 90);

    struct worker by_priority[] = {{"p20", SCHED_FIFO, 20, once, 0, 0, {0}}, {"p50", SCHED_RR, 50, once, 0, 0, {0}},
                                   {"other", SCHED_OTHER, 0, once, 0, 0, {0}}, {"p10", SCHED_FIFO, 10, once, 0, 0, {0}},
                                   {"p40", SCHED_FIFO, 40, once, 0, 0, {0}}, {"p30", SCHED_RR, 30, once, 0, 0, {0}}};
    for (size_t i = 0; i < ARRAY_LEN(by_priority); i++)
        start(&by_priority[i]);
    note("started");
    join(by_priority, ARRAY_LEN(by_priority));
    show("by priority");

    struct worker alike[] = {{"a", SCHED_FIFO, 20, thrice, 0, 0, {0}}, {"b", SCHED_FIFO, 20, thrice, 0, 0, {0}},
                             {"c", SCHED_FIFO, 20, thrice, 0, 0, {0}}};
    for (size_t i = 0; i < ARRAY_LEN(alike); i++)
        start(&alike[i]);
    join(alike, ARRAY_LEN(alike));
    show("yielding");

    struct worker turns[] = {{"0", SCHED_RR, 20, in_turns, 0, 0, {0}}, {"1", SCHED_RR, 20, in_turns, 0, 0, {0}}};
    for (size_t i = 0; i < ARRAY_LEN(turns); i++)
        start(&turns[i]);
    join(turns, ARRAY_LEN(turns));
    show("in turns");

    struct worker above = {"above", SCHED_FIFO, 95, once, 0, 0, {0}};
    note("before");
    start(&above);
    note("after");
    join(&above, 1);
    show("more urgent from the start");

    struct worker waiting[] = {{"w95", SCHED_FIFO, 95, when_told, 0, 0, {0}}, {"w80", SCHED_FIFO, 80, when_told, 0, 0, {0}},
                               {"wother", SCHED_OTHER, 0, when_told, 0, 0, {0}}};
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        start(&waiting[i]);
    for (int i = 2; i >= 0; i--) {
        note("tell");
        tell(&waiting[i]);
    }
    note("told");
    join(waiting, ARRAY_LEN(waiting));
    show("woken");

    struct worker raised[] = {{"low", SCHED_FIFO, 10, once, 0, 0, {0}}, {"fair", SCHED_OTHER, 0, once, 0, 0, {0}}};
    start(&raised[0]);
    start(&raised[1]);
    note("raise");
    make(raised[1].tid, SCHED_FIFO, 95);
    note("raised");
    become(SCHED_FIFO, 5);
    note("lowered");
    become(SCHED_FIFO, 90);
    join(raised, 2);
    show("changed from outside");

    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    MUST(-pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
    pthread_mutex_init(&lock, &attributes);
    struct worker inversion[] = {{"low", SCHED_FIFO, 10, holding, 0, 0, {0}}, {"high", SCHED_FIFO, 60, locking, 0, 0, {0}},
                                 {"middle", SCHED_FIFO, 30, when_told, 0, 0, {0}}};
    for (size_t i = 0; i < ARRAY_LEN(inversion); i++)
        start(&inversion[i]);
    // Let all come to where they wait.
    become(SCHED_FIFO, 1);
    become(SCHED_FIFO, 90);
    tell(&inversion[0]);
    tell(&inversion[2]);
    tell(&inversion[1]);
    note("told");
    join(inversion, ARRAY_LEN(inversion));
    show("inheritance");
    return 0;
}
