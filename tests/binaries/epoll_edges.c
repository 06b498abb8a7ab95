// Edge-triggered pipes and counters: which arrivals are told, both edges, ends that close, epoll_pwait2, one event a call in turn.
#include "observe.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

static int instance;

static int control(int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(instance, operation, fd, &event);
}

static void look(const char *what) {
    struct epoll_event events[8];
    int count = epoll_wait(instance, events, 8, 0);
    printf("%s: %d", what, count);
    for (int i = 0; i < count; i++)
        printf(" [%x %llx]", events[i].events, (unsigned long long)events[i].data.u64);
    printf("\n");
}

static char page[4096];

static void pipes(void) {
    int ends[2];
    instance = MUST(epoll_create1(0));
    MUST(pipe2(ends, O_NONBLOCK));
    MUST(control(EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLET, 1));
    MUST(control(EPOLL_CTL_ADD, ends[1], EPOLLOUT | EPOLLET, 2));
    look("new pipe");
    look("again");
    MUST(write(ends[1], "ab", 2));
    look("written");
    look("again");
    MUST(write(ends[1], "cd", 2));
    look("written once more, nothing read");
    MUST(read(ends[0], page, 1));
    look("partly read");
    MUST(read(ends[0], page, 100));
    look("emptied");
    TRY(read(ends[0], page, 1));
    MUST(write(ends[1], "e", 1));
    MUST(write(ends[1], "f", 1));
    look("two writes, one event");
    MUST(read(ends[0], page, 2));

    int pages = 0;
    while (write(ends[1], page, sizeof page) > 0)
        pages++;
    printf("full after %d\n", pages);
    look("filled");
    MUST(read(ends[0], page, 100));
    look("a part of a page read");
    MUST(read(ends[0], page, sizeof page - 100));
    look("a page read");
    MUST(read(ends[0], page, sizeof page));
    look("another page read");
    TRY(control(EPOLL_CTL_MOD, ends[1], EPOLLOUT | EPOLLET, 3));
    look("modified is told anew");
    close(ends[1]);
    look("the writer leaves");
    look("again");
    while (read(ends[0], page, sizeof page) > 0)
        continue;
    look("emptied");
    TRY(control(EPOLL_CTL_MOD, ends[0], EPOLLIN, 4));
    look("by level");
    look("by level");
    close(ends[0]);
    look("all closed");

    MUST(pipe2(ends, O_NONBLOCK));
    MUST(control(EPOLL_CTL_ADD, ends[1], EPOLLET, 5));
    look("no events asked for");
    close(ends[0]);
    look("the reader leaves");
    look("again");
    close(ends[1]);
    close(instance);
}

static void counters(void) {
    uint64_t value = 1;
    int fd = MUST(eventfd(0, EFD_NONBLOCK));
    instance = MUST(epoll_create1(0));
    MUST(control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLET, 1));
    look("new counter");
    MUST(write(fd, &value, 8));
    look("added");
    MUST(write(fd, &value, 8));
    look("added");
    MUST(read(fd, &value, 8));
    look("read");
    TRY(read(fd, &value, 8));
    look("nothing to read");
    value = UINT64_MAX - 1;
    MUST(write(fd, &value, 8));
    look("full");
    MUST(read(fd, &value, 8));
    look("read");
    close(fd);
    close(instance);
}

// Level-triggered files that stay ready take turns.
static void turns(void) {
    int fds[3];
    instance = MUST(epoll_create1(0));
    for (int i = 0; i < 3; i++) {
        fds[i] = MUST(eventfd(1, 0));
        MUST(control(EPOLL_CTL_ADD, fds[i], EPOLLIN, (uint64_t)i));
    }
    printf("turns:");
    for (int i = 0; i < 7; i++) {
        struct epoll_event event;
        MUST(epoll_wait(instance, &event, 1, -1));
        printf(" %llu", (unsigned long long)event.data.u64);
    }
    uint64_t value;
    MUST(read(fds[1], &value, 8));
    printf(", without the second:");
    for (int i = 0; i < 4; i++) {
        struct epoll_event event;
        MUST(epoll_wait(instance, &event, 1, -1));
        printf(" %llu", (unsigned long long)event.data.u64);
    }
    printf("\n");

    struct epoll_event *nowhere = (struct epoll_event *)8, events[4];
    printf("bad address: %ld", syscall(SYS_epoll_wait, instance, nowhere, 4, 0));
    printf(" %s\n", error_name(errno));
    printf("still there: %d\n", epoll_wait(instance, events, 4, 0));
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(instance);
}

static void time_outs(void) {
    enum { EPOLL_PWAIT2 = 441 };
    struct epoll_event event;
    struct timespec zero = {0, 0}, moment = {0, 2000000}, wrong = {0, 1000000000};
    sigset_t mask;
    sigemptyset(&mask);
    instance = MUST(epoll_create1(0));
    TRY(syscall(EPOLL_PWAIT2, instance, &event, 1, &zero, NULL, 0));
    TRY(syscall(EPOLL_PWAIT2, instance, &event, 1, &moment, NULL, 0));
    TRY(syscall(EPOLL_PWAIT2, instance, &event, 1, &wrong, NULL, 0));
    TRY(syscall(EPOLL_PWAIT2, instance, &event, 1, &zero, &mask, 4));
    TRY(syscall(EPOLL_PWAIT2, instance, &event, 1, &zero, &mask, 8));
    TRY(syscall(EPOLL_PWAIT2, instance, &event, 0, &zero, NULL, 0));
    TRY(syscall(EPOLL_PWAIT2, instance, &event, 1, (void *)8, NULL, 0));
    int fd = MUST(eventfd(1, 0));
    MUST(control(EPOLL_CTL_ADD, fd, EPOLLIN, 1));
    TRY(syscall(EPOLL_PWAIT2, instance, &event, 1, NULL, &mask, 8));
    close(fd);
    close(instance);
}

int main(void) {
    pipes();
    counters();
    turns();
    time_outs();
}
