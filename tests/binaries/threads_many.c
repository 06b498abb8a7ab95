//@ run: at-once
//@ run: in-turn
//@ run: generations
//@ cpus: 1 2 4
//@ memory: 256
//@ timeout: 120
// Ten thousand threads at once in 256 MiB, and many more one after the other.
#include "observe.h"
#include <pthread.h>
#include <semaphore.h>

#define AT_ONCE 10000
#define IN_TURN 20000

static pthread_t threads[AT_ONCE];
static sem_t arrived;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static int is_open, passed;

static int count_threads(void) {
    static char text[4096];
    int fd = (int)MUST(open("/proc/self/status", O_RDONLY));
    ssize_t len = MUST(read(fd, text, sizeof text - 1));
    close(fd);
    text[len] = 0;
    char *line = strstr(text, "Threads:");
    return line ? atoi(line + 8) : -1;
}

// How many were removed from the tables may lag behind the end of the last join on Linux.
static int settled_threads(int wanted) {
    int count = 0;
    for (int tries = 0; tries < 10000 && (count = count_threads()) != wanted; tries++)
        usleep(1000);
    return count;
}

static void *wait_at_gate(void *argument) {
    sem_post(&arrived);
    pthread_mutex_lock(&gate);
    while (!is_open)
        pthread_cond_wait(&opened, &gate);
    passed++;
    pthread_mutex_unlock(&gate);
    return argument;
}

static void *nothing(void *argument) {
    return argument;
}

static void start(pthread_t *thread, void *(*function)(void *), void *argument) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 16 << 10);
    int error = pthread_create(thread, &attributes, function, argument);
    if (error) {
        printf("pthread_create: %s\n", error_name(error));
        exit(98);
    }
}

static void at_once(int count) {
    is_open = passed = 0;
    for (long i = 0; i < count; i++)
        start(&threads[i], wait_at_gate, (void *)i);
    for (int i = 0; i < count; i++)
        sem_wait(&arrived);
    printf("%d threads\n", settled_threads(count + 1));
    pthread_mutex_lock(&gate);
    is_open = 1;
    pthread_cond_broadcast(&opened);
    pthread_mutex_unlock(&gate);
    long sum = 0;
    for (int i = 0; i < count; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    printf("%d passed, sum %ld, %d thread left\n", passed, sum, settled_threads(1));
}

static void *descend(void *left) {
    if (left) {
        pthread_t thread;
        start(&thread, descend, (char *)left - 1);
        pthread_join(thread, NULL);
    }
    return NULL;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    sem_init(&arrived, 0, 0);
    if (!strcmp(mode, "at-once")) {
        at_once(1000);
        at_once(AT_ONCE);
        at_once(AT_ONCE);
    } else if (!strcmp(mode, "in-turn")) {
        for (long i = 0; i < IN_TURN; i++) {
            pthread_t thread;
            void *result = NULL;
            start(&thread, nothing, (void *)i);
            pthread_join(thread, &result);
            if (result != (void *)i)
                printf("thread %ld answered %ld\n", i, (long)result);
        }
        printf("%d thread left\n", settled_threads(1));
    } else {
        descend((void *)500);
        printf("%d thread left\n", settled_threads(1));
    }
    return 0;
}
