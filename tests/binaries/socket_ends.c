// What is left of a connection that its peer has reset, whoever finds out; a listener that is shut for sending; transfers of nothing, which
// ask nobody, and of more than there can be; and how much was never sent.
#include "socket_observe.h"
#include <sys/sendfile.h>

#ifndef SIOCOUTQNSD
#define SIOCOUTQNSD 0x894b
#endif

enum first { SEND, WRITE, SENDFILE, NAME, FIRSTS };

// The peer is closed with bytes that it has not read.
static void reset(enum first first, int is_shut, int file) {
    static const char *const names[] = {"send", "write", "sendfile", "name"};
    printf("== reset, %s first%s\n", names[first], is_shut ? ", shut" : "");
    char buffer[16];
    int client, server;
    off_t offset = 0;
    tcp_pair(AF_INET, &client, &server);
    MUST(send(client, "0123456789", 10, 0));
    if (is_shut)
        MUST(shutdown(client, SHUT_WR));
    MUST(recv(server, buffer, 4, MSG_WAITALL));
    close(server);
    await_events(client, POLLHUP);
    if (first == SEND)
        TRY(send(client, "x", 1, 0));
    if (first == WRITE)
        TRY(write(client, "x", 1));
    if (first == SENDFILE)
        TRY(sendfile(client, file, &offset, 5));
    show_names("client", client);
    TRY(send(client, "x", 1, 0));
    TRY(sendfile(client, file, &offset, 5));
    TRY(recv(client, buffer, sizeof buffer, 0));
    TRY(recv(client, buffer, sizeof buffer, 0));
    close(client);
}

static void listeners(void) {
    puts("== a listener");
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t len = sizeof name;
    int listener = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(listen(listener, 3));
    MUST(getsockname(listener, (void *)&name, &len));
    TRY(shutdown(listener, SHUT_WR));
    show_events("shut for sending", listener);
    int client = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    TRY(connect(client, (void *)&name, len));
    int server = (int)MUST(accept(listener, NULL, NULL));
    TRY(shutdown(listener, SHUT_RDWR));
    TRY(shutdown(listener, SHUT_WR));
    close(server);
    close(client);
    close(listener);
}

static void nothing(void) {
    puts("== nothing");
    // Low in the address space: from the stack, two gigabytes may reach beyond its end or not.
    static char buffer[16];
    struct iovec none[2] = {{buffer, 0}, {buffer + 1, 0}};
    int pair[2], tcp = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), local = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    TRY(writev(pair[0], none, 2));
    TRY(writev(pair[0], none, 0));
    TRY(recv(pair[1], buffer, sizeof buffer, MSG_DONTWAIT));
    TRY(write(pair[0], buffer, 0));
    TRY(recv(pair[1], buffer, sizeof buffer, MSG_DONTWAIT));
    MUST(send(pair[0], "abc", 3, 0));
    TRY(readv(pair[1], none, 2));
    TRY(recv(pair[1], buffer, sizeof buffer, MSG_DONTWAIT));
    for (int i = 0; i < 2; i++) {
        int fd = i ? local : tcp;
        TRY(writev(fd, none, 1));
        TRY(readv(fd, none, 1));
        TRY(write(fd, buffer, 0));
        TRY(read(fd, buffer, 0));
    }
    int folder = (int)MUST(open("/", O_RDONLY)), sink = (int)MUST(open("/dev/null", O_RDONLY));
    TRY(readv(folder, none, 1));
    TRY(writev(sink, none, 1));
    TRY(readv(-1, none, 1));
    puts("== too much");
    TRY(recv(pair[1], buffer, -1, MSG_DONTWAIT));
    TRY(recv(pair[1], buffer, (size_t)1 << 62, MSG_DONTWAIT));
    TRY(send(pair[0], buffer, -1, MSG_DONTWAIT));
    TRY(recv(pair[1], (void *)(1L << 47), 1, MSG_DONTWAIT));
    TRY(read(pair[1], buffer, -1));
    TRY(write(pair[1], buffer, -1));
}

static void unsent(void) {
    puts("== never sent");
    int client, server, count = -1;
    tcp_pair(AF_INET, &client, &server);
    TRY(ioctl(client, SIOCOUTQNSD, &count));
    printf("%d\n", count);
    close(server);
    close(client);
    client = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    TRY(ioctl(client, SIOCOUTQNSD, &count));
    MUST(listen(client, 1));
    TRY(ioctl(client, SIOCOUTQNSD, &count));
    client = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    TRY(ioctl(client, SIOCOUTQNSD, &count));
    client = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    TRY(ioctl(client, SIOCOUTQNSD, &count));
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    char folder[] = "/tmp/endsXXXXXX";
    MUST(mkdtemp(folder) ? 0 : -1);
    MUST(chdir(folder));
    int file = (int)MUST(open("file", O_CREAT | O_RDWR, 0600));
    MUST(write(file, "contents", 8));
    for (enum first first = SEND; first < FIRSTS; first++)
        for (int is_shut = 0; is_shut < 2; is_shut++)
            reset(first, is_shut, file);
    listeners();
    nothing();
    unsent();
    MUST(unlink("file"));
    MUST(rmdir(folder));
    return 0;
}
