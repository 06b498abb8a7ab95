// recvmmsg and sendmmsg: time-outs, limits, errors behind the first message, and what is left for the next call; and messages of no bytes, looks,
// truncation and waiting for all, on each kind of socket.
#include "socket_observe.h"

static struct mmsghdr many[1100];
static struct iovec vectors[1100];
static char bytes[1100][8];

static void fill_headers(size_t len) {
    memset(many, 0, sizeof many);
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        vectors[i] = (struct iovec){bytes[i], len};
        many[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
        many[i].msg_len = 77;
    }
}

static void show(int count) {
    for (int i = 0; i < count; i++)
        printf(" %u/%x", many[i].msg_len, many[i].msg_hdr.msg_flags);
    printf("\n");
}

static void limits(void) {
    int sender, receiver, p[2];
    udp_pair(AF_INET, &sender, &receiver);
    fill_headers(0);
    MUST(setsockopt(receiver, SOL_SOCKET, SO_RCVBUF, &(int){1 << 22}, sizeof(int)));
    // More than 1024 are cut off.
    TRY(syscall(SYS_sendmmsg, sender, many, 1100, 0));
    TRY(syscall(SYS_sendmmsg, sender, many, -1, MSG_DONTWAIT));
    MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p));
    fill_headers(8);
    long sent = MUST(syscall(SYS_sendmmsg, p[0], many, 5, 0));
    fill_headers(4);
    printf("sent %ld, received %ld:", sent, (long)syscall(SYS_recvmmsg, p[1], many, -1, 0, NULL));
    show(6);
    TRY(syscall(SYS_recvmmsg, p[1], many, 1, 0, NULL));
    // Bad headers behind the first one.
    fill_headers(8);
    many[2].msg_hdr.msg_iovlen = 2000;
    TRY(syscall(SYS_sendmmsg, p[0], many, 5, 0));
    TRY(syscall(SYS_sendmmsg, p[0], many + 2, 5, 0));
    show(4);
    many[1].msg_hdr.msg_iovlen = 2000;
    TRY(syscall(SYS_recvmmsg, p[1], many, 5, 0, NULL));
    printf("left behind: %s\n", error_name(get_option(p[1], SOL_SOCKET, SO_ERROR)));
    TRY(syscall(SYS_recvmmsg, p[1], many + 1, 5, 0, NULL));
    fill_headers(8);
    TRY(syscall(SYS_recvmmsg, p[1], many, 5, 0, NULL));
    // The list itself ends.
    TRY(syscall(SYS_sendmmsg, p[0], (void *)16, 1, 0));
    TRY(syscall(SYS_recvmmsg, p[1], (void *)16, 1, 0, NULL));
    TRY(syscall(SYS_recvmmsg, p[1], (void *)16, 0, 0, NULL));
    TRY(syscall(SYS_sendmmsg, 1, many, 0, 0));
    TRY(syscall(SYS_recvmmsg, 99, many, 0, 0, NULL));
    close(sender);
    close(receiver);
    close(p[0]);
    close(p[1]);
}

static void times(void) {
    int p[2];
    struct timespec time = {0, 0};
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
    fill_headers(8);
    // The time is looked at only after a message has come.
    MUST(syscall(SYS_sendmmsg, p[0], many, 3, 0));
    TRY(syscall(SYS_recvmmsg, p[1], many, 3, 0, &time));
    printf("left %ld.%09ld\n", (long)time.tv_sec, time.tv_nsec);
    time = (struct timespec){1000, 0};
    TRY(syscall(SYS_recvmmsg, p[1], many, 2, 0, &time));
    CHECK(time.tv_sec == 999);
    static const struct timespec bad[] = {{0, -1}, {-1, 0}, {0, 1000000000}, {-1, 5}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        time = bad[i];
        TRY(syscall(SYS_recvmmsg, p[1], many, 1, MSG_DONTWAIT, &time));
        TRY(syscall(SYS_recvmmsg, 99, many, 1, MSG_DONTWAIT, &time));
    }
    time = (struct timespec){5, 0};
    TRY(syscall(SYS_recvmmsg, p[1], many, 1, MSG_DONTWAIT, &time));
    CHECK(time.tv_sec == 5 && time.tv_nsec == 0);
    TRY(syscall(SYS_recvmmsg, p[1], many, 1, MSG_DONTWAIT, 16L));
    close(p[0]);
    close(p[1]);
}

// Errors of the network that come between messages.
static void pending(void) {
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    MUST(connect(fd, (void *)&nobody, sizeof nobody));
    fill_headers(1);
    TRY(syscall(SYS_sendmmsg, fd, many, 3, 0));
    show(3);
    TRY(syscall(SYS_sendmmsg, fd, many, 3, 0));
    TRY(syscall(SYS_recvmmsg, fd, many, 3, MSG_DONTWAIT, NULL));
    TRY(syscall(SYS_recvmmsg, fd, many, 3, MSG_DONTWAIT, NULL));
    close(fd);
}

static const struct {
    const char *name;
    int domain, type;
} kinds[] = {{"stream", AF_UNIX, SOCK_STREAM}, {"datagram", AF_UNIX, SOCK_DGRAM}, {"packet", AF_UNIX, SOCK_SEQPACKET},
             {"tcp", AF_INET, SOCK_STREAM},    {"udp", AF_INET, SOCK_DGRAM}};

static void make_pair(size_t kind, int *p) {
    if (kinds[kind].domain == AF_UNIX) {
        MUST(socketpair(AF_UNIX, kinds[kind].type, 0, p));
    } else if (kinds[kind].type == SOCK_DGRAM) {
        struct sockaddr_in name;
        socklen_t len = sizeof name;
        udp_pair(AF_INET, &p[0], &p[1]);
        MUST(getsockname(p[0], (void *)&name, &len));
        MUST(connect(p[1], (void *)&name, len));
    } else {
        tcp_pair(AF_INET, &p[0], &p[1]);
    }
}

static void take(int fd, size_t len, int flags) {
    char buffer[64];
    struct iovec vector[2] = {{buffer, len / 2}, {buffer + len / 2, len - len / 2}};
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = 2};
    memset(buffer, '.', sizeof buffer);
    ssize_t got = recvmsg(fd, &message, flags);
    printf("  %zu bytes, flags %x:", len, flags);
    if (got < 0)
        printf(" %s", error_name(errno));
    else
        printf(" %zd \"%.*s\" flags %x", got, (int)len, buffer, message.msg_flags);
    int waiting = -1;
    if (ioctl(fd, FIONREAD, &waiting) == 0)
        printf(" waiting %d\n", waiting);
    else
        printf(" waiting %s\n", error_name(errno));
}

static void transfers(size_t kind) {
    int p[2];
    printf("%s\n", kinds[kind].name);
    make_pair(kind, p);
    // Nothing.
    static const int flags[] = {0, MSG_PEEK, MSG_TRUNC, MSG_PEEK | MSG_TRUNC, MSG_WAITALL, MSG_OOB, MSG_ERRQUEUE, MSG_PEEK | MSG_WAITALL};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        take(p[1], 0, flags[i] | MSG_DONTWAIT);
        take(p[1], 4, flags[i] | MSG_DONTWAIT);
    }
    TRY(send(p[0], "", 0, 0));
    TRY(write(p[0], "", 0));
    TRY(read(p[1], bytes, 0));
    TRY(recv(p[1], bytes, 0, MSG_DONTWAIT));
    TRY(recv(p[1], bytes, 8, MSG_DONTWAIT));
    TRY(recv(p[1], bytes, 8, MSG_DONTWAIT));
    show_events("empty", p[1]);
    for (int i = 0; i < 6; i++)
        MUST(send(p[0], "abcdef", 6, 0));
    await_events(p[1], POLLIN);
    take(p[1], 0, 0);
    take(p[1], 0, MSG_PEEK);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (flags[i] != MSG_OOB && flags[i] != MSG_ERRQUEUE)
            take(p[1], 4, flags[i] | MSG_DONTWAIT);
    take(p[1], 40, MSG_WAITALL | MSG_DONTWAIT);
    // Halves are closed.
    MUST(send(p[0], "last", 4, 0));
    await_events(p[1], POLLIN);
    static const int halves[] = {SHUT_RD, SHUT_WR, SHUT_RDWR, 3, -1};
    for (size_t i = 0; i < ARRAY_LEN(halves); i++) {
        printf("shutdown %d: ", halves[i]);
        TRY(shutdown(p[1], halves[i]));
        if (halves[i] == SHUT_WR)
            await_events(p[1], POLLIN);
        take(p[1], 2, MSG_DONTWAIT);
        TRY(send(p[1], "x", 1, MSG_NOSIGNAL));
        TRY(send(p[1], "", 0, MSG_NOSIGNAL));
        if (kinds[kind].domain == AF_UNIX || kinds[kind].type == SOCK_DGRAM) {
            show_events("this", p[1]);
            show_events("other", p[0]);
            TRY(send(p[0], "y", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
        }
    }
    take(p[1], 4, 0);
    close(p[0]);
    if (kinds[kind].domain == AF_UNIX) {
        show_events("alone", p[1]);
        take(p[1], 4, MSG_DONTWAIT);
        take(p[1], 0, MSG_DONTWAIT);
        TRY(send(p[1], "x", 1, MSG_NOSIGNAL));
        show_names("alone", p[1]);
    }
    close(p[1]);
}

// Names that do not fit, and sockets that let go of their peers.
static void names(size_t kind) {
    int p[2];
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    static const socklen_t rooms[] = {0, 1, 2, 4, 8, 15, 16, 17, 100, (socklen_t)-1, (socklen_t)1 << 31};
    printf("%s\n", kinds[kind].name);
    make_pair(kind, p);
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        unsigned char name[128];
        socklen_t own = rooms[i], peer = rooms[i];
        memset(name, 0x55, sizeof name);
        long first = syscall(SYS_getsockname, p[1], name, &own), first_errno = first < 0 ? errno : 0;
        int touched = 0;
        for (size_t at = 0; at < sizeof name; at++)
            touched += name[at] != 0x55;
        long second = syscall(SYS_getpeername, p[1], name, &peer);
        printf("room %u: %ld %s %u %d, %ld %s %u\n", rooms[i], first, first_errno ? error_name((int)first_errno) : "-", own, touched > 16 ? 99 : touched > 0, second,
               second < 0 ? error_name(errno) : "-", peer);
    }
    TRY(syscall(SYS_getsockname, p[1], 16L, &(socklen_t){16}));
    TRY(syscall(SYS_getsockname, p[1], 16L, &(socklen_t){0}));
    TRY(syscall(SYS_getsockname, p[1], &nobody, 16L));
    for (socklen_t len = 0; len <= 16; len += len < 3 ? 1 : 13) {
        printf("let go with %u bytes: ", len);
        TRY(connect(p[1], &nobody, len));
    }
    show_names("let go", p[1]);
    TRY(send(p[1], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
    TRY(connect(p[1], &nobody, sizeof nobody));
    close(p[0]);
    close(p[1]);
}

int main(void) {
    limits();
    times();
    pending();
    for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++)
        transfers(kind);
    for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++)
        names(kind);
    return 0;
}
