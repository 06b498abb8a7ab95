//@ cpus: 1 2 4
//@ run: exit
//@ run: _exit
//@ run: return
//@ run: last
//@ run: blocked
//@ run: many
//@ run: last-returns
//@ status: any
// How a process with threads ends: by exit in any thread, by the return of main, by the end of the last thread.
#include "pthread_observe.h"

static atomic_int ready;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void at_exit(void) { printf("at exit\n"); }

static void *spin(void *argument) {
    ready++;
    for (;;)
        if (argument != NULL)
            sched_yield();
    return NULL;
}

static void *wait_for_ever(void *argument) {
    ready++;
    if (argument == NULL)
        for (;;)
            pause();
    pthread_mutex_lock(&held);
    return NULL;
}

static void *leave(void *argument) {
    const char *how = argument;
    await(&ready, 4);
    if (strcmp(how, "exit") == 0)
        exit(7);
    _exit(7);
}

static void *short_life(void *argument) { return argument; }

// The first thread is gone: `exit` by another, or the end of the last one, which is a status of 0.
static void *last(void *argument) {
    const char *how = argument;
    pause_ms(10);
    join_thread(start_thread(short_life, NULL));
    printf("the last one\n");
    if (strcmp(how, "last") == 0)
        exit(7);
    return NULL;
}

static void *leave_at_once(void *argument) {
    (void)argument;
    _exit(7);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    atexit(at_exit);
    printf("%s\n", how);
    if (strncmp(how, "last", 4) == 0) {
        pthread_detach(start_thread(last, (void *)how));
        join_thread(start_thread(short_life, NULL));
        pthread_exit(NULL);
    }
    if (strcmp(how, "many") == 0) {
        // Threads that begin and threads that end meet the end of all.
        for (int i = 0; i < 200; i++)
            start_thread(i == 150 ? leave_at_once : wait_for_ever, NULL);
        for (;;)
            pause();
    }
    pthread_mutex_lock(&held);
    start_thread(spin, NULL);
    start_thread(spin, &held);
    start_thread(wait_for_ever, NULL);
    start_thread(wait_for_ever, &held);
    if (strcmp(how, "return") == 0) {
        await(&ready, 4);
        return 7;
    }
    pthread_t other = start_thread(leave, (void *)how);
    if (strcmp(how, "blocked") == 0)
        pthread_mutex_lock(&held);
    join_thread(other);
    return 1;
}
