// TCP Fast Open as a program sees it: sends that connect, connects that wait for a send, and the options of both.
#include "socket_observe.h"
#include <net/if.h>
#include <sched.h>

#ifndef TCP_FASTOPEN_CONNECT
#define TCP_FASTOPEN_CONNECT 30
#endif
#ifndef TCP_FASTOPEN_KEY
#define TCP_FASTOPEN_KEY 33
#endif
#ifndef TCP_FASTOPEN_NO_COOKIE
#define TCP_FASTOPEN_NO_COOKIE 34
#endif

static const socklen_t LEN = sizeof(struct sockaddr_in);

static int listen_at(struct sockaddr_in *name) {
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    MUST(bind(fd, (void *)name, sizeof *name));
    MUST(listen(fd, 8));
    socklen_t len = sizeof *name;
    MUST(getsockname(fd, (void *)name, &len));
    return fd;
}

static int stream(int flags) {
    return (int)MUST(socket(AF_INET, SOCK_STREAM | flags, 0));
}

static void accept_and_close(int listener) {
    close((int)MUST(accept(listener, NULL, NULL)));
}

static void accept_and_read(int listener, size_t len) {
    char bytes[64] = "";
    int fd = (int)MUST(accept(listener, NULL, NULL));
    ssize_t got = recv(fd, bytes, len, MSG_WAITALL);
    printf("accepted: %zd \"%s\"\n", got, bytes);
    close(fd);
}

static void set(int fd, int option) {
    int one = 1;
    MUST(setsockopt(fd, IPPROTO_TCP, option, &one, sizeof one));
}

static void show_state(int fd) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    printf("state %u\n", info.tcpi_state);
}

static void sends_that_connect(int listener, const struct sockaddr *to) {
    puts("== blocking");
    int fd = stream(0);
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, to, LEN));
    accept_and_read(listener, 5);
    TRY(sendto(fd, "again", 5, MSG_FASTOPEN, to, LEN));
    TRY(send(fd, "again", 5, MSG_FASTOPEN));
    close(fd);

    puts("== nonblocking");
    fd = stream(SOCK_NONBLOCK);
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, to, LEN));
    await_events(fd, POLLOUT);
    show_events("connected", fd);
    show_error("error", fd);
    TRY(send(fd, "xyz", 3, 0));
    accept_and_read(listener, 3);
    close(fd);
    fd = stream(SOCK_NONBLOCK);
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, to, LEN));
    await_events(fd, POLLOUT);
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, to, LEN));
    TRY(connect(fd, to, LEN));
    accept_and_close(listener);
    close(fd);

    puts("== other flags");
    fd = stream(0);
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN | MSG_DONTWAIT, to, LEN));
    accept_and_close(listener);
    close(fd);
    fd = stream(0);
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN | MSG_OOB, to, LEN));
    accept_and_read(listener, 4);
    close(fd);

    puts("== sendmsg");
    fd = stream(0);
    struct iovec vector = {"message", 7};
    struct msghdr message = {.msg_name = (void *)to, .msg_namelen = LEN, .msg_iov = &vector, .msg_iovlen = 1};
    TRY(sendmsg(fd, &message, MSG_FASTOPEN));
    accept_and_read(listener, 7);
    close(fd);

    puts("== nothing, and what cannot be read");
    fd = stream(0);
    TRY(sendto(fd, "", 0, MSG_FASTOPEN, to, LEN));
    accept_and_close(listener);
    close(fd);
    fd = stream(0);
    TRY(sendto(fd, (void *)8, 5, MSG_FASTOPEN, to, LEN));
    show_events("connected", fd);
    accept_and_close(listener);
    close(fd);

    puts("== much");
    static char many[60000];
    fd = stream(0);
    TRY(sendto(fd, many, sizeof many, MSG_FASTOPEN, to, LEN));
    accept_and_close(listener);
    close(fd);
}

static void addresses(int listener, const struct sockaddr *to) {
    puts("== addresses");
    int fd = stream(0);
    struct sockaddr_in other = *(const struct sockaddr_in *)to;
    TRY(send(fd, "hello", 5, MSG_FASTOPEN));
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, to, 1));
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, to, 2));
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, to, 8));
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, (void *)8, LEN));
    other.sin_family = AF_UNSPEC;
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, (void *)&other, LEN));
    other.sin_family = AF_INET6;
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, (void *)&other, LEN));
    close(fd);
    TRY(sendto(listener, "hello", 5, MSG_FASTOPEN, to, LEN));
    fd = stream(0);
    TRY(sendto(fd, "hello", 5, 0, to, LEN));
    show_events("not connected", fd);
    close(fd);
}

static void refusals(int listener, const struct sockaddr *to, const struct sockaddr *nobody) {
    puts("== nobody there");
    int fd = stream(0);
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, nobody, LEN));
    show_events("refused", fd);
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, nobody, LEN));
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, to, LEN));
    accept_and_read(listener, 5);
    close(fd);
    fd = stream(0);
    set(fd, TCP_FASTOPEN_NO_COOKIE);
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, nobody, LEN));
    show_events("refused", fd);
    close(fd);
    fd = stream(SOCK_NONBLOCK);
    set(fd, TCP_FASTOPEN_NO_COOKIE);
    TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, nobody, LEN));
    show_error("refused", fd);
    close(fd);
}

static void options(int listener, const struct sockaddr *to) {
    puts("== options");
    int fd = stream(0);
    OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN);
    OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT);
    OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE);
    SET_OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN, -1);
    SET_OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN, 5);
    OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN);
    SET_OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN, 100000);
    OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN);
    SET_OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 2);
    SET_OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, -1);
    SET_OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT);
    SET_OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 2);
    SET_OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1);
    OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE);
    close(fd);
    SET_OPTION(listener, IPPROTO_TCP, TCP_FASTOPEN, 7);
    OPTION(listener, IPPROTO_TCP, TCP_FASTOPEN);
    SET_OPTION(listener, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    SET_OPTION(listener, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1);
    fd = stream(0);
    MUST(connect(fd, to, LEN));
    int accepted = (int)MUST(accept(listener, NULL, NULL));
    OPTION(accepted, IPPROTO_TCP, TCP_FASTOPEN);
    OPTION(accepted, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE);
    SET_OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN, 7);
    SET_OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    SET_OPTION(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1);
    close(fd);
    close(accepted);
}

static void connects_that_wait(int listener, const struct sockaddr *to, const struct sockaddr *nobody) {
    puts("== a connect that asks");
    int fd = stream(0);
    set(fd, TCP_FASTOPEN_CONNECT);
    TRY(connect(fd, to, LEN));
    show_names("connected", fd);
    TRY(send(fd, "abc", 3, 0));
    accept_and_read(listener, 3);
    close(fd);
    fd = stream(SOCK_NONBLOCK);
    set(fd, TCP_FASTOPEN_CONNECT);
    TRY(connect(fd, to, LEN));
    await_events(fd, POLLOUT);
    TRY(send(fd, "abc", 3, 0));
    accept_and_read(listener, 3);
    close(fd);

    puts("== data without a cookie");
    fd = stream(SOCK_NONBLOCK);
    set(fd, TCP_FASTOPEN_NO_COOKIE);
    TRY(sendto(fd, "nocookie", 8, MSG_FASTOPEN, to, LEN));
    accept_and_read(listener, 8);
    close(fd);

    puts("== a connect that waits for a send");
    for (int i = 0; i < 3; i++) {
        char byte;
        fd = stream(i == 1 ? 0 : SOCK_NONBLOCK);
        set(fd, TCP_FASTOPEN_NO_COOKIE);
        set(fd, TCP_FASTOPEN_CONNECT);
        TRY(connect(fd, to, LEN));
        show_events("deferred", fd);
        show_names("deferred", fd);
        show_state(fd);
        TRY(recv(fd, &byte, 1, MSG_DONTWAIT));
        if (i != 1)
            TRY(connect(fd, to, LEN));
        TRY(i < 2 ? send(fd, "abc", 3, 0) : write(fd, "abc", 3));
        await_events(fd, POLLOUT);
        show_state(fd);
        accept_and_read(listener, 3);
        close(fd);
    }
    fd = stream(0);
    set(fd, TCP_FASTOPEN_NO_COOKIE);
    set(fd, TCP_FASTOPEN_CONNECT);
    TRY(connect(fd, nobody, LEN));
    show_events("deferred", fd);
    TRY(send(fd, "abc", 3, 0));
    show_events("refused", fd);
    TRY(send(fd, "abc", 3, 0));
    TRY(connect(fd, to, LEN));
    show_events("deferred", fd);
    TRY(shutdown(fd, SHUT_WR));
    show_events("shut", fd);
    close(fd);
    fd = stream(0);
    set(fd, TCP_FASTOPEN_NO_COOKIE);
    set(fd, TCP_FASTOPEN_CONNECT);
    TRY(connect(fd, to, LEN));
    close(fd);
}

static void show_key(int fd, socklen_t room) {
    unsigned char key[40] = {0};
    socklen_t len = room;
    TRY(getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, &len));
    printf("%u of %u bytes: %02x %02x\n", len, room, key[0], key[16]);
}

static void keys(void) {
    puts("== keys");
    unsigned char key[40];
    int fd = stream(0);
    for (int i = 0; i < 40; i++)
        key[i] = (unsigned char)(100 + i);
    show_key(fd, 40);
    static const socklen_t lens[] = {0, 4, 15, 17, 31, 33, 40, 16, 32};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++)
        TRY(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, lens[i]));
    show_key(fd, 40);
    show_key(fd, 20);
    show_key(fd, 0);
    TRY(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key + 1, 16));
    show_key(fd, 40);
    close(fd);
}

// The keys of all listeners that have none of their own: what is taken of what is written, and how they are shown.
static void machine_keys(void) {
    puts("== the machine's keys");
    static const char path[] = "/proc/sys/net/ipv4/tcp_fastopen_key";
    static const char *const texts[] = {
        "1-2-3-4\n", "00000001-0000abcd-ffffffff-DEADbeef,5-6-7-8", "", "\n", "xx", "1-2-3", "1-2-3-4-5", "1-2-3-4,5", "1-2-3-4,",
        "1-2-3-4,5-6-7-8,9-a-b-c", " 1-\t2-3-4 ", "1 -2-3-4", "1--2-3-4", "+1-2-3-4", "-1-2-3-4", "0x1-0X2-0x-4", "0xg-2-3-4",
        "1-2-3-4junk", "100000001-2-3-4", "1-2-3-4\n,5-6-7-8", "1-2-3-4 , 5-6-7-8",
        "1-2-3-4,                                                          5-6-7-8",
        "1-2-3-4,                                                            5-6-7-8",
    };
    char shown[100];
    struct stat status;
    MUST(stat(path, &status));
    int fd = (int)MUST(open(path, O_RDWR));
    printf("mode %o\n", status.st_mode);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        long result = pwrite(fd, texts[i], strlen(texts[i]), 0);
        long len = MUST(pread(fd, shown, sizeof shown, 0));
        printf("%zu: %s, %.*s", i, result < 0 ? error_name(errno) : "done", (int)len, shown);
    }
    close(fd);
}

// Who takes data with the first segment: on Linux in a network of its own, which is set to that.
static void server(void) {
    puts("== a server");
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    unshare(CLONE_NEWNET);
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    ioctl(fd, SIOCSIFFLAGS, &loopback);
    close(fd);
    fd = (int)MUST(open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY));
    MUST(write(fd, "3", 1));
    close(fd);
    machine_keys();
    struct sockaddr_in name;
    int listener = listen_at(&name), some = 5, seconds = 30;
    MUST(setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, &some, sizeof some));
    for (int i = 0; i < 4; i++) {
        if (i == 3)
            MUST(setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds));
        fd = stream(i == 0 ? 0 : SOCK_NONBLOCK);
        TRY(sendto(fd, "hello", 5, MSG_FASTOPEN, (void *)&name, LEN));
        await_events(listener, POLLIN);
        accept_and_read(listener, 5);
        close(fd);
    }
    close(listener);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in name, nobody;
    int listener = listen_at(&name);
    close(listen_at(&nobody));
    sends_that_connect(listener, (void *)&name);
    addresses(listener, (void *)&name);
    refusals(listener, (void *)&name, (void *)&nobody);
    connects_that_wait(listener, (void *)&name, (void *)&nobody);
    options(listener, (void *)&name);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    TRY(accept(listener, NULL, NULL));
    keys();
    server();
    return 0;
}
