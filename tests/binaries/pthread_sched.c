//@ cpus: 1 2 4
// Policies, priorities, affinity, clocks and names of threads.
#include "pthread_observe.h"

static atomic_int stop;

static void show(const char *what, pthread_t thread) {
    int policy = -1;
    struct sched_param param = {.sched_priority = -1};
    int error = pthread_getschedparam(thread, &policy, &param);
    printf("%s: %s policy %d priority %d\n", what, error ? error_name(error) : "0", policy, param.sched_priority);
}

static void *wait_for_end(void *argument) {
    while (!stop)
        pause_ms(1);
    return argument;
}

static void *show_own(void *argument) {
    show(argument, pthread_self());
    return NULL;
}

static void *compute(void *argument) {
    volatile unsigned long number = 0;
    for (int i = 0; i < 3000000; i++)
        number += (unsigned long)i;
    while (!stop)
        pause_ms(1);
    return argument;
}

static void set(const char *what, pthread_t thread, int policy, int priority) {
    struct sched_param param = {.sched_priority = priority};
    int error = pthread_setschedparam(thread, policy, &param);
    printf("set %s: %s\n", what, error ? error_name(error) : "0");
    show(what, thread);
}

int main(void) {
    pthread_t thread = start_thread(wait_for_end, NULL);
    show("new", thread);
    set("fifo", thread, SCHED_FIFO, 5);
    set("round robin", thread, SCHED_RR, 7);
    ANSWER(pthread_setschedprio(thread, 9));
    show("priority", thread);
    ANSWER(pthread_setschedprio(thread, 0));
    ANSWER(pthread_setschedprio(thread, 100));
    set("batch", thread, SCHED_BATCH, 0);
    set("idle", thread, SCHED_IDLE, 0);
    set("other with priority", thread, SCHED_OTHER, 1);
    set("fifo without", thread, SCHED_FIFO, 0);
    set("nonsense", thread, 77, 0);
    set("other", thread, SCHED_OTHER, 0);

    // Asked for at creation.
    pthread_attr_t attr;
    struct sched_param param = {.sched_priority = 4};
    pthread_attr_init(&attr);
    pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
    pthread_attr_setschedparam(&attr, &param);
    pthread_t other;
    MUST(-pthread_create(&other, &attr, show_own, "explicit"));
    join_thread(other);
    param.sched_priority = 1000;
    pthread_attr_setschedparam(&attr, &param);
    ANSWER(pthread_create(&other, &attr, show_own, "impossible"));
    // Inherited from the creator.
    set("main round robin", pthread_self(), SCHED_RR, 2);
    join_thread(start_thread(show_own, "inherited"));
    set("main other", pthread_self(), SCHED_OTHER, 0);

    // Affinity: the first processor is always there.
    cpu_set_t one, got;
    CPU_ZERO(&one);
    ANSWER(pthread_setaffinity_np(thread, sizeof one, &one));
    CPU_SET(0, &one);
    ANSWER(pthread_setaffinity_np(thread, sizeof one, &one));
    ANSWER(pthread_getaffinity_np(thread, sizeof got, &got));
    printf("allowed %d, the first %d\n", CPU_COUNT(&got), CPU_ISSET(0, &got) != 0);
    ANSWER(pthread_setaffinity_np(pthread_self(), sizeof one, &one));
    CHECK(sched_getcpu() == 0);
    other = start_thread(wait_for_end, NULL);
    ANSWER(pthread_getaffinity_np(other, sizeof got, &got));
    printf("inherited %d\n", CPU_COUNT(&got));

    // Clocks: another thread's time passes only while it computes.
    clockid_t clock, own;
    pthread_t busy = start_thread(compute, NULL);
    ANSWER(pthread_getcpuclockid(busy, &clock));
    ANSWER(pthread_getcpuclockid(pthread_self(), &own));
    struct timespec time = {0}, mine = {0}, again = {0};
    do
        MUST(clock_gettime(clock, &time));
    while (time.tv_sec == 0 && time.tv_nsec < 1000000);
    printf("it computes\n");
    MUST(clock_gettime(own, &mine));
    MUST(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &again));
    CHECK(mine.tv_sec < again.tv_sec || (mine.tv_sec == again.tv_sec && mine.tv_nsec <= again.tv_nsec));
    TRY(clock_getres(clock, &time));

    // Names.
    char name[16] = "?";
    ANSWER(pthread_setname_np(thread, "pearl"));
    ANSWER(pthread_getname_np(thread, name, sizeof name));
    printf("name %s\n", name);
    ANSWER(pthread_setname_np(thread, "much too long a name"));
    ANSWER(pthread_setname_np(thread, "fifteen letters"));
    ANSWER(pthread_getname_np(thread, name, sizeof name));
    printf("name %s\n", name);
    ANSWER(pthread_getname_np(thread, name, 3));
    ANSWER(pthread_setname_np(pthread_self(), "first"));
    ANSWER(pthread_getname_np(pthread_self(), name, sizeof name));
    printf("name %s\n", name);
    stop = 1;
    join_thread(thread);
    join_thread(other);
    join_thread(busy);
    return 0;
}
