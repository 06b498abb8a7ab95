// Options of level SOL_SOCKET.
#include "socket_observe.h"

static void show_timeout(int fd, int option, const char *name) {
    struct timeval time = {-1, -1};
    socklen_t len = sizeof time;
    int result = getsockopt(fd, SOL_SOCKET, option, &time, &len);
    printf("%s: %d %ld %s (%u bytes)\n", name, result, (long)time.tv_sec, time.tv_usec ? "and more" : "0", len);
}

static void set_timeout(int fd, int option, long seconds, long microseconds) {
    struct timeval time = {seconds, microseconds};
    TRY(setsockopt(fd, SOL_SOCKET, option, &time, sizeof time));
    show_timeout(fd, option, "now");
}

// No socket has the cookie of another, whatever their domains.
static void cookies(void) {
    enum { COUNT = 200 };
    unsigned long cookies[2 * COUNT];
    int same = 0;
    for (int i = 0; i < 2 * COUNT; i++) {
        socklen_t len = sizeof cookies[i];
        int fd = (int)MUST(socket(i % 2 ? AF_UNIX : AF_INET, SOCK_DGRAM, 0));
        MUST(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookies[i], &len));
        MUST(close(fd));
        for (int j = 0; j < i; j++)
            same += cookies[i] == cookies[j];
    }
    CHECK(same == 0);
}

int main(void) {
    int fd = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    char bytes[64];
    socklen_t len;
    OPTION(fd, SOL_SOCKET, SO_REUSEADDR);
    OPTION(fd, SOL_SOCKET, SO_KEEPALIVE);
    OPTION(fd, SOL_SOCKET, SO_BROADCAST);
    OPTION(fd, SOL_SOCKET, SO_DONTROUTE);
    OPTION(fd, SOL_SOCKET, SO_OOBINLINE);
    OPTION(fd, SOL_SOCKET, SO_SNDBUF);
    OPTION(fd, SOL_SOCKET, SO_RCVBUF);
    OPTION(fd, SOL_SOCKET, SO_SNDLOWAT);
    OPTION(fd, SOL_SOCKET, SO_RCVLOWAT);
    OPTION(fd, SOL_SOCKET, SO_ERROR);
    OPTION(fd, SOL_SOCKET, SO_ACCEPTCONN);
    OPTION(fd, SOL_SOCKET, SO_PRIORITY);
    OPTION(fd, SOL_SOCKET, SO_PASSCRED);
    OPTION(fd, SOL_SOCKET, SO_TIMESTAMP);
    OPTION(fd, SOL_SOCKET, SO_TIMESTAMPNS);
    OPTION(fd, SOL_SOCKET, SO_MARK);
    OPTION(fd, SOL_SOCKET, SO_DEBUG);
    OPTION(fd, SOL_SOCKET, SO_BSDCOMPAT);
    OPTION(fd, SOL_SOCKET, 9999);
    OPTION(fd, SOL_SOCKET, -1);
    OPTION(fd, SOL_TCP, TCP_NODELAY);
    OPTION(fd, 12345, 1);
    SET_OPTION(fd, SOL_SOCKET, SO_REUSEADDR, 17);
    OPTION(fd, SOL_SOCKET, SO_REUSEADDR);
    SET_OPTION(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    OPTION(fd, SOL_SOCKET, SO_KEEPALIVE);
    SET_OPTION(fd, SOL_SOCKET, SO_TYPE, 1);
    SET_OPTION(fd, SOL_SOCKET, SO_ERROR, 1);
    SET_OPTION(fd, SOL_SOCKET, SO_DOMAIN, 1);
    SET_OPTION(fd, SOL_SOCKET, SO_PROTOCOL, 1);
    SET_OPTION(fd, SOL_SOCKET, SO_ACCEPTCONN, 1);
    SET_OPTION(fd, SOL_SOCKET, SO_SNDLOWAT, 1);
    SET_OPTION(fd, SOL_SOCKET, SO_PEERCRED, 1);
    SET_OPTION(fd, SOL_SOCKET, 9999, 1);
    SET_OPTION(fd, SOL_TCP, TCP_NODELAY, 1);
    static const int sizes[] = {0, 1, 1000, 5000, 100000, 212992};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        SET_OPTION(fd, SOL_SOCKET, SO_SNDBUF, sizes[i]);
        OPTION(fd, SOL_SOCKET, SO_SNDBUF);
        SET_OPTION(fd, SOL_SOCKET, SO_RCVBUF, sizes[i]);
        OPTION(fd, SOL_SOCKET, SO_RCVBUF);
    }
    SET_OPTION(fd, SOL_SOCKET, SO_SNDBUFFORCE, 1000000);
    OPTION(fd, SOL_SOCKET, SO_SNDBUF);
    SET_OPTION(fd, SOL_SOCKET, SO_RCVLOWAT, 100);
    OPTION(fd, SOL_SOCKET, SO_RCVLOWAT);
    SET_OPTION(fd, SOL_SOCKET, SO_RCVLOWAT, 0);
    OPTION(fd, SOL_SOCKET, SO_RCVLOWAT);
    SET_OPTION(fd, SOL_SOCKET, SO_RCVLOWAT, -1);
    OPTION(fd, SOL_SOCKET, SO_RCVLOWAT);
    SET_OPTION(fd, SOL_SOCKET, SO_PRIORITY, 6);
    OPTION(fd, SOL_SOCKET, SO_PRIORITY);
    SET_OPTION(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
    OPTION(fd, SOL_SOCKET, SO_TIMESTAMP);
    SET_OPTION(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    OPTION(fd, SOL_SOCKET, SO_TIMESTAMP);
    OPTION(fd, SOL_SOCKET, SO_TIMESTAMPNS);
    // Lengths.
    TRY(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &fd, 3));
    TRY(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &fd, 0));
    TRY(syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &fd, -1));
    TRY(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, bytes, 64));
    len = 1;
    memset(bytes, 'x', sizeof bytes);
    TRY(getsockopt(fd, SOL_SOCKET, SO_TYPE, bytes, &len));
    printf("%u: %02x %02x\n", len, bytes[0], bytes[1]);
    len = 0;
    TRY(getsockopt(fd, SOL_SOCKET, SO_TYPE, bytes, &len));
    len = 64;
    TRY(getsockopt(fd, SOL_SOCKET, SO_TYPE, bytes, &len));
    printf("%u\n", len);
    len = (socklen_t)-1;
    TRY(getsockopt(fd, SOL_SOCKET, SO_TYPE, bytes, &len));
    // Lingering.
    struct linger linger = {1, 1};
    len = sizeof linger;
    TRY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len));
    printf("%d %d %u\n", linger.l_onoff, linger.l_linger, len);
    linger = (struct linger){5, 30};
    TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, 4));
    linger = (struct linger){0, 0};
    TRY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len));
    printf("%d %d %u\n", linger.l_onoff, linger.l_linger, len);
    // Time-outs.
    show_timeout(fd, SO_RCVTIMEO, "receive");
    show_timeout(fd, SO_SNDTIMEO, "send");
    set_timeout(fd, SO_RCVTIMEO, 5, 500000);
    set_timeout(fd, SO_SNDTIMEO, 7, 0);
    set_timeout(fd, SO_RCVTIMEO, 0, 1000000);
    set_timeout(fd, SO_RCVTIMEO, 0, -1);
    set_timeout(fd, SO_RCVTIMEO, -5, 0);
    set_timeout(fd, SO_RCVTIMEO, 0, 0);
    TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, bytes, 8));
    // The peer's name.
    int p[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    len = 2;
    TRY(getsockopt(p[0], SOL_SOCKET, SO_PEERNAME, bytes, &len));
    len = 3;
    TRY(getsockopt(p[0], SOL_SOCKET, SO_PEERNAME, bytes, &len));
    len = sizeof bytes;
    TRY(getsockopt(fd, SOL_SOCKET, SO_PEERNAME, bytes, &len));
    unsigned long cookie = 0, other = 0;
    len = sizeof cookie;
    TRY(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len));
    TRY(getsockopt(p[0], SOL_SOCKET, SO_COOKIE, &other, &len));
    CHECK(cookie != other && len == sizeof cookie);
    len = 4;
    TRY(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len));
    cookies();
    // Without privilege.
    MUST(syscall(SYS_setresuid, 1000, 1000, 1000));
    SET_OPTION(fd, SOL_SOCKET, SO_SNDBUFFORCE, 1000000);
    SET_OPTION(fd, SOL_SOCKET, SO_PRIORITY, 7);
    SET_OPTION(fd, SOL_SOCKET, SO_PRIORITY, 5);
    SET_OPTION(fd, SOL_SOCKET, SO_MARK, 1);
    SET_OPTION(fd, SOL_SOCKET, SO_DEBUG, 1);
    return 0;
}
