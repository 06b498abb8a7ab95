// SO_LINGER: what it shows, resets without time, a close that has nothing to wait for. SO_REUSEADDR after bind.
#include "socket_observe.h"

static struct sockaddr_in name;
static int listener;

static void show_linger(int fd) {
    struct linger linger = {7, 7};
    socklen_t len = sizeof linger;
    TRY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len));
    // Linux cuts a very long time to one that depends on its clock.
    printf("on %d time %d, %u bytes\n", linger.l_onoff, linger.l_linger < 0 ? -1 : linger.l_linger, len);
}

static void set_linger(int fd, int is_on, int seconds) {
    struct linger linger = {is_on, seconds};
    TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    show_linger(fd);
}

static void end_with(const char *what, int is_on, int seconds, int kind) {
    printf("- %s\n", what);
    int client = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(client, (void *)&name, sizeof name));
    int server = (int)MUST(accept(listener, NULL, NULL));
    set_linger(client, is_on, seconds);
    MUST(send(client, "bytes", 5, 0));
    if (kind == 1)
        MUST(fcntl(client, F_SETFL, O_NONBLOCK));
    int copy = kind == 2 ? (int)MUST(dup(client)) : -1;
    TRY(close(client));
    char bytes[10];
    if (copy >= 0) {
        show_events("server, one descriptor left", server);
        TRY(close(copy));
    }
    show_events("server", server);
    TRY(recv(server, bytes, sizeof bytes, 0));
    TRY(recv(server, bytes, sizeof bytes, MSG_DONTWAIT));
    close(server);
}

static int bound(int reuses, int *result) {
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    if (reuses)
        SET_OPTION(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    *result = (int)TRY(bind(fd, (void *)&name, sizeof name));
    return fd;
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    listener = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    MUST(bind(listener, (void *)&name, sizeof name));
    socklen_t len = sizeof name;
    MUST(getsockname(listener, (void *)&name, &len));
    MUST(listen(listener, 5));
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    show_linger(fd);
    set_linger(fd, 1, 5);
    set_linger(fd, 0, 9);
    set_linger(fd, 5, 0);
    set_linger(fd, 1, -1);
    set_linger(fd, 0, 0);
    TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &fd, 4));
    close(fd);
    end_with("no linger", 0, 0, 0);
    end_with("linger", 1, 60, 0);
    end_with("linger in non-blocking mode", 1, 60, 1);
    end_with("linger with two descriptors", 1, 60, 2);
    end_with("a very long linger", 1, -1, 0);
    end_with("a reset", 1, 0, 0);
    end_with("a reset with two descriptors", 1, 0, 2);
    close(listener);
    printf("- reuse\n");
    // A port of its own: what the connections left in TIME-WAIT has the other.
    name.sin_port = 0;
    int result, one = bound(0, &result);
    MUST(getsockname(one, (void *)&name, &len));
    close(bound(1, &result));
    SET_OPTION(one, SOL_SOCKET, SO_REUSEADDR, 1);
    close(bound(0, &result));
    int two = bound(1, &result);
    MUST(listen(one, 1));
    close(bound(1, &result));
    close(one);
    close(bound(1, &result));
    close(two);
    return 0;
}
