//@ cpus: 1 2 4
// Semaphores, with and without names: counts, time-outs, that no post is lost, posts from handlers.
#include "pthread_observe.h"
#include <semaphore.h>

static sem_t semaphore, free_places, used_places;
static int buffer[8];
static atomic_int put_next, got_next;
static atomic_long sum;

static void *produce(void *argument) {
    for (int i = 1; i <= 1000; i++) {
        while (sem_wait(&free_places) != 0)
            ;
        buffer[put_next++ % 8] = 1;
        sem_post(&used_places);
    }
    return argument;
}

static void *consume(void *argument) {
    for (int i = 1; i <= 1000; i++) {
        struct timespec until = time_after_ms(CLOCK_REALTIME, 2);
        if (i % 3 == 0 && sem_trywait(&used_places) == 0)
            ;
        else if (i % 3 == 1 && sem_timedwait(&used_places, &until) == 0)
            ;
        else
            while (sem_wait(&used_places) != 0)
                ;
        sum += buffer[got_next++ % 8];
        sem_post(&free_places);
    }
    return argument;
}

static void on_signal(int number) {
    (void)number;
    sem_post(&semaphore);
}

static void *wait_for_post(void *argument) {
    // Interrupted by the handler that posts: the wait may say so.
    while (sem_wait(argument) != 0)
        ;
    return NULL;
}

static int count(sem_t *which) {
    int value = -99;
    sem_getvalue(which, &value);
    return value;
}

int main(void) {
    for (int shared = 0; shared < 2; shared++) {
        TRY(sem_init(&semaphore, shared, 2));
        TRY(sem_trywait(&semaphore));
        TRY(sem_wait(&semaphore));
        TRY(sem_trywait(&semaphore));
        struct timespec soon = time_after_ms(CLOCK_REALTIME, 5), past = {1, 0}, bad = {0, 1000000000};
        TRY(sem_timedwait(&semaphore, &soon));
        TRY(sem_timedwait(&semaphore, &past));
        TRY(sem_timedwait(&semaphore, &bad));
        TRY(sem_post(&semaphore));
        TRY(sem_timedwait(&semaphore, &bad));
        printf("value %d\n", count(&semaphore));
        TRY(sem_destroy(&semaphore));
        sem_init(&free_places, shared, 8);
        sem_init(&used_places, shared, 0);
        put_next = got_next = sum = 0;
        pthread_t threads[8];
        for (int i = 0; i < 8; i++)
            threads[i] = start_thread(i % 2 ? produce : consume, NULL);
        for (int i = 0; i < 8; i++)
            join_thread(threads[i]);
        printf("sum %ld, values %d %d\n", sum, count(&free_places), count(&used_places));
    }
    TRY(sem_init(&semaphore, 0, 0x80000000u));
    TRY(sem_init(&semaphore, 0, 0x7fffffff));
    TRY(sem_post(&semaphore));
    sem_init(&semaphore, 0, 0);

    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 100; i++) {
        pthread_t thread = start_thread(wait_for_post, &semaphore);
        if (i % 2)
            sched_yield();
        pthread_kill(thread, SIGUSR1);
        join_thread(thread);
    }
    printf("posted by handlers, left %d\n", count(&semaphore));

    sem_t *named, *same;
    sem_unlink("/observe-pearl");
    named = sem_open("/observe-pearl", 0);
    printf("absent: %s\n", named == SEM_FAILED ? error_name(errno) : "there");
    named = sem_open("/observe-pearl", O_CREAT, 0600, 3);
    printf("new: %s\n", named == SEM_FAILED ? error_name(errno) : "there");
    same = sem_open("/observe-pearl", O_CREAT, 0600, 9);
    printf("the same %d\n", named == same);
    same = sem_open("/observe-pearl", O_CREAT | O_EXCL, 0600, 9);
    printf("exclusively: %s\n", same == SEM_FAILED ? error_name(errno) : "there");
    if (named == SEM_FAILED)
        return 1;
    TRY(sem_wait(named));
    printf("value %d\n", count(named));
    pthread_t thread = start_thread(wait_for_post, named);
    join_thread(thread);
    printf("value %d\n", count(named));
    TRY(sem_unlink("/observe-pearl"));
    TRY(sem_unlink("/observe-pearl"));
    TRY(sem_post(named));
    TRY(sem_close(named));
    TRY(sem_close(named));
    same = sem_open("/a/b", O_CREAT, 0600, 9);
    printf("a path: %s\n", same == SEM_FAILED ? error_name(errno) : "there");
    same = sem_open("/observe-pearl", O_CREAT, 0600, 0x80000000u);
    printf("too much: %s\n", same == SEM_FAILED ? error_name(errno) : "there");
    return 0;
}
