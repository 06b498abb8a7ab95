// Tasks on descriptors: bytes and counts that pass between threads arrive whole.
#include "soak.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

// A stream of numbered bytes through a pipe, in pieces of any size.
struct stream {
    int ends[2];
    long bytes;
    int is_polled;
};

static void read_stream(void *argument, int number) {
    struct stream *stream = argument;
    unsigned char buffer[3000];
    long position = 0;
    (void)number;
    for (;;) {
        if (stream->is_polled) {
            struct pollfd wanted = {stream->ends[0], POLLIN, 0};
            at("polls a pipe");
            ENSURE(RETRY(poll(&wanted, 1, -1)) == 1);
        }
        at("reads a pipe");
        long len = RETRY(read(stream->ends[0], buffer, 1 + pick(sizeof buffer)));
        ENSURE(len >= 0);
        if (len == 0)
            break;
        for (long i = 0; i < len; i++)
            ENSURE_IS(buffer[i], (unsigned char)((position + i) * 7));
        position += len;
    }
    ENSURE_IS(position, stream->bytes);
}

static void use_pipe(void) {
    struct stream stream = {.bytes = (long)pick(200000), .is_polled = (int)pick(2)};
    struct helper helper;
    unsigned char buffer[5000];
    ENSURE_IS(pipe2(stream.ends, O_CLOEXEC), 0);
    if (pick(3) == 0)
        ENSURE(fcntl(stream.ends[1], F_SETPIPE_SZ, 4096) >= 4096);
    start_helper(&helper, read_stream, &stream, 0);
    for (long position = 0; position < stream.bytes;) {
        long len = 1 + (long)pick(sizeof buffer);
        if (len > stream.bytes - position)
            len = stream.bytes - position;
        for (long i = 0; i < len; i++)
            buffer[i] = (unsigned char)((position + i) * 7);
        at("writes a pipe");
        long written = RETRY(write(stream.ends[1], buffer, (size_t)len));
        ENSURE(written > 0);
        position += written;
    }
    close(stream.ends[1]);
    join_helper(&helper);
    close(stream.ends[0]);
}

// Counts through eventfds, taken by several threads with epoll.
struct counts {
    int epoll, events[3], end;
    atomic_long taken;
    int is_edge;
};

static void take_counts(void *argument, int number) {
    struct counts *counts = argument;
    (void)number;
    for (;;) {
        struct epoll_event ready[4];
        at("waits in epoll");
        long len = RETRY(epoll_wait(counts->epoll, ready, 1 + (int)pick(4), -1));
        ENSURE(len >= 1);
        for (long i = 0; i < len; i++) {
            if (ready[i].data.fd == counts->end)
                return;
            uint64_t value = 0;
            at("reads a count");
            long result = RETRY(read(ready[i].data.fd, &value, 8));
            ENSURE(result == 8 || errno == EAGAIN);
            if (result == 8)
                counts->taken += (long)value;
        }
    }
}

static void use_counts(void) {
    struct counts counts = {.is_edge = (int)pick(2)};
    struct helper helpers[3];
    int threads = 1 + (int)pick(3);
    long sent = 0;
    ENSURE((counts.epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
    for (int i = 0; i < 4; i++) {
        int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        ENSURE(fd >= 0);
        *(i < 3 ? &counts.events[i] : &counts.end) = fd;
        struct epoll_event event = {EPOLLIN | (i < 3 && counts.is_edge ? EPOLLET : 0), {.fd = fd}};
        ENSURE_IS(epoll_ctl(counts.epoll, EPOLL_CTL_ADD, fd, &event), 0);
    }
    for (int i = 0; i < threads; i++)
        start_helper(&helpers[i], take_counts, &counts, i);
    for (int i = (int)pick(150); i > 0; i--) {
        uint64_t value = 1 + pick(5);
        at("writes a count");
        ENSURE_IS(write(counts.events[pick(3)], &value, 8), 8);
        sent += (long)value;
        if (pick(20) == 0)
            sleep_us(pick(200));
    }
    at("waits until all counts are taken");
    while (counts.taken < sent)
        sleep_us(100);
    uint64_t one = 1;
    ENSURE_IS(write(counts.end, &one, 8), 8);
    for (int i = 0; i < threads; i++)
        join_helper(&helpers[i]);
    ENSURE_IS(counts.taken, sent);
    for (int i = 0; i < 3; i++)
        close(counts.events[i]);
    close(counts.end);
    close(counts.epoll);
}

// Timer descriptors through poll and read.
static void use_timerfd(void) {
    int fd = timerfd_create(pick(2) ? CLOCK_MONOTONIC : CLOCK_REALTIME, TFD_CLOEXEC);
    ENSURE(fd >= 0);
    struct itimerspec time = {{0, 300000 + pick(700000)}, {0, 1 + pick(2000000)}};
    ENSURE_IS(timerfd_settime(fd, 0, &time, NULL), 0);
    for (int i = 1 + (int)pick(5); i > 0; i--) {
        struct pollfd wanted = {fd, POLLIN, 0};
        uint64_t times = 0;
        if (pick(2)) {
            at("polls a timer");
            ENSURE_IS(RETRY(poll(&wanted, 1, -1)), 1);
        }
        at("reads a timer");
        ENSURE_IS(RETRY(read(fd, &times, 8)), 8);
        ENSURE(times >= 1);
    }
    close(fd);
}

// Descriptors made and closed by all threads at once.
static void churn(void *argument, int number) {
    (void)argument, (void)number;
    for (int i = 0; i < 60; i++) {
        int ends[2], copy;
        char byte = (char)i;
        at("makes and closes descriptors");
        ENSURE_IS(pipe2(ends, O_CLOEXEC), 0);
        ENSURE((copy = fcntl(ends[1], F_DUPFD_CLOEXEC, 0)) >= 0);
        ENSURE_IS(close(ends[1]), 0);
        ENSURE_IS(RETRY(write(copy, &byte, 1)), 1);
        byte = 0;
        ENSURE_IS(RETRY(read(ends[0], &byte, 1)), 1);
        ENSURE_IS(byte, (char)i);
        ENSURE_IS(close(copy), 0);
        ENSURE_IS(close(ends[0]), 0);
    }
}

static void use_churn(void) {
    struct helper helpers[3];
    int count = 1 + (int)pick(3);
    for (int i = 0; i < count; i++)
        start_helper(&helpers[i], churn, NULL, i);
    churn(NULL, 0);
    for (int i = 0; i < count; i++)
        join_helper(&helpers[i]);
}

const struct task file_tasks[] = {
    {"pipe", use_pipe}, {"counts", use_counts}, {"timerfd", use_timerfd}, {"descriptors", use_churn}, {NULL, NULL}};
