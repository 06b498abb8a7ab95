//@ cpus: 1 2 4
// EPOLLEXCLUSIVE: one event wakes one of several instances, and one that somebody waits for.
#include "waiters.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int control(int instance, int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(instance, operation, fd, &event);
}

static long wait_one(struct waiter *waiter) {
    struct epoll_event event = {0};
    long result = epoll_wait(waiter->fd, &event, 1, -1);
    waiter->value = event.data.u64;
    return result;
}

static int look(int instance) {
    struct epoll_event event;
    return epoll_wait(instance, &event, 1, 0);
}

static void add_one(int fd) {
    uint64_t one = 1;
    MUST(write(fd, &one, 8));
}

int main(void) {
    int fd = MUST(eventfd(0, 0)), instances[4];
    for (int i = 0; i < 4; i++)
        instances[i] = MUST(epoll_create1(0));
    for (int i = 0; i < 3; i++)
        MUST(control(instances[i], EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE, 1));

    for (int i = 0; i < 3; i++)
        start_waiters(1, wait_one, instances[i]);
    add_one(fd);
    printf("one event, three instances: %d\n", settle());
    add_one(fd);
    printf("another event: %d\n", settle());
    add_one(fd);
    printf("the third: %d\n", settle());
    join_waiters();

    // An instance that nobody waits for does not keep the event from the others.
    for (int i = 0; i < 3; i++)
        look(instances[i]);
    start_waiters(1, wait_one, instances[2]);
    add_one(fd);
    printf("nobody waits for two of them: %d\n", settle());
    join_waiters();
    for (int i = 0; i < 3; i++)
        look(instances[i]);
    start_waiters(1, wait_one, instances[0]);
    add_one(fd);
    printf("nor for the others: %d\n", settle());
    join_waiters();
    for (int i = 0; i < 3; i++)
        look(instances[i]);

    // An item that is not exclusive is told in any case.
    MUST(control(instances[3], EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 3));
    look(instances[3]);
    for (int i = 0; i < 4; i++)
        start_waiters(1, wait_one, instances[i]);
    add_one(fd);
    printf("with one that is not exclusive: %d\n", settle());
    show_answers("of these");
    add_one(fd);
    settle();
    add_one(fd);
    join_waiters();

    // Two threads in each of two instances: one of the four.
    for (int i = 0; i < 3; i++)
        look(instances[i]);
    look(instances[3]);
    MUST(control(instances[3], EPOLL_CTL_DEL, fd, 0, 0));
    for (int i = 0; i < 4; i++)
        start_waiters(1, wait_one, instances[i % 2]);
    for (int i = 0; i < 4; i++) {
        add_one(fd);
        printf("event %d for two by two: %d\n", i, settle());
    }
    join_waiters();

    TRY(control(instances[0], EPOLL_CTL_MOD, fd, EPOLLIN, 0));
    TRY(control(instances[3], EPOLL_CTL_ADD, fd, EPOLLIN, 0));
    TRY(control(instances[3], EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLEXCLUSIVE, 0));
    TRY(control(instances[3], EPOLL_CTL_DEL, fd, EPOLLEXCLUSIVE, 0));
    TRY(control(instances[3], EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT | EPOLLEXCLUSIVE, 0));
    TRY(control(instances[3], EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | EPOLLEXCLUSIVE, 0));
    TRY(control(instances[3], EPOLL_CTL_ADD, instances[0], EPOLLIN | EPOLLEXCLUSIVE, 0));
    TRY(control(instances[3], EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLEXCLUSIVE, 0));
    TRY(control(instances[3], EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE, 0));
}
