//@ cpus: 1 2 4
// Blocking calls: time-outs, signals with and without SA_RESTART, other threads that send, accept, shut down and close.
#include "socket_observe.h"
#include "waiters.h"

static int p[2], listener;
static struct sockaddr_un name;
static socklen_t name_len;

static long receive(struct waiter *waiter) {
    char byte = 0;
    long result = recv(waiter->fd, &byte, 1, 0);
    waiter->value = (unsigned char)byte;
    return result;
}

static long receive_all(struct waiter *waiter) {
    char bytes[8] = "";
    long result = recv(waiter->fd, bytes, 6, MSG_WAITALL);
    waiter->value = (uint64_t)(result < 0 ? 0 : result);
    return result;
}

static long take(struct waiter *waiter) {
    long result = accept(waiter->fd, NULL, NULL);
    waiter->value = result >= 0;
    if (result >= 0)
        close((int)result);
    return result;
}

static long join(struct waiter *waiter) {
    long result = connect(waiter->fd, (void *)&name, name_len);
    waiter->value = 1;
    return result;
}

static char big[900000];

static long send_big(struct waiter *waiter) {
    long result = send(waiter->fd, big, sizeof big, MSG_NOSIGNAL);
    waiter->value = (uint64_t)(result < 0 ? 0 : result);
    return result;
}

static void no_matter(int signal) { (void)signal; }

static void interrupt(const char *label, long (*call)(struct waiter *), int fd, int flags) {
    struct sigaction action = {.sa_handler = no_matter, .sa_flags = flags};
    MUST(sigaction(SIGUSR1, &action, NULL));
    struct waiter *waiter = start_waiter(call, fd);
    pthread_kill(waiter->thread, SIGUSR1);
    settle();
    if (waiter->is_done)
        printf("%s: %s\n", label, waiter->result < 0 ? error_name(waiter->error) : "answered");
    else
        printf("%s: still waits\n", label);
}

int main(void) {
    struct timeval soon = {0, 20000}, later = {100, 0}, never = {0, 0};
    char buffer[16];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    name_len = unix_abstract(&name, "waits");
    listener = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(bind(listener, (void *)&name, name_len));
    MUST(listen(listener, 0));

    // Time-outs.
    MUST(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
    TRY(recv(p[0], buffer, 1, 0));
    TRY(read(p[0], buffer, 1));
    MUST(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
    TRY(accept(listener, NULL, NULL));
    MUST(setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon));
    CHECK(send(p[0], big, sizeof big, 0) < (long)sizeof big);
    TRY(send(p[0], big, sizeof big, 0));
    TRY(write(p[0], big, sizeof big));
    while (recv(p[1], big, sizeof big, MSG_DONTWAIT) > 0)
        ;
    MUST(send(p[1], "ab", 2, 0));
    TRY(recv(p[0], buffer, 4, MSG_WAITALL));
    int first = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0)), second = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(connect(first, (void *)&name, name_len));
    MUST(setsockopt(second, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon));
    TRY(connect(second, (void *)&name, name_len));
    MUST(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &never, sizeof never));
    MUST(setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &never, sizeof never));
    MUST(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof never));
    MUST(setsockopt(second, SOL_SOCKET, SO_SNDTIMEO, &never, sizeof never));

    // Signals.
    interrupt("recv", receive, p[0], 0);
    interrupt("recv restarted", receive, p[0], SA_RESTART);
    MUST(send(p[1], "x", 1, 0));
    join_waiters();
    MUST(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &later, sizeof later));
    interrupt("recv with a time-out", receive, p[0], 0);
    interrupt("recv with a time-out restarted", receive, p[0], SA_RESTART);
    join_waiters();
    MUST(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &never, sizeof never));
    interrupt("connect", join, second, 0);
    interrupt("connect restarted", join, second, SA_RESTART);
    close((int)MUST(accept(listener, NULL, NULL)));
    join_waiters();
    close((int)MUST(accept(listener, NULL, NULL)));
    interrupt("accept", take, listener, 0);
    interrupt("accept restarted", take, listener, SA_RESTART);
    int third = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(connect(third, (void *)&name, name_len));
    join_waiters();
    interrupt("send", send_big, p[1], SA_RESTART);
    CHECK(waiters[0].value > 0 && waiters[0].value < sizeof big);
    join_waiters();
    while (recv(p[0], big, sizeof big, MSG_DONTWAIT) > 0)
        ;

    // Other threads.
    start_waiter(receive_all, p[0]);
    MUST(send(p[1], "ab", 2, 0));
    settle();
    show_answers("two bytes");
    MUST(send(p[1], "cdef", 4, 0));
    settle();
    show_answers("six bytes");
    join_waiters();
    start_waiter(send_big, p[1]);
    long total = 0;
    while (total < (long)sizeof big)
        total += MUST(recv(p[0], big, 50000, 0));
    settle();
    show_answers("a big send");
    join_waiters();
    start_waiter(receive, p[0]);
    MUST(shutdown(p[0], SHUT_RD));
    settle();
    show_answers("shut here");
    join_waiters();
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    start_waiter(receive, p[0]);
    MUST(shutdown(p[1], SHUT_WR));
    settle();
    show_answers("shut there");
    join_waiters();
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    start_waiter(receive, p[0]);
    close(p[1]);
    settle();
    show_answers("closed there");
    join_waiters();
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    start_waiter(send_big, p[0]);
    MUST(shutdown(p[1], SHUT_RD));
    settle();
    CHECK(waiters[0].is_done && waiters[0].value > 0);
    join_waiters();
    TRY(send(p[0], "x", 1, MSG_NOSIGNAL));
    // A datagram wakes one, the end of a stream all.
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
    start_waiters(3, receive, p[0]);
    MUST(send(p[1], "a", 1, 0));
    settle();
    show_answers("one datagram");
    MUST(send(p[1], "b", 1, 0));
    MUST(send(p[1], "c", 1, 0));
    settle();
    show_answers("all datagrams");
    join_waiters();
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    start_waiters(3, receive, p[0]);
    close(p[1]);
    settle();
    show_answers("end of a stream");
    join_waiters();
    start_waiters(3, take, listener);
    MUST(shutdown(listener, SHUT_RD));
    settle();
    show_answers("listener shut");
    join_waiters();
    return 0;
}
