// Sockets in epoll, level- and edge-triggered.
#include "socket_observe.h"
#include <sys/epoll.h>

static int epoll;

static void show(const char *label) {
    struct epoll_event events[8];
    int count = epoll_wait(epoll, events, 8, 0);
    printf("%s: %d", label, count);
    for (int i = 0; i < count; i++)
        printf(" [%d%s%s%s%s%s]", events[i].data.fd, events[i].events & EPOLLIN ? " in" : "",
               events[i].events & EPOLLOUT ? " out" : "", events[i].events & EPOLLRDHUP ? " rdhup" : "",
               events[i].events & EPOLLHUP ? " hup" : "", events[i].events & EPOLLERR ? " err" : "");
    printf("\n");
}

static void watch(int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

static void run(uint32_t mode, const char *label) {
    int p[2];
    char buffer[64];
    static char big[300000];
    printf("-- %s\n", label);
    epoll = (int)MUST(epoll_create1(0));
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p));
    watch(p[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | mode);
    show("fresh");
    show("again");
    MUST(write(p[1], "abc", 3));
    show("data");
    show("again");
    MUST(write(p[1], "def", 3));
    show("more data");
    MUST(read(p[0], buffer, 2));
    show("some read");
    MUST(read(p[0], buffer, sizeof buffer));
    show("all read");
    while (write(p[0], big, 4096) > 0)
        ;
    show("full");
    MUST(read(p[1], buffer, 16));
    show("a little room");
    while (read(p[1], big, sizeof big) > 0)
        ;
    show("room");
    MUST(shutdown(p[1], SHUT_WR));
    show("half closed");
    show("again");
    close(p[1]);
    show("closed");
    show("again");
    close(p[0]);
    show("gone");
    // A listener.
    struct sockaddr_un name;
    socklen_t len = unix_abstract(&name, label);
    int listener = (int)MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    MUST(bind(listener, (void *)&name, len));
    watch(listener, EPOLLIN | EPOLLOUT | mode);
    show("bound");
    MUST(listen(listener, 5));
    show("listening");
    int clients[2];
    for (int i = 0; i < 2; i++) {
        clients[i] = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
        MUST(connect(clients[i], (void *)&name, len));
        show("connected");
    }
    int server = (int)MUST(accept(listener, NULL, NULL));
    show("one accepted");
    close(server);
    server = (int)MUST(accept(listener, NULL, NULL));
    show("both accepted");
    close(server);
    close(listener);
    close(clients[0]);
    close(clients[1]);
    close(epoll);
}

int main(void) {
    run(0, "level");
    run(EPOLLET, "edge");
    run(EPOLLONESHOT, "once");
    return 0;
}
