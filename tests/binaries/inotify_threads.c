//@ cpus: 1 2 4
// Reading events while other threads make them: nothing is lost, and both kinds of waiting wake up.
#include "inotify.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>

#define THREADS 3
#define FILES 200

static void *make_files(void *argument) {
    char name[32];
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%ld-%d", (long)argument, i);
        MUST(close((int)MUST(open(name, O_CREAT | O_RDWR, 0644))));
        MUST(unlink(name));
    }
    return NULL;
}

static void *add_and_remove(void *argument) {
    int fd = *(int *)argument;
    for (int i = 0; i < FILES; i++) {
        int watch = (int)MUST(inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE));
        MUST(inotify_rm_watch(fd, watch));
    }
    return NULL;
}

int main(void) {
    static char buffer[4096] __attribute__((aligned(8)));
    fresh_dir("/dev/shm");
    int fd = (int)MUST(inotify_init1(0)), other = (int)MUST(inotify_init1(IN_NONBLOCK));
    MUST(inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE));
    int epoll = (int)MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = fd};
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    pthread_t threads[THREADS + 1];
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, make_files, (void *)i);
    pthread_create(&threads[THREADS], NULL, add_and_remove, &other);
    int created = 0, deleted = 0, strange = 0;
    for (int round = 0; created + deleted + strange < 2 * THREADS * FILES; round++) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        if (round % 3 == 0)
            MUST(poll(&waiting, 1, -1));
        // The third kind of waiting is that of the read.
        if (round % 3 == 1)
            MUST(epoll_wait(epoll, &event, 1, 1));
        long len = MUST(read(fd, buffer, sizeof buffer));
        for (char *at = buffer; at < buffer + len;) {
            struct inotify_event *event = (void *)at;
            created += event->mask == IN_CREATE;
            deleted += event->mask == IN_DELETE;
            strange += event->mask != IN_CREATE && event->mask != IN_DELETE;
            at += sizeof *event + event->len;
        }
    }
    for (int i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%d created, %d deleted, %d strange\n", created, deleted, strange);
    return 0;
}
