//@ cpus: 1 2
// TCP over loopback, both families: names, connecting, ends, shutdown of halves, resets.
#include "socket_observe.h"

static int family;
static struct sockaddr_storage address;
static socklen_t address_len;

static void set_address(int port) {
    memset(&address, 0, sizeof address);
    if (family == AF_INET) {
        struct sockaddr_in *in = (void *)&address;
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
        address_len = sizeof *in;
    } else {
        struct sockaddr_in6 *in = (void *)&address;
        *in = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
        address_len = sizeof *in;
    }
}

static int make(void) { return (int)MUST(socket(family, SOCK_STREAM, 0)); }

static int make_listener(int backlog) {
    int fd = make();
    set_address(0);
    MUST(bind(fd, (void *)&address, address_len));
    MUST(listen(fd, backlog));
    address_len = sizeof address;
    MUST(getsockname(fd, (void *)&address, &address_len));
    return fd;
}

static void make_pair(int listener, int *client, int *server) {
    *client = make();
    MUST(connect(*client, (void *)&address, address_len));
    *server = (int)MUST(accept(listener, NULL, NULL));
}

static void run(const char *label) {
    char buffer[256];
    static char big[1 << 16];
    int client, server;
    printf("-- %s\n", label);
    int fd = make();
    show_names("new", fd);
    show_events("new", fd);
    TRY(send(fd, "x", 1, MSG_NOSIGNAL));
    TRY(recv(fd, buffer, 1, 0));
    TRY(accept(fd, NULL, NULL));
    TRY(shutdown(fd, SHUT_WR));
    set_address(1);
    TRY(connect(fd, (void *)&address, address_len));
    show_error("refused", fd);
    TRY(connect(fd, (void *)&address, 3));
    close(fd);
    // A listener.
    int listener = make_listener(5);
    show_names("listener", listener);
    show_events("listener", listener);
    OPTION(listener, SOL_SOCKET, SO_ACCEPTCONN);
    TRY(connect(listener, (void *)&address, address_len));
    TRY(send(listener, "x", 1, MSG_NOSIGNAL));
    TRY(recv(listener, buffer, 1, 0));
    fd = make();
    TRY(bind(fd, (void *)&address, address_len));
    close(fd);
    client = make();
    TRY(connect(client, (void *)&address, address_len));
    TRY(connect(client, (void *)&address, address_len));
    TRY(bind(client, (void *)&address, address_len));
    TRY(listen(client, 5));
    show_names("client", client);
    await_events(listener, POLLIN);
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof peer;
    server = (int)TRY(accept4(listener, (void *)&peer, &peer_len, SOCK_CLOEXEC));
    print_address("accepted from", &peer, peer_len);
    show_names("server", server);
    show_events("connected", server);
    // Data.
    TRY(write(client, "hello", 5));
    await_events(server, POLLIN);
    TRY(recv(server, buffer, 2, MSG_PEEK));
    TRY(recv(server, buffer, sizeof buffer, 0));
    TRY(recv(server, buffer, sizeof buffer, MSG_DONTWAIT));
    TRY(sendto(server, "answer", 6, 0, (void *)&address, address_len));
    receive_and_show("answer", client, 64, 64, 0);
    TRY(send(client, "", 0, 0));
    int count = -1;
    MUST(write(client, "queued", 6));
    await_events(server, POLLIN);
    TRY(ioctl(server, FIONREAD, &count));
    printf("%d\n", count);
    TRY(recv(server, buffer, 64, MSG_TRUNC));
    // Halves.
    MUST(write(client, "last", 4));
    TRY(shutdown(client, SHUT_WR));
    TRY(shutdown(client, SHUT_WR));
    await_events(server, POLLRDHUP);
    show_events("own half closed", client);
    show_events("other half closed", server);
    TRY(send(client, "x", 1, MSG_NOSIGNAL));
    TRY(read(server, buffer, sizeof buffer));
    TRY(read(server, buffer, sizeof buffer));
    TRY(write(server, "still", 5));
    TRY(read(client, buffer, sizeof buffer));
    TRY(shutdown(server, SHUT_WR));
    await_events(client, POLLHUP);
    show_events("both halves closed", client);
    TRY(read(client, buffer, sizeof buffer));
    TRY(send(client, "x", 1, MSG_NOSIGNAL));
    show_error("no reset", client);
    close(client);
    close(server);
    // The other end goes away.
    make_pair(listener, &client, &server);
    close(server);
    await_events(client, POLLRDHUP);
    show_events("closed there", client);
    TRY(read(client, buffer, sizeof buffer));
    TRY(write(client, "x", 1));
    await_events(client, POLLHUP);
    show_events("then reset", client);
    TRY(send(client, "x", 1, MSG_NOSIGNAL));
    TRY(read(client, buffer, sizeof buffer));
    show_error("error", client);
    close(client);
    // Away with something unread: reset.
    make_pair(listener, &client, &server);
    MUST(write(client, "unread", 6));
    await_events(server, POLLIN);
    close(server);
    await_events(client, POLLHUP);
    show_events("reset", client);
    TRY(read(client, buffer, sizeof buffer));
    TRY(read(client, buffer, sizeof buffer));
    TRY(send(client, "x", 1, MSG_NOSIGNAL));
    close(client);
    // SO_LINGER with no time: reset.
    make_pair(listener, &client, &server);
    struct linger linger = {1, 0};
    MUST(setsockopt(server, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    close(server);
    await_events(client, POLLHUP);
    TRY(send(client, "x", 1, MSG_NOSIGNAL));
    TRY(send(client, "x", 1, MSG_NOSIGNAL));
    close(client);
    // SO_LINGER with time: all is sent.
    make_pair(listener, &client, &server);
    linger.l_linger = 5;
    MUST(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    MUST(write(client, "lingers", 7));
    close(client);
    TRY(recv(server, buffer, 7, MSG_WAITALL));
    TRY(recv(server, buffer, 7, 0));
    close(server);
    // Non-blocking.
    client = (int)MUST(socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    long result = connect(client, (void *)&address, address_len);
    printf("connect: %s\n", result == 0 || errno == EINPROGRESS ? "under way or done" : error_name(errno));
    await_events(client, POLLOUT);
    show_error("connected", client);
    TRY(connect(client, (void *)&address, address_len) == 0 || errno == EISCONN ? 0 : -1);
    server = (int)MUST(accept(listener, NULL, NULL));
    long total = 0;
    // Full for a while; a system that is busy may find more room at any time.
    for (int quiet = 0; quiet < 50;) {
        long sent = write(client, big, sizeof big);
        if (sent > 0) {
            total += sent, quiet = 0;
        } else {
            EXPECT(errno == EAGAIN);
            quiet++, usleep(1000);
        }
    }
    CHECK(total > 100000);
    long received = 0;
    while (received < total)
        received += MUST(read(server, big, sizeof big));
    CHECK(received == total);
    await_events(client, POLLOUT);
    close(client);
    close(server);
    // Nobody listens any more: those who wait are reset.
    client = make();
    MUST(connect(client, (void *)&address, address_len));
    close(listener);
    await_events(client, POLLHUP);
    TRY(read(client, buffer, sizeof buffer));
    TRY(connect(client, (void *)&address, address_len));
    close(client);
    client = make();
    TRY(connect(client, (void *)&address, address_len));
    // After a failure it can be used again.
    listener = make_listener(1);
    TRY(connect(client, (void *)&address, address_len));
    server = (int)MUST(accept(listener, NULL, NULL));
    // Disconnected by AF_UNSPEC.
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    TRY(connect(client, &none, sizeof none));
    await_events(server, POLLHUP);
    TRY(read(server, buffer, sizeof buffer));
    close(server);
    close(client);
    // Urgent data.
    make_pair(listener, &client, &server);
    MUST(send(client, "ab", 2, 0));
    MUST(send(client, "c!", 2, MSG_OOB));
    MUST(send(client, "d", 1, 0));
    await_events(server, POLLPRI);
    show_events("urgent", server);
    TRY(recv(server, buffer, 1, MSG_OOB));
    print_bytes("byte", buffer, 1);
    TRY(recv(server, buffer, 1, MSG_OOB));
    TRY(recv(server, buffer, sizeof buffer, 0));
    int at_mark = -1;
    TRY(ioctl(server, SIOCATMARK, &at_mark));
    printf("%d\n", at_mark);
    await_events(server, POLLIN);
    TRY(recv(server, buffer, sizeof buffer, 0));
    TRY(recv(client, buffer, 1, MSG_OOB));
    close(client);
    close(server);
    close(listener);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    family = AF_INET;
    run("IPv4");
    family = AF_INET6;
    run("IPv6");
    return 0;
}
