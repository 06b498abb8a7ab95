//@ cpus: 1 2 4
// Restartable sequences: registration, the numbers the kernel tells, and critical sections ended by signals, preemption and
// migration.
#include "sequence.h"
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <ucontext.h>

#define CPUS_MAX 1024

static unsigned here(void) {
    unsigned cpu;
    syscall(SYS_getcpu, &cpu, NULL, NULL);
    return cpu;
}

static void registering(void) {
    static char many[256] __attribute__((aligned(64)));
    TRY(getauxval(27) >= 28);
    TRY(getauxval(28) == 32);
    TRY(rseq(NULL, 32, 1, SIGNATURE));
    TRY(rseq(&area, 32, 1, SIGNATURE));
    TRY(rseq(&area, 32, 2, SIGNATURE));
    TRY(rseq(&area, 32, 3, SIGNATURE));
    TRY(rseq(&area, 31, 0, SIGNATURE));
    TRY(rseq(&area, 28, 0, SIGNATURE));
    TRY(rseq(&area, 0, 0, SIGNATURE));
    TRY(rseq(many + 16, 32, 0, SIGNATURE));
    TRY(rseq(many + 4, 64, 0, SIGNATURE));
    TRY(rseq((void *)-4096, 32, 0, SIGNATURE));
    area.cpu_id = -2;
    TRY(rseq(&area, 32, 0, SIGNATURE));
    CHECK(area.cpu_id < CPUS_MAX && area.cpu_id_start < CPUS_MAX);
    CHECK(area.cpu_id == area.cpu_id_start);
    CHECK(area.section == 0 && area.flags == 0);
    TRY(rseq(&area, 32, 0, SIGNATURE));
    TRY(rseq(&area, 32, 0, SIGNATURE + 1));
    TRY(rseq(&area, 64, 0, SIGNATURE));
    TRY(rseq(many, 32, 0, SIGNATURE));
    TRY(rseq(&area, 32, 2, SIGNATURE));
    TRY(rseq(&area, 64, 1, SIGNATURE));
    TRY(rseq(many, 32, 1, SIGNATURE));
    TRY(rseq(&area, 32, 1, SIGNATURE + 1));
    TRY(rseq(&area, 32, 1, SIGNATURE));
    CHECK(area.cpu_id == (uint32_t)-1 && area.cpu_id_start == 0 && area.node_id == 0 && area.mm_cid == 0);
    TRY(rseq(&area, 32, 1, SIGNATURE));
    puts("-- longer ones");
    TRY(rseq(many, 64, 0, 0));
    TRY(rseq(many, 64, 1, 1));
    TRY(rseq(many, 64, 1, 0));
    TRY(rseq(many + 32, 33, 0, 0));
    TRY(rseq(many + 32, 33, 1, 0));
    // Memory that goes away or turns read-only while registered is no matter for a program: the next preemption kills it.
}

static void numbers(void) {
    cpu_set_t all, one;
    int right = 1;
    MUST(sched_getaffinity(0, sizeof all, &all));
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        MUST(sched_setaffinity(0, sizeof one, &one));
        right = right && area.cpu_id == (unsigned)cpu && area.cpu_id_start == (unsigned)cpu && here() == (unsigned)cpu;
    }
    MUST(sched_setaffinity(0, sizeof all, &all));
    CHECK(right);
    CHECK(area.mm_cid < CPUS_MAX);
}

static volatile int handled, handler_was_right;

static void on_signal(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    uint64_t rip = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    struct rseq_section *section = description;
    handler_was_right = section && rip - section->start >= section->length && area.section == 0;
    if (number == SIGILL)
        handler_was_right = handler_was_right && rip == section->abort;
    handled++;
}

static void signals(void) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    int aborts = 0, faults = 0;
    while (!handled) {
        faults++;
        aborts += fault_in_section();
    }
    CHECK(handled == 1 && handler_was_right && aborts == faults);
    CHECK(area.section == 0);

    handled = 0;
    alarm(1);
    volatile int inside = 0;
    while (!handled)
        aborts += spin_in_section(&inside);
    CHECK(handled == 1 && handler_was_right && inside && aborts > 1);

    // A section that the program has left stays noted until somebody looks.
    static volatile long counters[CPUS_MAX];
    while (add_on_cpu(counters))
        ;
    handled = 0;
    raise(SIGALRM);
    CHECK(handled == 1 && area.section == 0);
    long sum = 0;
    for (int i = 0; i < CPUS_MAX; i++)
        sum += counters[i];
    CHECK(sum == 1);
}

static volatile int over;

static void *busy(void *unused) {
    while (!over)
        ;
    return unused;
}

// Two threads on one CPU: the scheduler ends the section.
static void preemption(void) {
    cpu_set_t all, one;
    MUST(sched_getaffinity(0, sizeof all, &all));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    MUST(sched_setaffinity(0, sizeof one, &one));
    pthread_t thread;
    pthread_create(&thread, NULL, busy, NULL);
    volatile int inside = 0;
    int aborts = 0;
    while (aborts < 3)
        aborts += spin_in_section(&inside);
    over = 1;
    pthread_join(thread, NULL);
    MUST(sched_setaffinity(0, sizeof all, &all));
    CHECK(aborts == 3);
}

#define THREADS 6
#define TIMES 50000

static volatile long counters[CPUS_MAX];
static volatile int unregistered = 1;

static void *adding(void *unused) {
    // A thread begins without.
    if (rseq(&area, 32, 1, SIGNATURE) != -1 || errno != EINVAL)
        unregistered = 0;
    MUST(rseq(&area, 32, 0, SIGNATURE));
    for (int i = 0; i < TIMES; i++) {
        while (add_on_cpu(counters))
            ;
        if (i % 1000 == 0)
            sched_yield();
    }
    return unused;
}

static void counting(void) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, adding, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    long sum = 0;
    for (int i = 0; i < CPUS_MAX; i++)
        sum += counters[i];
    CHECK(unregistered);
    CHECK(sum == (long)THREADS * TIMES);
}

int main(void) {
    registering();
    puts("-- numbers");
    MUST(rseq(&area, 32, 0, SIGNATURE));
    numbers();
    puts("-- signals");
    signals();
    puts("-- preemption");
    preemption();
    puts("-- counting");
    counting();
    puts("-- what was left over");
    MUST(rseq(&area, 32, 1, SIGNATURE));
    area.section = 12345;
    TRY(rseq(&area, 32, 0, SIGNATURE));
    sched_yield();
    CHECK(area.section == 0);
    return 0;
}
