// SCM_RIGHTS: descriptors in messages, what is cut off, where messages end, and files that nobody receives.
#include "socket_observe.h"

static void show_kind(int kind, const char *label) {
    int p[2], pipe_ends[2], many[300];
    char buffer[64];
    printf("-- %s\n", label);
    MUST(socketpair(AF_UNIX, kind, 0, p));
    MUST(pipe(pipe_ends));
    TRY(send_descriptors(p[0], "with", 4, &pipe_ends[0], 1, 0));
    int got = receive_and_show("one", p[1], 64, 1024, 0);
    MUST(write(pipe_ends[1], "through", 7));
    long count = TRY(read(got, buffer, sizeof buffer));
    if (count > 0)
        print_bytes("pipe", buffer, (size_t)count);
    close(got);
    // Bytes before, with, and behind descriptors.
    MUST(send(p[0], "before", 6, 0));
    MUST(send_descriptors(p[0], "AB", 2, pipe_ends, 2, 0));
    MUST(send(p[0], "behind", 6, 0));
    for (int i = 0; i < 4; i++) {
        got = receive_and_show("mixed", p[1], 64, 1024, MSG_DONTWAIT);
        if (got >= 0)
            close(got);
    }
    // Part of the bytes takes the descriptors.
    MUST(send_descriptors(p[0], "abcdef", 6, pipe_ends, 1, 0));
    close(receive_and_show("part", p[1], 2, 1024, 0));
    receive_and_show("rest", p[1], 64, 1024, MSG_DONTWAIT);
    // Looked at, they come twice.
    MUST(send_descriptors(p[0], "peek", 4, pipe_ends, 1, 0));
    close(receive_and_show("peek", p[1], 64, 1024, MSG_PEEK));
    close(receive_and_show("take", p[1], 64, 1024, MSG_CMSG_CLOEXEC));
    // No room, and room for some.
    MUST(send_descriptors(p[0], "none", 4, pipe_ends, 2, 0));
    receive_and_show("no room", p[1], 64, 0, 0);
    MUST(send_descriptors(p[0], "some", 4, pipe_ends, 2, 0));
    close(receive_and_show("some room", p[1], 64, CMSG_LEN(sizeof(int)), 0));
    MUST(send_descriptors(p[0], "less", 4, pipe_ends, 2, 0));
    receive_and_show("header only", p[1], 64, sizeof(struct cmsghdr), 0);
    MUST(send_descriptors(p[0], "recv", 4, pipe_ends, 1, 0));
    TRY(recv(p[1], buffer, sizeof buffer, 0));
    MUST(send_descriptors(p[0], "read", 4, pipe_ends, 1, 0));
    TRY(read(p[1], buffer, sizeof buffer));
    // What cannot be sent.
    int bad = 99;
    TRY(send_descriptors(p[0], "bad", 3, &bad, 1, 0));
    for (int i = 0; i < 300; i++)
        many[i] = pipe_ends[0];
    TRY(send_descriptors(p[0], "many", 4, many, 254, 0));
    TRY(send_descriptors(p[0], "many", 4, many, 253, 0));
    got = receive_and_show("253", p[1], 64, 2048, 0);
    close(got);
    // No bytes.
    TRY(send_descriptors(p[0], "", 0, pipe_ends, 1, 0));
    got = receive_and_show("nothing", p[1], 64, 1024, MSG_DONTWAIT);
    if (got >= 0)
        close(got);
    // The table is full: those that have no number are lost.
    struct rlimit { unsigned long soft, hard; } old, small = {8, 8};
    MUST(send_descriptors(p[0], "full", 4, many, 5, 0));
    MUST(syscall(SYS_prlimit64, 0, 7, NULL, &old));
    small.hard = old.hard;
    MUST(syscall(SYS_prlimit64, 0, 7, &small, NULL));
    got = receive_and_show("full", p[1], 64, 1024, 0);
    MUST(syscall(SYS_prlimit64, 0, 7, &old, NULL));
    for (int fd = 7; fd < 12; fd++)
        close(fd);
    if (got >= 0)
        close(got);
    // A pipe whose end is in flight is open; when the message is lost it is closed.
    MUST(send_descriptors(p[0], "end", 3, &pipe_ends[1], 1, 0));
    close(pipe_ends[1]);
    TRY(fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK));
    TRY(read(pipe_ends[0], buffer, 1));
    close(p[1]);
    TRY(read(pipe_ends[0], buffer, 1));
    close(p[0]);
    close(pipe_ends[0]);
}

// Sockets that only lie in their own queues are closed: the pipe end they hold with them shows it.
static void show_cycle(int length) {
    int sockets[8][2], pipe_ends[2];
    char byte;
    MUST(pipe2(pipe_ends, O_NONBLOCK));
    for (int i = 0; i < length; i++)
        MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets[i]));
    for (int i = 0; i < length; i++) {
        int pair[2] = {sockets[(i + 1) % length][0], sockets[(i + 1) % length][1]};
        MUST(send_descriptors(sockets[i][0], "next", 4, pair, 2, 0));
    }
    MUST(send_descriptors(sockets[0][0], "pipe", 4, &pipe_ends[1], 1, 0));
    close(pipe_ends[1]);
    for (int i = 0; i < length; i++) {
        close(sockets[i][0]);
        close(sockets[i][1]);
    }
    // Linux collects in the background.
    long result = -1;
    for (int i = 0; i < 500 && result != 0; i++) {
        int more[2];
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, more));
        close(more[0]);
        close(more[1]);
        usleep(2000);
        result = read(pipe_ends[0], &byte, 1);
    }
    printf("cycle of %d: %s\n", length, result == 0 ? "closed" : "still open");
    close(pipe_ends[0]);
}

int main(void) {
    show_kind(SOCK_STREAM, "stream");
    show_kind(SOCK_DGRAM, "dgram");
    show_kind(SOCK_SEQPACKET, "seqpacket");
    show_cycle(1);
    show_cycle(2);
    show_cycle(5);
    // A long chain of sockets, each in the queue of the next.
    int last[2], next[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, last));
    int depth = 0;
    for (; depth < 3000; depth++) {
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, next));
        if (send_descriptors(next[0], "x", 1, last, 2, 0) < 0)
            break;
        close(last[0]);
        close(last[1]);
        last[0] = next[0];
        last[1] = next[1];
    }
    close(last[0]);
    close(last[1]);
    // A socket can be sent through itself and received again.
    int p[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    MUST(send_descriptors(p[0], "self", 4, p, 2, 0));
    int got = receive_and_show("itself", p[1], 64, 1024, 0);
    TRY(write(got, "hello", 5));
    char buffer[16];
    TRY(read(p[1], buffer, sizeof buffer));
    return 0;
}
