// epoll: level and edge triggered, one-shot, exclusive, time-outs, closing and duplicating what is watched, errors.
#include "observe.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>

static int instance;

static void show(const char *what, int count, const struct epoll_event *events) {
    printf("%s: %d", what, count);
    for (int i = 0; i < count; i++)
        printf(" [%x %llx]", events[i].events, (unsigned long long)events[i].data.u64);
    printf("%s%s\n", count < 0 ? " " : "", count < 0 ? error_name(errno) : "");
}

static void look(const char *what) {
    struct epoll_event events[8];
    memset(events, 0, sizeof events);
    show(what, epoll_wait(instance, events, 8, 0), events);
}

static int control(int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(instance, operation, fd, &event);
}

static void add_one(int fd) {
    uint64_t one = 1;
    MUST(write(fd, &one, 8));
}

static void drain(int fd) {
    uint64_t value;
    MUST(read(fd, &value, 8));
}

int main(void) {
    struct epoll_event events[8];
    instance = MUST(epoll_create1(EPOLL_CLOEXEC));
    printf("flags %x %x\n", fcntl(instance, F_GETFL), fcntl(instance, F_GETFD));
    look("empty");

    // Level triggered: reported as long as it is so.
    int counter = MUST(eventfd(0, 0));
    TRY(control(EPOLL_CTL_ADD, counter, EPOLLIN, 1));
    look("nothing");
    add_one(counter);
    look("level");
    look("level again");
    drain(counter);
    look("drained");
    TRY(control(EPOLL_CTL_MOD, counter, EPOLLIN | EPOLLOUT, 2));
    look("writable");
    TRY(control(EPOLL_CTL_DEL, counter, 0, 0));
    look("deleted");

    // Edge triggered: reported once for each change.
    TRY(control(EPOLL_CTL_ADD, counter, EPOLLIN | EPOLLET, 3));
    look("edge, nothing");
    add_one(counter);
    look("edge");
    look("edge, no change");
    add_one(counter);
    look("edge, changed");
    drain(counter);
    look("edge, drained");
    add_one(counter);
    drain(counter);
    look("edge, come and gone");
    add_one(counter);
    TRY(control(EPOLL_CTL_MOD, counter, EPOLLIN | EPOLLET, 4));
    look("edge, set anew");
    look("edge, no change");

    // One shot: silent until it is set anew.
    TRY(control(EPOLL_CTL_MOD, counter, EPOLLIN | EPOLLONESHOT, 5));
    look("one shot");
    look("one shot, fired");
    add_one(counter);
    look("one shot, fired");
    TRY(control(EPOLL_CTL_MOD, counter, EPOLLIN | EPOLLONESHOT, 6));
    look("one shot, anew");
    drain(counter);
    TRY(control(EPOLL_CTL_DEL, counter, 0, 0));

    // Exclusive.
    TRY(control(EPOLL_CTL_ADD, counter, EPOLLIN | EPOLLEXCLUSIVE, 7));
    add_one(counter);
    look("exclusive");
    look("exclusive");
    drain(counter);
    add_one(counter);
    look("exclusive");
    TRY(control(EPOLL_CTL_MOD, counter, EPOLLIN, 7));
    TRY(control(EPOLL_CTL_MOD, counter, EPOLLIN | EPOLLEXCLUSIVE, 7));
    TRY(control(EPOLL_CTL_DEL, counter, 0, 0));
    TRY(control(EPOLL_CTL_ADD, counter, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 7));
    TRY(control(EPOLL_CTL_ADD, counter, EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP, 7));
    TRY(control(EPOLL_CTL_ADD, counter, EPOLLIN | EPOLLEXCLUSIVE | EPOLLET, 7));
    TRY(control(EPOLL_CTL_DEL, counter, 0, 0));
    drain(counter);

    // Several at once, fewer than there are, in turn.
    int many[5];
    for (int i = 0; i < 5; i++) {
        many[i] = MUST(eventfd(1, 0));
        MUST(control(EPOLL_CTL_ADD, many[i], EPOLLIN, 0x10 + i));
    }
    for (int i = 0; i < 4; i++) {
        int count = epoll_wait(instance, events, 2, -1);
        show("two of five", count, events);
    }
    drain(many[1]);
    drain(many[3]);
    look("three of five");
    add_one(many[3]);
    // A timer becomes ready while the program waits.
    for (int i = 0; i < 5; i++)
        MUST(control(EPOLL_CTL_DEL, many[i], 0, 0));
    int timer = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
    struct itimerspec soon = {{0, 0}, {0, 20000000}};
    MUST(control(EPOLL_CTL_ADD, timer, EPOLLIN | EPOLLET, 0x20));
    MUST(timerfd_settime(timer, 0, &soon, NULL));
    show("timer", epoll_wait(instance, events, 8, -1), events);
    look("timer, told");
    MUST(timerfd_settime(timer, 0, &soon, NULL));
    show("timer", epoll_wait(instance, events, 8, 100000), events);
    show("nothing", epoll_wait(instance, events, 8, 20), events);
    struct timespec moment = {0, 20000000}, bad = {0, 1000000000}, zero = {0, 0};
    TRY(syscall(SYS_epoll_pwait2, instance, events, 8, &moment, NULL, 0));
    TRY(syscall(SYS_epoll_pwait2, instance, events, 8, &zero, NULL, 0));
    TRY(syscall(SYS_epoll_pwait2, instance, events, 8, &bad, NULL, 0));
    MUST(timerfd_settime(timer, 0, &soon, NULL));
    TRY(syscall(SYS_epoll_pwait2, instance, events, 8, NULL, NULL, 0));
    MUST(control(EPOLL_CTL_DEL, timer, 0, 0));

    // Pipes: hang-ups come unasked.
    int p[2];
    MUST(pipe(p));
    MUST(control(EPOLL_CTL_ADD, p[0], EPOLLIN, 0x30));
    MUST(control(EPOLL_CTL_ADD, p[1], EPOLLOUT, 0x31));
    look("pipe");
    MUST(write(p[1], "x", 1));
    MUST(control(EPOLL_CTL_MOD, p[1], 0, 0x31));
    look("pipe with a byte");
    MUST(close(p[1]));
    look("pipe without writer");
    char byte;
    MUST(read(p[0], &byte, 1));
    look("empty pipe without writer");
    MUST(close(p[0]));
    look("closed");
    MUST(pipe(p));
    MUST(control(EPOLL_CTL_ADD, p[1], 0, 0x32));
    look("nothing wanted");
    MUST(close(p[0]));
    look("no reader");
    MUST(close(p[1]));
    look("closed");

    // What is watched is the open file: a duplicate keeps it, under the old number.
    add_one(counter);
    MUST(control(EPOLL_CTL_ADD, counter, EPOLLIN, 0x40));
    int other = MUST(dup(counter));
    TRY(control(EPOLL_CTL_ADD, counter, EPOLLIN, 0x41));
    TRY(control(EPOLL_CTL_ADD, other, EPOLLIN, 0x42));
    look("twice");
    MUST(close(counter));
    look("one number closed");
    TRY(control(EPOLL_CTL_DEL, counter, 0, 0));
    MUST(close(other));
    look("both closed");
    counter = MUST(eventfd(1, 0));
    TRY(control(EPOLL_CTL_ADD, counter, EPOLLIN, 0x43));
    look("the number again");
    int replaced = MUST(eventfd(0, 0));
    MUST(dup2(replaced, counter));
    look("replaced");
    TRY(control(EPOLL_CTL_DEL, counter, 0, 0));

    // Errors.
    TRY(epoll_create(0));
    TRY(epoll_create(-1));
    TRY(epoll_create1(1));
    MUST(epoll_create(1));
    TRY(control(EPOLL_CTL_ADD, 99, EPOLLIN, 0));
    TRY(control(EPOLL_CTL_ADD, instance, EPOLLIN, 0));
    TRY(control(4, counter, EPOLLIN, 0));
    TRY(control(EPOLL_CTL_MOD, counter, EPOLLIN, 0));
    int file = MUST(open("/proc/self/exe", O_RDONLY)), null = MUST(open("/dev/null", O_RDONLY));
    TRY(control(EPOLL_CTL_ADD, file, EPOLLIN, 0));
    TRY(control(EPOLL_CTL_ADD, null, EPOLLIN, 0));
    TRY(epoll_ctl(instance, EPOLL_CTL_ADD, counter, (void *)16));
    TRY(epoll_ctl(counter, EPOLL_CTL_ADD, instance, events));
    TRY(epoll_ctl(99, EPOLL_CTL_ADD, counter, events));
    TRY(syscall(SYS_epoll_wait, instance, events, 0, 0));
    TRY(syscall(SYS_epoll_wait, instance, events, -1, 0));
    TRY(syscall(SYS_epoll_wait, instance, events, 0x10000000, 0));
    TRY(syscall(SYS_epoll_wait, counter, events, 8, 0));
    TRY(syscall(SYS_epoll_wait, 99, events, 8, 0));
    add_one(replaced);
    MUST(control(EPOLL_CTL_ADD, replaced, EPOLLIN | EPOLLET, 0x50));
    TRY(syscall(SYS_epoll_wait, instance, 16, 8, 0));
    look("given back");
    TRY(read(instance, events, 8));
    TRY(write(instance, events, 8));
    return 0;
}
