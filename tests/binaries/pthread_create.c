//@ cpus: 1 2 4
//@ static-pie
// Creation and end of threads: results, joins of every kind, detaching, thousands one after the other.
#include "pthread_observe.h"

static pthread_t main_thread;
static atomic_int ran;

static void *give_back(void *argument) { return argument; }

static void *leave(void *argument) {
    pthread_exit((char *)argument + 1);
}

static void *compare(void *argument) {
    (void)argument;
    CHECK(!pthread_equal(pthread_self(), main_thread));
    CHECK(pthread_equal(pthread_self(), pthread_self()));
    CHECK(getpid() != (int)syscall(SYS_gettid));
    return NULL;
}

static void *join_other(void *argument) { return join_thread((pthread_t)argument); }

static atomic_int may_end;

static void *wait_for_word(void *argument) {
    while (!may_end)
        pause_ms(1);
    return argument;
}

static void *count(void *argument) {
    (void)argument;
    ran++;
    return NULL;
}

static void *nested(void *argument) {
    long depth = (long)argument;
    if (depth == 0)
        return (void *)1;
    return (char *)join_thread(start_thread(nested, (void *)(depth - 1))) + 1;
}

static void *fill_stack(void *argument) {
    volatile char block[60000];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(long)argument;
    sched_yield();
    for (size_t i = 0; i < sizeof block; i++)
        if (block[i] != (char)(long)argument)
            return (void *)1;
    return NULL;
}

static void *see_variable(void *argument) {
    static _Thread_local int mine = 5;
    static _Thread_local char zeroes[3000];
    mine += (int)(long)argument;
    zeroes[2999]++;
    sched_yield();
    return (void *)(long)(mine * 10 + zeroes[2999] + zeroes[0]);
}

int main(void) {
    main_thread = pthread_self();
    CHECK(getpid() == (int)syscall(SYS_gettid));
    printf("result %ld\n", (long)join_thread(start_thread(give_back, (void *)42)));
    printf("exit result %ld\n", (long)join_thread(start_thread(leave, (void *)42)));
    join_thread(start_thread(compare, NULL));
    pthread_t first = start_thread(give_back, (void *)7);
    printf("joined by another %ld\n", (long)join_thread(start_thread(join_other, (void *)first)));

    void *result = NULL;
    pthread_t waiter = start_thread(wait_for_word, (void *)9);
    ANSWER(pthread_tryjoin_np(waiter, &result));
    struct timespec soon = time_after_ms(CLOCK_REALTIME, 5), never = {-1, 0}, bad = {0, 1000000000};
    ANSWER(pthread_timedjoin_np(waiter, &result, &soon));
    ANSWER(pthread_timedjoin_np(waiter, &result, &never));
    ANSWER(pthread_timedjoin_np(waiter, &result, &bad));
    may_end = 1;
    soon = time_after_ms(CLOCK_REALTIME, 100000);
    ANSWER(pthread_timedjoin_np(waiter, &result, &soon));
    printf("result %ld\n", (long)result);
    waiter = start_thread(wait_for_word, (void *)10);
    int error;
    while ((error = pthread_tryjoin_np(waiter, &result)) == EBUSY)
        pause_ms(1);
    printf("tryjoin %d result %ld\n", error, (long)result);

    // Detached at birth, by itself and by others, before and after their end.
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        MUST(-pthread_create(&thread, &attr, count, NULL));
    }
    for (int i = 0; i < 50; i++)
        if (pthread_detach(start_thread(count, NULL)) != 0)
            printf("detach failed\n");
    await(&ran, 100);
    pthread_attr_destroy(&attr);
    printf("detached ran: %d\n", ran);

    for (int i = 0; i < 3000; i++)
        join_thread(start_thread(count, NULL));
    printf("one by one: %d\n", ran);
    printf("nested %ld\n", (long)join_thread(start_thread(nested, (void *)20)));

    pthread_t threads[100];
    long sum = 0;
    for (long i = 0; i < 100; i++)
        threads[i] = start_thread(fill_stack, (void *)i);
    for (int i = 0; i < 100; i++)
        sum += (long)join_thread(threads[i]);
    printf("damaged stacks %ld\n", sum);
    for (long i = 0; i < 100; i++)
        threads[i] = start_thread(see_variable, (void *)i);
    for (int i = 99; i >= 0; i--)
        sum += (long)join_thread(threads[i]);
    printf("thread variables %ld\n", sum);

    printf("concurrency %d\n", pthread_getconcurrency());
    ANSWER(pthread_setconcurrency(0));
    ANSWER(pthread_setconcurrency(4));
    ANSWER(pthread_setconcurrency(-1));
    ANSWER(pthread_atfork(NULL, NULL, NULL));
    return 0;
}
