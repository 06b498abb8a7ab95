// SO_PEEK_OFF of sockets of the Unix domain: looks that go on where the last one ended.
#include "socket_observe.h"

static void look(int fd, size_t len, int flags) {
    char bytes[64];
    memset(bytes, 0, sizeof bytes);
    ssize_t got = recv(fd, bytes, len, flags | MSG_DONTWAIT);
    if (got < 0)
        printf("%s of %zu: %s\n", flags & MSG_PEEK ? "look" : "read", len, error_name(errno));
    else
        printf("%s of %zu: %zd \"%s\"\n", flags & MSG_PEEK ? "look" : "read", len, got, bytes);
    OPTION(fd, SOL_SOCKET, SO_PEEK_OFF);
}

static void streams(void) {
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    OPTION(pair[0], SOL_SOCKET, SO_PEEK_OFF);
    MUST(send(pair[1], "abcdefgh", 8, 0));
    MUST(send(pair[1], "ijkl", 4, 0));
    look(pair[0], 3, MSG_PEEK);
    look(pair[0], 3, MSG_PEEK);
    SET_OPTION(pair[0], SOL_SOCKET, SO_PEEK_OFF, 0);
    look(pair[0], 3, MSG_PEEK);
    look(pair[0], 3, MSG_PEEK);
    look(pair[0], 4, 0);
    look(pair[0], 20, MSG_PEEK);
    look(pair[0], 20, MSG_PEEK);
    look(pair[0], 20, 0);
    SET_OPTION(pair[0], SOL_SOCKET, SO_PEEK_OFF, 5);
    MUST(send(pair[1], "mnopqrstuvw", 11, 0));
    look(pair[0], 2, MSG_PEEK);
    look(pair[0], 3, 0);
    look(pair[0], 20, MSG_PEEK);
    SET_OPTION(pair[0], SOL_SOCKET, SO_PEEK_OFF, 100);
    look(pair[0], 2, MSG_PEEK);
    SET_OPTION(pair[0], SOL_SOCKET, SO_PEEK_OFF, -1);
    look(pair[0], 2, MSG_PEEK);
    SET_OPTION(pair[0], SOL_SOCKET, SO_PEEK_OFF, 8);
    close(pair[1]);
    look(pair[0], 2, MSG_PEEK);
    look(pair[0], 20, 0);
    look(pair[0], 20, 0);
}

static void messages(int kind) {
    int pair[2];
    printf("kind %d\n", kind);
    MUST(socketpair(AF_UNIX, kind, 0, pair));
    MUST(send(pair[1], "first", 5, 0));
    MUST(send(pair[1], "second", 6, 0));
    MUST(send(pair[1], "third", 5, 0));
    look(pair[0], 20, MSG_PEEK);
    SET_OPTION(pair[0], SOL_SOCKET, SO_PEEK_OFF, 0);
    look(pair[0], 3, MSG_PEEK);
    look(pair[0], 20, MSG_PEEK);
    look(pair[0], 20, MSG_PEEK);
    look(pair[0], 20, 0);
    look(pair[0], 2, MSG_PEEK);
    look(pair[0], 2, MSG_PEEK | MSG_TRUNC);
    look(pair[0], 20, MSG_PEEK);
    look(pair[0], 20, MSG_PEEK);
    SET_OPTION(pair[0], SOL_SOCKET, SO_PEEK_OFF, 2);
    look(pair[0], 20, MSG_PEEK | MSG_TRUNC);
    look(pair[0], 20, 0);
    look(pair[0], 20, 0);
    look(pair[0], 20, 0);
}

int main(void) {
    streams();
    messages(SOCK_DGRAM);
    messages(SOCK_SEQPACKET);
    return 0;
}
