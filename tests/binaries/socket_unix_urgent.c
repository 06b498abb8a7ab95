// MSG_OOB on streams of the Unix domain: the byte apart from the stream, its mark, SO_OOBINLINE and POLLPRI.
#include "socket_observe.h"

static void put(int fd, const char *bytes, int flags) {
    ssize_t sent = send(fd, bytes, strlen(bytes), flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    printf("send%s \"%s\": ", flags & MSG_OOB ? " urgent" : "", bytes);
    if (sent < 0)
        printf("%s\n", error_name(errno));
    else
        printf("%zd\n", sent);
}

// Linux 6.18 goes on counting a byte that a read has dropped, so lengths are not shown where there was one.
static int shows_len = 1;

static void show(int fd) {
    int mark = -1, len = -1;
    struct pollfd poller = {.fd = fd, .events = POLLIN | POLLPRI};
    MUST(ioctl(fd, SIOCATMARK, &mark));
    MUST(ioctl(fd, FIONREAD, &len));
    MUST(poll(&poller, 1, 0));
    printf("mark %d,", mark);
    if (shows_len)
        printf(" %d bytes,", len);
    printf("%s%s%s%s\n", poller.revents & POLLIN ? " IN" : "",
           poller.revents & POLLPRI ? " PRI" : "", poller.revents & POLLHUP ? " HUP" : "",
           poller.revents & POLLERR ? " ERR" : "");
}

static void open_pair(int *pair, const char *title) {
    printf("-- %s\n", title);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
}

static void close_pair(int *pair) {
    close(pair[0]);
    close(pair[1]);
}

static void taken(void) {
    int pair[2];
    open_pair(pair, "taken apart from the stream");
    show(pair[0]);
    receive_now(pair[0], 1, MSG_OOB);
    put(pair[1], "hello", MSG_OOB);
    show(pair[0]);
    receive_now(pair[0], 1, MSG_OOB | MSG_PEEK);
    receive_now(pair[0], 10, MSG_OOB);
    show(pair[0]);
    receive_now(pair[0], 1, MSG_OOB);
    put(pair[1], "world", 0);
    receive_now(pair[0], 2, 0);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    close_pair(pair);
}

static void skipped(void) {
    int pair[2];
    open_pair(pair, "skipped when nobody takes it");
    shows_len = 0;
    put(pair[1], "abc", MSG_OOB);
    put(pair[1], "def", 0);
    receive_now(pair[0], 10, MSG_PEEK);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    receive_now(pair[0], 10, MSG_PEEK);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    put(pair[1], "z", MSG_OOB);
    show(pair[0]);
    receive_now(pair[0], 10, MSG_PEEK);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    receive_now(pair[0], 1, MSG_OOB);
    shows_len = 1;
    close_pair(pair);
}

static void replaced(void) {
    int pair[2];
    open_pair(pair, "a newer one takes its place");
    put(pair[1], "ab", MSG_OOB);
    put(pair[1], "cd", MSG_OOB);
    put(pair[1], "ef", 0);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    receive_now(pair[0], 1, MSG_OOB);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    open_pair(pair, "taken, and then a newer one");
    put(pair[1], "ab", MSG_OOB);
    receive_now(pair[0], 1, MSG_OOB);
    put(pair[1], "cd", MSG_OOB);
    put(pair[1], "ef", 0);
    show(pair[0]);
    receive_now(pair[0], 10, MSG_PEEK);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    receive_now(pair[0], 1, MSG_OOB);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    open_pair(pair, "two that are taken");
    put(pair[1], "ab", MSG_OOB);
    receive_now(pair[0], 1, MSG_OOB);
    put(pair[1], "cd", MSG_OOB);
    receive_now(pair[0], 1, MSG_OOB);
    put(pair[1], "ef", 0);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    receive_now(pair[0], 10, MSG_PEEK);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    open_pair(pair, "two with nothing between");
    put(pair[1], "a", MSG_OOB);
    receive_now(pair[0], 1, MSG_OOB);
    put(pair[1], "b", MSG_OOB);
    show(pair[0]);
    receive_now(pair[0], 1, MSG_OOB);
    show(pair[0]);
    receive_now(pair[0], 1, 0);
    show(pair[0]);
    close_pair(pair);
}

static void in_line(void) {
    int pair[2];
    open_pair(pair, "in line");
    SET_OPTION(pair[0], SOL_SOCKET, SO_OOBINLINE, 1);
    put(pair[1], "abc", MSG_OOB);
    put(pair[1], "def", 0);
    show(pair[0]);
    receive_now(pair[0], 1, MSG_OOB);
    receive_now(pair[0], 10, MSG_PEEK);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    receive_now(pair[0], 10, MSG_PEEK);
    receive_now(pair[0], 2, 0);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    put(pair[1], "g", MSG_OOB);
    SET_OPTION(pair[0], SOL_SOCKET, SO_OOBINLINE, 0);
    receive_now(pair[0], 1, MSG_OOB);
    show(pair[0]);
    close_pair(pair);
}

static void ends(void) {
    int pair[2];
    open_pair(pair, "the end behind it");
    shows_len = 0;
    put(pair[1], "abc", MSG_OOB);
    close(pair[1]);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    show(pair[0]);
    receive_now(pair[0], 10, 0);
    close(pair[0]);
    open_pair(pair, "closed when it was taken");
    shows_len = 1;
    put(pair[1], "c", MSG_OOB);
    receive_now(pair[0], 1, MSG_OOB);
    close(pair[0]);
    show(pair[1]);
    receive_now(pair[1], 10, 0);
    open_pair(pair, "closed when it was not");
    put(pair[1], "c", MSG_OOB);
    close(pair[0]);
    receive_now(pair[1], 10, 0);
    receive_now(pair[1], 10, 0);
    put(pair[1], "c", MSG_OOB);
}

static void refused(void) {
    int pair[2];
    open_pair(pair, "what is refused");
    put(pair[1], "", MSG_OOB);
    put(pair[1], "c", MSG_OOB);
    int got = (int)recv(pair[0], NULL, 0, MSG_OOB);
    printf("no room: %d %s\n", got, got < 0 ? error_name(errno) : "");
    show(pair[0]);
    put(pair[1], "d", MSG_OOB);
    got = (int)recv(pair[0], (void *)8, 1, MSG_OOB);
    printf("bad room: %d %s\n", got, got < 0 ? error_name(errno) : "");
    show(pair[0]);
    MUST(shutdown(pair[1], SHUT_WR));
    put(pair[1], "e", MSG_OOB);
    close_pair(pair);
    for (int kind = SOCK_DGRAM; kind <= SOCK_SEQPACKET; kind += SOCK_SEQPACKET - SOCK_DGRAM) {
        MUST(socketpair(AF_UNIX, kind, 0, pair));
        put(pair[1], "x", MSG_OOB);
        receive_now(pair[0], 1, MSG_OOB);
        int mark = -1;
        TRY(ioctl(pair[0], SIOCATMARK, &mark));
        close_pair(pair);
    }
    int alone = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    put(alone, "x", MSG_OOB);
    receive_now(alone, 1, MSG_OOB);
    show(alone);
    close(alone);
}

static int is_writable(int fd) {
    struct pollfd poller = {.fd = fd, .events = POLLOUT};
    MUST(poll(&poller, 1, 0));
    return poller.revents & POLLOUT;
}

// Bytes and urgent ones until there is no room: those that were taken take room, too, until they are passed.
static void floods(void) {
    int pair[2];
    open_pair(pair, "many");
    char bytes[4096];
    int rounds = 0;
    while (send(pair[1], "xy", 2, MSG_OOB | MSG_DONTWAIT) == 2) {
        if (recv(pair[0], bytes, 1, MSG_OOB) != 1 || *bytes != 'y')
            printf("round %d: another byte\n", rounds);
        rounds++;
    }
    printf("at last %s, and POLLOUT is %s\n", error_name(errno), is_writable(pair[1]) ? "on" : "off");
    ssize_t got, total = 0, reads = 0;
    while ((got = recv(pair[0], bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
        total += got;
        reads++;
    }
    // The last byte may have gone without its urgent one.
    printf("%s, then %s\n", total - rounds <= 1 && total - reads <= 1 ? "a read for each round" : "not all",
           error_name(errno));
    printf("POLLOUT is %s\n", is_writable(pair[1]) ? "on" : "off");
    show(pair[0]);
    close_pair(pair);
}

int main(void) {
    taken();
    skipped();
    replaced();
    in_line();
    ends();
    refused();
    floods();
    return 0;
}
