//@ cpus: 1 2 4
// Signals and threads: masks of each, signals for one thread and for the process, values, waiting threads.
#include "pthread_observe.h"
#include <semaphore.h>

#define THREADS 6

static pthread_barrier_t gate;
static atomic_int handled[THREADS], wrong, stop, ready, order_next;
static atomic_int last_code, last_value;
static _Thread_local int my_number = -1;
static sem_t done;

static void note(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    last_code = info->si_code;
    last_value = info->si_value.sival_int;
    if (my_number < 0 || my_number >= THREADS)
        wrong++;
    else
        handled[my_number]++;
    sem_post(&done);
}

static void *run_until_stopped(void *argument) {
    my_number = (int)(long)argument;
    volatile unsigned long spins = 0;
    ready++;
    while (!stop) {
        if (my_number % 2)
            pause_ms(1);
        else if (++spins % 1024 == 0)
            sched_yield();
    }
    return NULL;
}

static void *block_and_look(void *argument) {
    sigset_t set, old, pending;
    (void)argument;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    ANSWER(pthread_sigmask(SIG_BLOCK, &set, &old));
    printf("old %d\n", sigismember(&old, SIGUSR1));
    ANSWER(pthread_kill(pthread_self(), SIGUSR1));
    sigpending(&pending);
    printf("pending %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGRTMIN));
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    int number = 0;
    ANSWER(sigwait(&set, &number));
    printf("waited for %d\n", number);
    ANSWER(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
    ANSWER(pthread_sigmask(99, &set, NULL));
    ANSWER(pthread_sigmask(99, NULL, &old));
    printf("now %d\n", sigismember(&old, SIGUSR1));
    return NULL;
}

static void *take_queued(void *argument) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    siginfo_t info;
    long sum = 0;
    for (int i = 0; i < 100; i++) {
        if (sigwaitinfo(&set, &info) != SIGRTMIN + 1)
            wrong++;
        sum += info.si_value.sival_int;
        // One at a time takes them in order.
        if (argument == NULL && info.si_value.sival_int != order_next++)
            wrong++;
    }
    return (void *)sum;
}

static int queue_to_thread(int tid, int number, int value) {
    siginfo_t info = {0};
    info.si_signo = number;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_value.sival_int = value;
    return (int)syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, number, &info);
}

static atomic_int tid_of_waiter;
static void *wait_with_tid(void *argument) {
    my_number = 0;
    tid_of_waiter = (int)syscall(SYS_gettid);
    while (!stop)
        pause_ms(1);
    return argument;
}

static void *inherit(void *argument) {
    sigset_t mask, pending;
    (void)argument;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    sigpending(&pending);
    printf("inherited mask %d %d, pending %d\n", sigismember(&mask, SIGUSR2), sigismember(&mask, SIGUSR1),
           sigismember(&pending, SIGUSR2));
    return NULL;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGRTMIN, &action, NULL);
    sem_init(&done, 0, 0);
    pthread_barrier_init(&gate, NULL, 2);

    // Each thread handles its own.
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        threads[i] = start_thread(run_until_stopped, (void *)i);
    await(&ready, THREADS);
    for (int round = 0; round < 50; round++)
        for (int i = 0; i < THREADS; i++) {
            if (pthread_kill(threads[i], SIGUSR1) != 0)
                wrong++;
            while (sem_wait(&done) != 0)
                ;
        }
    for (int i = 0; i < THREADS; i++)
        printf("thread %d handled %d\n", i, handled[i]);
    printf("wrong %d, code %d\n", wrong, last_code);
    ANSWER(pthread_kill(threads[0], 0));
    ANSWER(pthread_kill(threads[0], 65));
    ANSWER(pthread_kill(threads[0], -1));
    // For the process: somebody who does not block it takes it, once.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 100; i++) {
        kill(getpid(), SIGUSR1);
        while (sem_wait(&done) != 0)
            ;
    }
    int sum = 0;
    for (int i = 0; i < THREADS; i++)
        sum += handled[i];
    printf("handled in all %d, wrong %d\n", sum, wrong);
    union sigval value = {.sival_int = 77};
    TRY(sigqueue(getpid(), SIGRTMIN, value));
    while (sem_wait(&done) != 0)
        ;
    printf("code %d value %d\n", last_code, last_value);
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        join_thread(threads[i]);

    // Blocked ones stay with the thread they were sent to.
    pthread_t thread = start_thread(block_and_look, NULL);
    pthread_barrier_wait(&gate);
    sigset_t pending;
    sigpending(&pending);
    printf("mine pending %d\n", sigismember(&pending, SIGUSR1));
    pthread_barrier_wait(&gate);
    join_thread(thread);

    // Queued for the process: none is lost, one reader has them in order.
    thread = start_thread(take_queued, NULL);
    for (int i = 0; i < 100; i++) {
        value.sival_int = i;
        MUST(sigqueue(getpid(), SIGRTMIN + 1, value));
    }
    printf("sum %ld, wrong %d\n", (long)join_thread(thread), wrong);
    for (int i = 0; i < 4; i++)
        threads[i] = start_thread(take_queued, (void *)1);
    for (int i = 0; i < 400; i++) {
        value.sival_int = i;
        MUST(sigqueue(getpid(), SIGRTMIN + 1, value));
    }
    long all = 0;
    for (int i = 0; i < 4; i++)
        all += (long)join_thread(threads[i]);
    printf("sum %ld, wrong %d\n", all, wrong);

    // Queued for one thread.
    stop = 0;
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    thread = start_thread(wait_with_tid, NULL);
    while (tid_of_waiter == 0)
        pause_ms(1);
    TRY(queue_to_thread(tid_of_waiter, SIGRTMIN, 5));
    while (sem_wait(&done) != 0)
        ;
    printf("code %d value %d, wrong %d\n", last_code, last_value, wrong);
    TRY(queue_to_thread(tid_of_waiter, 65, 5));
    stop = 1;
    join_thread(thread);

    // Masks are inherited, pending signals of a thread are not.
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    pthread_kill(pthread_self(), SIGUSR2);
    join_thread(start_thread(inherit, NULL));
    int number = 0;
    sigwait(&set, &number);
    printf("mine %d\n", number);
    return 0;
}
