//@ cpus: 1 2 4
// poll and select by several threads: an event wakes all of them; descriptors that close under a waiting thread.
#include "waiters.h"
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

static int many[12], other;

static long poll_one(struct waiter *waiter) {
    struct pollfd file = {.fd = waiter->fd, .events = POLLIN};
    long result = poll(&file, 1, -1);
    waiter->value = (uint64_t)file.revents;
    return result;
}

static long poll_many(struct waiter *waiter) {
    struct pollfd files[ARRAY_LEN(many)];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        files[i] = (struct pollfd){.fd = many[i], .events = POLLIN};
    long result = poll(files, ARRAY_LEN(many), -1);
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        if (files[i].revents)
            waiter->value |= 1u << i;
    return result;
}

static long select_one(struct waiter *waiter) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(waiter->fd, &set);
    FD_SET(other, &set);
    long result = select(1 + (waiter->fd > other ? waiter->fd : other), &set, NULL, NULL, NULL);
    waiter->value = (uint64_t)(FD_ISSET(waiter->fd, &set) != 0) + 2 * (uint64_t)(FD_ISSET(other, &set) != 0);
    return result;
}

static long read_byte(struct waiter *waiter) {
    char byte = 0;
    long result = read(waiter->fd, &byte, 1);
    waiter->value = 100 + (uint64_t)byte;
    return result;
}

static void add_one(int fd) {
    uint64_t one = 1;
    MUST(write(fd, &one, 8));
}

int main(void) {
    int ends[2], fd = MUST(eventfd(0, 0));
    other = MUST(eventfd(0, 0));
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = MUST(eventfd(0, 0));

    start_waiters(3, poll_one, fd);
    start_waiters(3, select_one, fd);
    printf("nothing: %d\n", settle());
    add_one(fd);
    settle();
    show_answers("one event wakes all");
    join_waiters();

    start_waiters(3, poll_many, 0);
    add_one(many[7]);
    settle();
    show_answers("one of many");
    join_waiters();
    add_one(many[11]);
    start_waiters(1, poll_many, 0);
    show_answers("two of many, at once");
    join_waiters();

    // Those who only look leave the byte to the one who reads.
    MUST(pipe(ends));
    start_waiters(2, poll_one, ends[0]);
    start_waiters(2, read_byte, ends[0]);
    start_waiters(2, poll_one, ends[0]);
    MUST(write(ends[1], "\1", 1));
    int readers = 0;
    settle();
    for (int i = 2; i < 4; i++)
        readers += waiters[i].is_done;
    printf("readers done: %d\n", readers);
    close(ends[1]);
    join_waiters();
    CHECK(waiters[0].value & (POLLIN | POLLHUP) && waiters[5].value & (POLLIN | POLLHUP));
    close(ends[0]);

    // What a thread waits for stays open for it.
    MUST(pipe(ends));
    // A number that nothing else gets when it is free again.
    int high = MUST(fcntl(ends[0], F_DUPFD, 500));
    start_waiters(1, poll_one, high);
    close(high);
    printf("its descriptor is closed: %d\n", settle());
    MUST(write(ends[1], "z", 1));
    settle();
    show_answers("and the file is ready");
    join_waiters();
    close(ends[1]);
    close(ends[0]);

    MUST(pipe(ends));
    start_waiters(2, poll_one, ends[0]);
    close(ends[1]);
    settle();
    show_answers("the last writer leaves");
    join_waiters();
    close(ends[0]);
}
