// Ten thousand descriptors, one of them ready at a time.
#include "observe.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

enum { COUNT = 10000 };

int main(void) {
    static int counters[COUNT];
    struct rlimit limit = {COUNT + 100, COUNT + 100};
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    int instance = MUST(epoll_create1(0));
    for (int i = 0; i < COUNT; i++) {
        counters[i] = MUST(eventfd(0, 0));
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        MUST(epoll_ctl(instance, EPOLL_CTL_ADD, counters[i], &event));
    }
    unsigned next = 1;
    int right = 0;
    for (int round = 0; round < 1000; round++) {
        next = next * 1103515245 + 12345;
        int chosen = next / 65536 % COUNT;
        uint64_t value = 1;
        MUST(write(counters[chosen], &value, 8));
        struct epoll_event events[4];
        int count = epoll_wait(instance, events, 4, -1);
        right += count == 1 && events[0].data.u32 == (unsigned)chosen;
        MUST(read(counters[chosen], &value, 8));
    }
    printf("right %d\n", right);
    // All at once.
    uint64_t value = 1;
    for (int i = 0; i < COUNT; i++)
        MUST(write(counters[i], &value, 8));
    static struct epoll_event events[COUNT + 1];
    printf("ready %d\n", epoll_wait(instance, events, COUNT + 1, 0));
    for (int i = 0; i < COUNT; i += 2)
        MUST(close(counters[i]));
    printf("ready %d\n", epoll_wait(instance, events, COUNT + 1, 0));
    MUST(close(instance));
    for (int i = 1; i < COUNT; i += 2)
        MUST(write(counters[i], &value, 8));
    return 0;
}
