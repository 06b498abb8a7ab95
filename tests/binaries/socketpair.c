// Pairs of all kinds: data, ends, shutdown of halves, and what poll says.
#include "socket_observe.h"

static void show_pair(const char *label, int kind) {
    int p[2];
    char buffer[64];
    printf("-- %s\n", label);
    MUST(socketpair(AF_UNIX, kind, 0, p));
    show_names("pair", p[0]);
    OPTION(p[0], SOL_SOCKET, SO_TYPE);
    OPTION(p[0], SOL_SOCKET, SO_DOMAIN);
    OPTION(p[0], SOL_SOCKET, SO_PROTOCOL);
    show_events("empty", p[0]);
    TRY(write(p[0], "one", 3));
    TRY(send(p[0], "three", 5, 0));
    show_events("filled", p[1]);
    int available = -1;
    TRY(ioctl(p[1], FIONREAD, &available));
    printf("available %d\n", available);
    TRY(recv(p[1], buffer, 2, MSG_PEEK));
    TRY(recv(p[1], buffer, 2, MSG_PEEK | MSG_TRUNC));
    long count = TRY(recv(p[1], buffer, 2, 0));
    if (count > 0)
        print_bytes("first", buffer, (size_t)count);
    count = TRY(read(p[1], buffer, sizeof buffer));
    if (count > 0)
        print_bytes("then", buffer, (size_t)count);
    TRY(recv(p[1], buffer, sizeof buffer, MSG_DONTWAIT));
    TRY(send(p[1], "", 0, 0));
    TRY(recv(p[0], buffer, sizeof buffer, MSG_DONTWAIT));
    // Halves.
    TRY(send(p[0], "last", 4, 0));
    TRY(shutdown(p[0], SHUT_WR));
    show_events("own half closed", p[0]);
    show_events("other half closed", p[1]);
    TRY(send(p[0], "more", 4, MSG_NOSIGNAL));
    TRY(recv(p[1], buffer, sizeof buffer, 0));
    TRY(recv(p[1], buffer, sizeof buffer, MSG_DONTWAIT));
    TRY(send(p[1], "back", 4, 0));
    TRY(recv(p[0], buffer, sizeof buffer, 0));
    TRY(shutdown(p[1], SHUT_RD));
    TRY(shutdown(p[1], SHUT_RDWR));
    show_events("all closed", p[0]);
    TRY(send(p[1], "x", 1, MSG_NOSIGNAL));
    show_error("error", p[0]);
    close(p[0]);
    show_events("other gone", p[1]);
    TRY(recv(p[1], buffer, sizeof buffer, MSG_DONTWAIT));
    TRY(send(p[1], "x", 1, MSG_NOSIGNAL));
    close(p[1]);
    // Gone with something unread.
    MUST(socketpair(AF_UNIX, kind, 0, p));
    MUST(send(p[0], "unread", 6, 0));
    MUST(send(p[1], "answer", 6, 0));
    close(p[1]);
    show_events("reset", p[0]);
    TRY(recv(p[0], buffer, sizeof buffer, MSG_DONTWAIT));
    TRY(recv(p[0], buffer, sizeof buffer, MSG_DONTWAIT));
    TRY(recv(p[0], buffer, sizeof buffer, MSG_DONTWAIT));
    TRY(send(p[0], "x", 1, MSG_NOSIGNAL));
    show_names("left", p[0]);
    close(p[0]);
}

static volatile sig_atomic_t signals;
static void count_signal(int signal) { (void)signal, signals++; }

int main(void) {
    signal(SIGPIPE, count_signal);
    show_pair("stream", SOCK_STREAM);
    show_pair("dgram", SOCK_DGRAM);
    show_pair("seqpacket", SOCK_SEQPACKET);
    // Who raises SIGPIPE.
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int i = 0; i < 3; i++) {
        int p[2];
        struct iovec vector = {"x", 1};
        MUST(socketpair(AF_UNIX, kinds[i], 0, p));
        close(p[1]);
        signals = 0;
        TRY(write(p[0], "x", 1));
        TRY(send(p[0], "x", 1, 0));
        TRY(writev(p[0], &vector, 1));
        TRY(send(p[0], "x", 1, MSG_NOSIGNAL));
        printf("%d signals\n", (int)signals);
        close(p[0]);
    }
    // MSG_WAITALL finds what is there in several pieces, and stops at the end.
    int p[2];
    char buffer[16];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    MUST(write(p[0], "ab", 2));
    MUST(write(p[0], "cd", 2));
    TRY(recv(p[1], buffer, 4, MSG_WAITALL));
    MUST(write(p[0], "ef", 2));
    TRY(recv(p[1], buffer, 4, MSG_WAITALL | MSG_DONTWAIT));
    MUST(write(p[0], "gh", 2));
    close(p[0]);
    TRY(recv(p[1], buffer, 4, MSG_WAITALL));
    TRY(recv(p[1], buffer, 4, MSG_WAITALL));
    close(p[1]);
    // readv and writev.
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p));
    struct iovec out[2] = {{"hello ", 6}, {"world", 5}}, in[2] = {{buffer, 3}, {buffer + 8, 4}};
    memset(buffer, '.', sizeof buffer);
    TRY(writev(p[0], out, 2));
    TRY(readv(p[1], in, 2));
    print_bytes("buffers", buffer, sizeof buffer);
    return 0;
}
