// Datagrams in the Unix domain: addresses, limits of queues, peers that come and go, what poll says of a full receiver.
#include "socket_observe.h"

static int make(void) { return (int)MUST(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)); }

int main(void) {
    struct sockaddr_un server_name, client_name, third_name;
    char buffer[256];
    static char big[300000];
    signal(SIGPIPE, SIG_IGN);
    fresh_dir("/tmp");
    socklen_t server_len = unix_path(&server_name, "server"), client_len = unix_path(&client_name, "client");
    int server = make(), client = make(), third = make();
    MUST(bind(server, (void *)&server_name, server_len));
    TRY(sendto(client, "anonymous", 9, 0, (void *)&server_name, server_len));
    receive_and_show("anonymous", server, 64, 0, 0);
    MUST(bind(client, (void *)&client_name, client_len));
    TRY(sendto(client, "named", 5, 0, (void *)&server_name, server_len));
    receive_and_show("named", server, 64, 0, 0);
    TRY(connect(client, (void *)&server_name, server_len));
    show_names("client", client);
    TRY(send(client, "connected", 9, 0));
    TRY(sendto(client, "to itself", 9, 0, (void *)&client_name, client_len));
    receive_and_show("connected", server, 64, 0, 0);
    receive_and_show("to itself", client, 64, 0, 0);
    // A connected receiver takes from its peer alone.
    TRY(connect(server, (void *)&client_name, client_len));
    TRY(sendto(third, "x", 1, 0, (void *)&server_name, server_len));
    TRY(connect(third, (void *)&server_name, server_len));
    client_name.sun_family = AF_UNSPEC;
    TRY(connect(server, (void *)&client_name, sizeof(sa_family_t)));
    show_names("server", server);
    TRY(connect(third, (void *)&server_name, server_len));
    // Empty messages.
    TRY(send(client, "", 0, 0));
    show_events("empty message", server);
    receive_and_show("empty", server, 64, 0, 0);
    // Too long ones.
    OPTION(client, SOL_SOCKET, SO_SNDBUF);
    TRY(send(client, big, 212992 - 32, 0));
    TRY(recv(server, big, sizeof big, 0));
    TRY(send(client, big, 212992 - 31, 0));
    TRY(send(client, big, sizeof big, 0));
    // Cut ones.
    MUST(send(client, "truncated", 9, 0));
    receive_and_show("cut", server, 4, 0, 0);
    MUST(send(client, "truncated", 9, 0));
    receive_and_show("cut, whole length", server, 4, 0, MSG_TRUNC);
    MUST(send(client, "peeked", 6, 0));
    receive_and_show("peek", server, 4, 0, MSG_PEEK);
    TRY(recv(server, NULL, 0, MSG_PEEK | MSG_TRUNC));
    receive_and_show("take", server, 64, 0, 0);
    // The queue of a receiver that is not connected back.
    int sent = 0;
    while (send(client, "message", 7, 0) == 7)
        sent++;
    printf("%d messages, then %s\n", sent, error_name(errno));
    show_events("sender", client);
    show_events("other sender", third);
    TRY(send(third, "x", 1, 0));
    TRY(recv(server, buffer, sizeof buffer, 0));
    show_events("sender", client);
    show_events("other sender", third);
    TRY(send(third, "third", 5, 0));
    show_events("sender", client);
    for (int i = 0; i < sent; i++)
        MUST(recv(server, buffer, sizeof buffer, 0));
    print_bytes("last", buffer, 5);
    TRY(recv(server, buffer, sizeof buffer, 0));
    // The sender's own buffer.
    int p[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p));
    sent = 0;
    while (send(p[0], big, 1024, 0) > 0)
        sent++;
    CHECK(sent > 11 && sent < 208);
    printf("then %s\n", error_name(errno));
    show_events("full pair", p[0]);
    int outstanding = 0, waiting = 0;
    MUST(ioctl(p[0], TIOCOUTQ, &outstanding));
    MUST(ioctl(p[1], FIONREAD, &waiting));
    CHECK(outstanding >= sent * 1024);
    printf("waiting %d\n", waiting);
    while (recv(p[1], big, sizeof big, 0) > 0)
        ;
    show_events("empty pair", p[0]);
    // The receiver goes.
    close(server);
    show_events("receiver gone", client);
    TRY(send(client, "x", 1, 0));
    TRY(send(client, "x", 1, 0));
    show_events("third", third);
    TRY(sendto(third, "x", 1, 0, (void *)&server_name, server_len));
    MUST(unlink("server"));
    server = make();
    MUST(bind(server, (void *)&server_name, server_len));
    TRY(sendto(client, "new", 3, 0, (void *)&server_name, server_len));
    receive_and_show("new receiver", server, 64, 0, 0);
    // Shut halves.
    MUST(connect(client, (void *)&server_name, server_len));
    TRY(shutdown(server, SHUT_RD));
    TRY(send(client, "x", 1, 0));
    TRY(shutdown(client, SHUT_WR));
    TRY(send(client, "x", 1, 0));
    show_events("shut", server);
    TRY(recv(server, buffer, 1, 0));
    // Both ends know each other: the one that goes away leaves an error behind at the other.
    int a = make(), b = make();
    socklen_t len = unix_path(&third_name, "a");
    MUST(bind(a, (void *)&third_name, len));
    MUST(connect(b, (void *)&third_name, len));
    len = unix_path(&third_name, "b");
    MUST(bind(b, (void *)&third_name, len));
    MUST(connect(a, (void *)&third_name, len));
    MUST(send(a, "lost", 4, 0));
    third_name.sun_family = AF_UNSPEC;
    TRY(connect(b, (void *)&third_name, sizeof(sa_family_t)));
    show_events("b", b);
    show_events("a", a);
    TRY(recv(b, buffer, sizeof buffer, 0));
    show_error("a", a);
    show_error("a", a);
    TRY(send(a, "x", 1, 0));
    return 0;
}
