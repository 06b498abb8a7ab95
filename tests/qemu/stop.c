// Stops itself, with threads that run, sleep and wait; somebody outside continues it.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int ends[2];
static volatile int is_over, continued;
static volatile unsigned long turns;

static void on_continue(int signal) {
    (void)signal;
    continued++;
}

static void *run(void *argument) {
    while (!is_over)
        turns++;
    return argument;
}

// Neither is interrupted by a stop: no handler runs in these threads.
static void *sleep_on(void *argument) {
    struct timespec time = {0, 300000000};
    *(int *)argument = clock_nanosleep(CLOCK_MONOTONIC, 0, &time, 0);
    return 0;
}

static void *read_on(void *argument) {
    char byte;
    *(int *)argument = (int)read(ends[0], &byte, 1);
    return 0;
}

int main(void) {
    pthread_t threads[3];
    sigset_t set;
    int slept = -1, got = -1;
    struct sigaction action = {.sa_handler = on_continue, .sa_flags = SA_RESTART};

    if (pipe(ends))
        return 1;
    sigaction(SIGCONT, &action, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGCONT);
    pthread_sigmask(SIG_BLOCK, &set, 0);
    pthread_create(&threads[0], 0, run, 0);
    pthread_create(&threads[1], 0, sleep_on, &slept);
    pthread_create(&threads[2], 0, read_on, &got);
    puts("ready");
    fflush(stdout);
    kill(getpid(), SIGSTOP);
    puts("goes on");
    pthread_sigmask(SIG_UNBLOCK, &set, 0);
    printf("told so: %d\n", continued > 0);
    if (write(ends[1], "x", 1) != 1)
        return 1;
    is_over = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], 0);
    printf("slept: %d, read: %d, ran: %d\n", slept, got, turns > 0);
    return 0;
}
