//@ cpus: 1 2 4
// Several threads in one epoll instance: each event wakes one of them; changes and ends made by other threads.
#include "waiters.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int instance;

static int control(int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(instance, operation, fd, &event);
}

static long wait_one(struct waiter *waiter) {
    struct epoll_event event = {0};
    long result = epoll_wait(waiter->fd, &event, 1, -1);
    waiter->value = event.data.u64;
    return result;
}

static void add_one(int fd) {
    uint64_t one = 1;
    MUST(write(fd, &one, 8));
}

static void edges(void) {
    int fd = MUST(eventfd(0, 0));
    instance = MUST(epoll_create1(0));
    MUST(control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 7));
    start_waiters(4, wait_one, instance);
    printf("nothing: %d\n", settle());
    for (int i = 0; i < 3; i++) {
        add_one(fd);
        printf("edge %d: %d\n", i, settle());
    }
    add_one(fd);
    join_waiters();
    close(fd);
    close(instance);
}

static void one_shot(void) {
    int fd = MUST(eventfd(0, 0));
    instance = MUST(epoll_create1(0));
    MUST(control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, 1));
    start_waiters(3, wait_one, instance);
    add_one(fd);
    printf("one shot: %d\n", settle());
    add_one(fd);
    printf("disabled: %d\n", settle());
    MUST(control(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 2));
    printf("armed again: %d\n", settle());
    MUST(control(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 3));
    settle();
    show_answers("one shot");
    join_waiters();
    close(fd);
    close(instance);
}

// As many events as threads: everyone gets another one.
static void shared_out(void) {
    int fds[4];
    instance = MUST(epoll_create1(0));
    for (int i = 0; i < 4; i++) {
        fds[i] = MUST(eventfd(0, 0));
        MUST(control(EPOLL_CTL_ADD, fds[i], EPOLLIN | EPOLLET, (uint64_t)i));
    }
    start_waiters(4, wait_one, instance);
    for (int i = 0; i < 4; i++)
        add_one(fds[i]);
    settle();
    show_answers("four events");
    join_waiters();
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(instance);
}

// Level triggered and nobody reads: each tells the next.
static void levels(void) {
    int fd = MUST(eventfd(0, 0));
    instance = MUST(epoll_create1(0));
    MUST(control(EPOLL_CTL_ADD, fd, EPOLLIN, 9));
    start_waiters(4, wait_one, instance);
    add_one(fd);
    settle();
    show_answers("level");
    join_waiters();
    close(fd);
    close(instance);
}

static void changes(void) {
    int fd = MUST(eventfd(3, 0)), quiet = MUST(eventfd(0, 0));
    instance = MUST(epoll_create1(0));
    start_waiters(1, wait_one, instance);
    MUST(control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 4));
    settle();
    show_answers("something ready is added");
    join_waiters();

    MUST(control(EPOLL_CTL_ADD, quiet, EPOLLIN, 5));
    start_waiters(1, wait_one, instance);
    MUST(control(EPOLL_CTL_MOD, quiet, EPOLLOUT, 6));
    settle();
    show_answers("other events are asked for");
    join_waiters();
    MUST(control(EPOLL_CTL_MOD, quiet, EPOLLIN, 6));

    start_waiters(1, wait_one, instance);
    MUST(control(EPOLL_CTL_DEL, quiet, 0, 0));
    add_one(quiet);
    printf("deleted: %d\n", settle());
    int copy = MUST(dup(fd));
    close(fd);
    add_one(copy);
    settle();
    show_answers("closed, but open under another number");
    join_waiters();
    start_waiters(1, wait_one, instance);
    close(copy);
    printf("closed everywhere: %d\n", settle());
    MUST(control(EPOLL_CTL_ADD, quiet, EPOLLIN, 8));
    settle();
    show_answers("at last");
    join_waiters();

    // The instance itself is closed while a thread waits for it.
    uint64_t value;
    MUST(read(quiet, &value, 8));
    start_waiters(1, wait_one, instance);
    close(instance);
    printf("closed instance: %d\n", settle());
    add_one(quiet);
    settle();
    show_answers("it lives on for the thread");
    join_waiters();
    close(quiet);
}

static void interrupted(void) {
    int fd = MUST(eventfd(0, 0));
    instance = MUST(epoll_create1(0));
    MUST(control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 1));
    interrupt_waits();
    struct waiter *first = start_waiter(wait_one, instance);
    start_waiters(1, wait_one, instance);
    pthread_kill(first->thread, SIGUSR1);
    settle();
    show_answers("interrupted");
    add_one(fd);
    settle();
    show_answers("the other");
    join_waiters();
    close(fd);
    close(instance);
}

// Workers take tokens of many counters through one instance, while another thread adds and removes items.
enum { COUNTERS = 8, TOKENS = 1500, WORKERS = 4 };
static int counters[COUNTERS], end_fd;
static _Atomic int taken, is_over;

static void *work(void *argument) {
    struct epoll_event events[3];
    while (!is_over) {
        int count = MUST(epoll_wait(instance, events, 3, -1));
        for (int i = 0; i < count; i++) {
            uint64_t value;
            if (events[i].data.u32 < COUNTERS && read(counters[events[i].data.u32], &value, 8) == 8)
                if (atomic_fetch_add(&taken, 1) + 1 == COUNTERS * TOKENS) {
                    is_over = 1;
                    add_one(end_fd);
                }
        }
    }
    return argument;
}

static void *disturb(void *argument) {
    for (int i = 0; !is_over; i = (i + 1) % COUNTERS) {
        MUST(control(EPOLL_CTL_DEL, counters[i], 0, 0));
        int other = MUST(eventfd(1, 0));
        MUST(control(EPOLL_CTL_ADD, other, EPOLLIN | EPOLLET, COUNTERS));
        MUST(control(EPOLL_CTL_ADD, counters[i], EPOLLIN | (i % 2 ? EPOLLET : 0), (uint64_t)i));
        close(other);
        // One token each: edges that are added again are told again.
        MUST(control(EPOLL_CTL_MOD, counters[i], EPOLLIN, (uint64_t)i));
    }
    return argument;
}

static void *give(void *argument) {
    for (int i = 0; i < TOKENS; i++)
        for (int j = 0; j < COUNTERS; j++)
            add_one(counters[j]);
    return argument;
}

static void storm(void) {
    pthread_t workers[WORKERS], giver, disturber;
    instance = MUST(epoll_create1(0));
    end_fd = MUST(eventfd(0, 0));
    MUST(control(EPOLL_CTL_ADD, end_fd, EPOLLIN, COUNTERS + 1));
    for (int i = 0; i < COUNTERS; i++) {
        counters[i] = MUST(eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK));
        MUST(control(EPOLL_CTL_ADD, counters[i], EPOLLIN, (uint64_t)i));
    }
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&workers[i], NULL, work, NULL);
    pthread_create(&giver, NULL, give, NULL);
    pthread_create(&disturber, NULL, disturb, NULL);
    pthread_join(giver, NULL);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    pthread_join(disturber, NULL);
    printf("all tokens: %d\n", taken);
}

int main(void) {
    edges();
    one_shot();
    shared_out();
    levels();
    changes();
    interrupted();
    storm();
}
