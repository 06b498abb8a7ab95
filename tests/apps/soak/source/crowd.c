// Many threads, all alive at the same time.
//
// usage: crowd THREADS
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_barrier_t all;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go = PTHREAD_COND_INITIALIZER;
static int may_go;
static atomic_int alive, largest;
static atomic_long sum;
static _Thread_local long mine;

static void *live(void *argument) {
    mine = (long)argument;
    int now = ++alive, seen = largest;
    while (seen < now && !atomic_compare_exchange_weak(&largest, &seen, now))
        ;
    pthread_barrier_wait(&all);
    pthread_mutex_lock(&mutex);
    while (!may_go)
        pthread_cond_wait(&go, &mutex);
    pthread_mutex_unlock(&mutex);
    sum += mine;
    alive--;
    return argument;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 10000;
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 16384);
    pthread_barrier_init(&all, NULL, (unsigned)count + 1);
    for (int i = 0; i < count; i++) {
        int error = pthread_create(&threads[i], &attr, live, (void *)(long)i);
        if (error != 0) {
            printf("thread %d: %s\n", i, strerror(error));
            return 1;
        }
    }
    pthread_barrier_wait(&all);
    printf("alive %d, largest %d\n", alive, largest);
    pthread_mutex_lock(&mutex);
    may_go = 1;
    pthread_cond_broadcast(&go);
    pthread_mutex_unlock(&mutex);
    long joined = 0;
    for (int i = 0; i < count; i++) {
        void *result;
        pthread_join(threads[i], &result);
        joined += (long)result;
    }
    printf("sum %ld, joined %ld, alive %d\n", sum, joined, alive);
    free(threads);
    return 0;
}
