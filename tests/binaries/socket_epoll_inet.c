// Edges of TCP sockets of one machine: a connection that is refused, and a peer that is gone.
#include "observe.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static int watcher;

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    MUST(epoll_ctl(watcher, EPOLL_CTL_ADD, fd, &event));
}

static void show(const char *what) {
    struct epoll_event event = {0};
    int count = MUST(epoll_wait(watcher, &event, 1, 100));
    printf("%s: %d, %x\n", what, count, count ? event.events : 0);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    watcher = MUST(epoll_create1(0));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    // Nobody listens at the port of a socket that is only bound.
    int bound = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(bind(bound, (struct sockaddr *)&address, sizeof address));
    MUST(getsockname(bound, (struct sockaddr *)&address, &len));
    int asking = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    watch(asking);
    show("a new socket");
    TRY(connect(asking, (struct sockaddr *)&address, len));
    show("refused");
    show("and nothing more");
    int error = 0;
    len = sizeof error;
    MUST(getsockopt(asking, SOL_SOCKET, SO_ERROR, &error, &len));
    printf("%s\n", strerror(error));
    MUST(close(asking));

    MUST(listen(bound, 5));
    len = sizeof address;
    asking = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(asking, (struct sockaddr *)&address, len));
    int answering = MUST(accept(bound, NULL, NULL));
    watch(asking);
    show("connected");
    MUST(close(answering));
    show("the peer closes");
    TRY(write(asking, "x", 1));
    show("written to nobody");
    show("and nothing more");
    TRY(write(asking, "x", 1));
    return 0;
}
