//@ cpus: 1 2 4
//@ run: segv
//@ run: ill
//@ run: kill
//@ run: abort
//@ run: to-thread
//@ status: any
// A deadly signal in one thread ends all of them.
#include "pthread_observe.h"

static atomic_int ready;

static void *spin(void *argument) {
    ready++;
    for (;;)
        if (argument != NULL)
            pause();
    return NULL;
}

static void *die(void *argument) {
    const char *how = argument;
    await(&ready, 3);
    if (strcmp(how, "segv") == 0)
        __asm__ volatile("movb $1, 8" ::: "memory");
    if (strcmp(how, "ill") == 0)
        __asm__ volatile("ud2");
    if (strcmp(how, "kill") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(how, "abort") == 0)
        abort();
    return NULL;
}

int main(int argc, char **argv) {
    (void)argc;
    printf("%s\n", argv[1]);
    start_thread(spin, NULL);
    pthread_t sleeper = start_thread(spin, &ready);
    start_thread(spin, &ready);
    if (strcmp(argv[1], "to-thread") == 0) {
        await(&ready, 3);
        pthread_kill(sleeper, SIGTERM);
    }
    join_thread(start_thread(die, argv[1]));
    for (;;)
        pause();
}
