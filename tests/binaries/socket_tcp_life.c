// The life of TCP connections within the machine: edges that epoll tells, attempts that failed, accepting late, ends that are taken, and what TCP_INFO
// says of it all.
#include "socket_observe.h"
#include <sys/epoll.h>

static const socklen_t LEN = sizeof(struct sockaddr_in);

static int listen_at(struct sockaddr_in *name) {
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    MUST(bind(fd, (void *)name, LEN));
    MUST(listen(fd, 8));
    socklen_t len = LEN;
    MUST(getsockname(fd, (void *)name, &len));
    return fd;
}

static int stream(int flags) {
    return (int)MUST(socket(AF_INET, SOCK_STREAM | flags, 0));
}

static int accept_one(int listener) {
    return (int)MUST(accept(listener, NULL, NULL));
}

// The edges there are once what was done has come to the other end.
static void show_edges(const char *label, int epoll) {
    struct epoll_event events[4];
    usleep(5000);
    int count = (int)MUST(epoll_wait(epoll, events, 4, 0));
    printf("%s:", label);
    for (int i = 0; i < count; i++)
        printf(" %x", events[i].events);
    printf(count ? "\n" : " none\n");
}

static int watch(int fd) {
    int epoll = (int)MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    show_edges("at first", epoll);
    return epoll;
}

enum meanwhile { NOTHING, SHUTS, SENDS };

static void edges_of_an_end(int listener, const struct sockaddr *to, enum meanwhile meanwhile) {
    printf("== edges, %d\n", meanwhile);
    int fd = stream(0);
    MUST(connect(fd, to, LEN));
    int peer = accept_one(listener);
    int epoll = watch(fd);
    MUST(shutdown(peer, SHUT_WR));
    show_edges("the peer sends no more", epoll);
    if (meanwhile == SHUTS) {
        MUST(shutdown(fd, SHUT_WR));
        show_edges("neither do we", epoll);
    }
    if (meanwhile == SENDS) {
        MUST(send(fd, "abc", 3, 0));
        show_edges("we sent", epoll);
    }
    close(peer);
    show_edges("the peer is closed", epoll);
    TRY(send(fd, "x", 1, 0));
    show_edges("sent to it", epoll);
    TRY(send(fd, "x", 1, 0));
    show_edges("sent again", epoll);
    close(epoll);
    close(fd);
}

enum between { CONNECT, ERROR, SEND, RECEIVE, LISTEN };

static void after_a_refusal(int flags, const struct sockaddr *to, const struct sockaddr *nobody, enum between between) {
    printf("== refused, %s, %d\n", flags ? "nonblocking" : "blocking", between);
    char byte;
    int fd = stream(flags);
    TRY(connect(fd, nobody, LEN));
    await_events(fd, POLLHUP);
    show_events("refused", fd);
    switch (between) {
    case CONNECT:
        TRY(connect(fd, nobody, LEN));
        show_events("again", fd);
        break;
    case ERROR:
        show_error("error", fd);
        show_error("error", fd);
        break;
    case SEND:
        TRY(send(fd, "a", 1, 0));
        TRY(send(fd, "a", 1, 0));
        break;
    case RECEIVE:
        TRY(recv(fd, &byte, 1, 0));
        TRY(recv(fd, &byte, 1, 0));
        break;
    case LISTEN:
        TRY(listen(fd, 1));
        break;
    }
    if (between != LISTEN) {
        show_events("then", fd);
        TRY(connect(fd, to, LEN));
        usleep(1000);
        TRY(connect(fd, to, LEN));
        usleep(1000);
        TRY(connect(fd, to, LEN));
        show_events("in the end", fd);
    }
    close(fd);
}

static void links(void) {
    puts("== addresses of links");
    for (int kind = SOCK_STREAM; kind <= SOCK_DGRAM; kind++) {
        int fd = (int)MUST(socket(AF_INET6, kind, 0));
        struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(8080)};
        inet_pton(AF_INET6, "fe80::1", &name.sin6_addr);
        TRY(connect(fd, (void *)&name, sizeof name));
        TRY(bind(fd, (void *)&name, sizeof name));
        name.sin6_scope_id = 12345;
        TRY(connect(fd, (void *)&name, sizeof name));
        if (kind == SOCK_STREAM)
            TRY(bind(fd, (void *)&name, sizeof name));
        else
            TRY(sendto(fd, "a", 1, 0, (void *)&name, sizeof name));
        close(fd);
    }
}

static void accepting_late(void) {
    puts("== accepting late");
    struct sockaddr_in name;
    int listener = listen_at(&name), second = 1;
    MUST(setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &second, sizeof second));
    fcntl(listener, F_SETFL, O_NONBLOCK);
    int fd = stream(0);
    MUST(connect(fd, (void *)&name, LEN));
    show_events("connected", fd);
    show_events("nothing has come", listener);
    TRY(accept(listener, NULL, NULL));
    MUST(send(fd, "abc", 3, 0));
    await_events(listener, POLLIN);
    int peer = accept_one(listener);
    show_events("accepted", peer);
    close(peer);
    close(fd);
    for (int i = 0; i < 2; i++) {
        fd = stream(0);
        MUST(connect(fd, (void *)&name, LEN));
        if (i == 0)
            MUST(shutdown(fd, SHUT_WR));
        else
            close(fd);
        await_events(listener, POLLIN);
        peer = accept_one(listener);
        show_events("an end", peer);
        close(peer);
        if (i == 0)
            close(fd);
    }
    fd = stream(0);
    MUST(connect(fd, (void *)&name, LEN));
    await_events(listener, POLLIN);
    peer = accept_one(listener);
    show_events("in the end without anything", peer);
    close(peer);
    close(fd);
    fd = stream(0);
    MUST(connect(fd, (void *)&name, LEN));
    usleep(1000);
    close(listener);
    show_events("nobody accepts it", fd);
    TRY(send(fd, "a", 1, 0));
    await_events(fd, POLLHUP);
    show_events("sent", fd);
    show_error("sent", fd);
    close(fd);
}

static int bound(const struct sockaddr_in *name) {
    int fd = stream(0), one = 1;
    MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    MUST(bind(fd, (void *)name, LEN));
    return fd;
}

static void taken_ends(void) {
    puts("== ends that are taken");
    struct sockaddr_in name, own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = listen_at(&name);
    int first = bound(&own);
    socklen_t len = LEN;
    MUST(getsockname(first, (void *)&own, &len));
    int second = bound(&own);
    TRY(connect(first, (void *)&name, LEN));
    int peer = accept_one(listener);
    TRY(connect(second, (void *)&name, LEN));
    show_events("there is one", second);
    show_names("there is one", second);
    struct sockaddr_in other;
    int elsewhere = listen_at(&other);
    int third = bound(&own);
    TRY(connect(third, (void *)&other, LEN));
    close(peer);
    close(first);
    usleep(5000);
    TRY(connect(second, (void *)&name, LEN));
    close(second);
    close(third);
    close(elsewhere);
    close(listener);

    puts("== ports that nobody chose");
    enum { MANY = 400 };
    static int fds[MANY], peers[MANY];
    static unsigned short ports[MANY];
    int doubles = 0;
    listener = listen_at(&name);
    for (int i = 0; i < MANY; i++) {
        fds[i] = stream(0);
        MUST(connect(fds[i], (void *)&name, LEN));
        peers[i] = accept_one(listener);
        len = LEN;
        MUST(getpeername(peers[i], (void *)&other, &len));
        ports[i] = other.sin_port;
        for (int j = 0; j < i; j++)
            doubles += ports[j] == ports[i];
    }
    printf("%d connections, %d with the ends of another\n", MANY, doubles);
    for (int i = 0; i < MANY; i++) {
        close(fds[i]);
        close(peers[i]);
    }
    close(listener);
}

// A connection to an address that was chosen by the connection alone.
static void let_go(void) {
    puts("== let go");
    struct sockaddr_in name = {.sin_family = AF_INET};
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    socklen_t len = LEN;
    int listener = stream(0), fd = stream(0);
    MUST(bind(listener, (void *)&name, LEN));
    MUST(listen(listener, 1));
    MUST(getsockname(listener, (void *)&name, &len));
    MUST(connect(fd, (void *)&name, LEN));
    int peer = accept_one(listener);
    show_names("accepted", peer);
    MUST(connect(peer, &nowhere, sizeof nowhere));
    show_names("let go", peer);
    show_error("the other end", fd);
    close(peer);
    close(fd);
    close(listener);
}

// What is the same wherever it runs. Linux shows more than musl's struct has.
static void show_info(const char *label, int fd) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    memset(&info, 0, sizeof info);
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    printf("%s: state %u ca %u retransmits %u probes %u backoff %u options %x scales %s\n", label, info.tcpi_state,
           info.tcpi_ca_state, info.tcpi_retransmits, info.tcpi_probes, info.tcpi_backoff, info.tcpi_options,
           info.tcpi_snd_wscale != info.tcpi_rcv_wscale ? "differ" : info.tcpi_snd_wscale ? "alike" : "none");
    printf("  rto %s ato %u mss %s rcv_mss %u unacked %u sacked %u lost %u retrans %u fackets %u\n",
           info.tcpi_rto == 1000000 ? "first" : info.tcpi_rto >= 200000 ? "more" : "none", info.tcpi_ato,
           info.tcpi_snd_mss > 30000 ? "large" : info.tcpi_snd_mss == 536 ? "536" : "other", info.tcpi_rcv_mss,
           info.tcpi_unacked, info.tcpi_sacked, info.tcpi_lost, info.tcpi_retrans, info.tcpi_fackets);
    printf("  pmtu %u rtt %s threshold %s cwnd %s advmss %u reordering %u rcv_space %s total_retrans %u\n", info.tcpi_pmtu,
           info.tcpi_rtt ? "known" : "none", info.tcpi_snd_ssthresh == 0x7fffffff ? "none" : "some",
           info.tcpi_snd_cwnd >= 10 ? "ten or more" : "less", info.tcpi_advmss, info.tcpi_reordering,
           info.tcpi_rcv_space >= 65000 ? "a segment" : info.tcpi_rcv_space ? "some" : "none", info.tcpi_total_retrans);
    printf("  rate %s acked %llu received %llu segments %s %s data %s %s notsent %u min_rtt %s\n",
           info.tcpi_max_pacing_rate == ~0ull ? "unlimited" : "set", (unsigned long long)info.tcpi_bytes_acked,
           (unsigned long long)info.tcpi_bytes_received, info.tcpi_segs_out ? "out" : "-", info.tcpi_segs_in ? "in" : "-",
           info.tcpi_data_segs_out ? "out" : "-", info.tcpi_data_segs_in ? "in" : "-", info.tcpi_notsent_bytes,
           info.tcpi_min_rtt == ~0u ? "unknown" : info.tcpi_min_rtt ? "known" : "none");
    printf("  paced %s\n", info.tcpi_pacing_rate == ~0ull ? "without limit"
                           : info.tcpi_pacing_rate == info.tcpi_max_pacing_rate ? "as it may be" : "by what arrives");
    printf("  delivered %s ce %u sent %llu again %llu dsack %u reordered %u\n", info.tcpi_delivered ? "some" : "none",
           info.tcpi_delivered_ce, (unsigned long long)info.tcpi_bytes_sent, (unsigned long long)info.tcpi_bytes_retrans,
           info.tcpi_dsack_dups, info.tcpi_reord_seen);
}

static void information(void) {
    puts("== information");
    struct sockaddr_in name;
    char bytes[300];
    int fresh = stream(0);
    show_info("fresh", fresh);
    close(fresh);
    int listener = listen_at(&name);
    show_info("listening", listener);
    int fd = stream(0);
    MUST(connect(fd, (void *)&name, LEN));
    show_info("with one that waits", listener);
    int peer = accept_one(listener);
    show_info("connected", fd);
    MUST(send(fd, bytes, 100, 0));
    await_events(peer, POLLIN);
    usleep(1000);
    show_info("sent", fd);
    MUST(recv(peer, bytes, 50, 0));
    MUST(send(peer, bytes, 10, 0));
    await_events(fd, POLLIN);
    usleep(60000);
    show_info("answered", peer);
    show_info("has the answer", fd);
    MUST(shutdown(fd, SHUT_WR));
    MUST(recv(peer, bytes, 50, 0));
    await_events(peer, POLLRDHUP);
    show_info("the end has come", peer);
    unsigned rate = 1000;
    MUST(setsockopt(peer, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate));
    show_info("slow", peer);
    close(peer);
    close(fd);
    close(listener);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in name, nobody;
    int listener = listen_at(&name);
    close(listen_at(&nobody));
    edges_of_an_end(listener, (void *)&name, NOTHING);
    edges_of_an_end(listener, (void *)&name, SHUTS);
    edges_of_an_end(listener, (void *)&name, SENDS);
    for (enum between between = CONNECT; between <= LISTEN; between++) {
        if (between != LISTEN)
            after_a_refusal(0, (void *)&name, (void *)&nobody, between);
        after_a_refusal(SOCK_NONBLOCK, (void *)&name, (void *)&nobody, between);
    }
    links();
    accepting_late();
    taken_ends();
    let_go();
    information();
    return 0;
}
