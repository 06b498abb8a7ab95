// epoll instances that watch each other: events pass through, circles and towers are refused.
#include "observe.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int control(int instance, int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(instance, operation, fd, &event);
}

static void look(const char *what, int instance) {
    struct epoll_event events[8];
    memset(events, 0, sizeof events);
    int count = epoll_wait(instance, events, 8, 0);
    struct pollfd set = {instance, POLLIN | POLLOUT, 0};
    printf("%s: %d", what, count);
    for (int i = 0; i < count; i++)
        printf(" [%x %llx]", events[i].events, (unsigned long long)events[i].data.u64);
    poll(&set, 1, 0);
    printf(" poll %x\n", set.revents);
}

int main(void) {
    int inner = MUST(epoll_create1(0)), outer = MUST(epoll_create1(0)), counter = MUST(eventfd(0, 0));
    uint64_t value = 1;
    TRY(control(inner, EPOLL_CTL_ADD, counter, EPOLLIN, 1));
    TRY(control(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 2));
    look("quiet inner", inner);
    look("quiet outer", outer);
    MUST(write(counter, &value, 8));
    look("outer", outer);
    look("outer", outer);
    look("inner", inner);
    MUST(read(counter, &value, 8));
    look("drained outer", outer);
    look("drained inner", inner);
    // Edge triggered outside.
    TRY(control(outer, EPOLL_CTL_MOD, inner, EPOLLIN | EPOLLET, 3));
    MUST(write(counter, &value, 8));
    look("edge", outer);
    look("edge, told", outer);
    MUST(write(counter, &value, 8));
    look("edge, changed", outer);
    // Ready before it is watched.
    int third = MUST(epoll_create1(0));
    TRY(control(third, EPOLL_CTL_ADD, inner, EPOLLIN, 4));
    look("third", third);
    // Waiting outside.
    struct epoll_event event;
    TRY(epoll_wait(third, &event, 1, -1));
    TRY(control(third, EPOLL_CTL_ADD, inner, EPOLLIN | EPOLLEXCLUSIVE, 4));
    // Circles.
    TRY(control(inner, EPOLL_CTL_ADD, inner, EPOLLIN, 0));
    TRY(control(inner, EPOLL_CTL_ADD, outer, EPOLLIN, 0));
    TRY(control(counter, EPOLL_CTL_ADD, inner, EPOLLIN, 0));
    MUST(close(inner));
    look("inner closed", outer);
    look("inner closed", third);

    // Towers, with and without a file at the bottom.
    for (int with_file = 0; with_file < 2; with_file++) {
        int top = MUST(epoll_create1(0));
        if (with_file)
            MUST(control(top, EPOLL_CTL_ADD, counter, EPOLLIN, 0));
        for (int level = 2; level < 9; level++) {
            int next = MUST(epoll_create1(0));
            int result = control(next, EPOLL_CTL_ADD, top, EPOLLIN, level);
            printf("level %d: %s\n", level, result == 0 ? "watched" : error_name(errno));
            if (result == 0)
                top = next;
        }
        look("top", top);
        // From below: a file put under a tower.
        if (!with_file)
            continue;
        int levels[8];
        levels[0] = MUST(epoll_create1(0));
        for (int level = 1; level < 5; level++) {
            levels[level] = MUST(epoll_create1(0));
            MUST(control(levels[level], EPOLL_CTL_ADD, levels[level - 1], EPOLLIN, level));
        }
        TRY(control(levels[0], EPOLL_CTL_ADD, counter, EPOLLIN, 9));
        look("top of five", levels[4]);
        levels[5] = MUST(epoll_create1(0));
        TRY(control(levels[5], EPOLL_CTL_ADD, levels[4], EPOLLIN, 9));
    }
    return 0;
}
