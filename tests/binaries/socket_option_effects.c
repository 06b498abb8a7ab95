// What options do beyond being kept: looks from an offset, lost packets, waiting bytes, original destinations, addresses of others.
#include "socket_observe.h"
#include <netinet/udp.h>

#ifndef TCP_INQ
#define TCP_INQ 36
#endif
#ifndef IP_ORIGDSTADDR
#define IP_ORIGDSTADDR 20
#endif
#ifndef IPV6_ORIGDSTADDR
#define IPV6_ORIGDSTADDR 74
#endif
#define IP_PROTOCOL_NUMBER 52
#define SO_BUF_LOCK_NUMBER 72

static void on(int fd, int level, int option) {
    MUST(setsockopt(fd, level, option, &(int){1}, sizeof(int)));
}

// A message with its ancillary data, of which numbers are shown.
static void receive_described(const char *label, int fd, size_t len, size_t control_len, int flags) {
    char bytes[256];
    union {
        char bytes[512];
        struct cmsghdr align;
    } control;
    struct iovec vector = {bytes, len};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = control_len};
    ssize_t got = recvmsg(fd, &message, flags | MSG_DONTWAIT);
    if (got < 0) {
        printf("%s: %s\n", label, error_name(errno));
        return;
    }
    printf("%s: %zd \"%.*s\" flags %x\n", label, got, (int)((size_t)got < len ? (size_t)got : len), bytes, message.msg_flags);
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        int value = 0;
        size_t data_len = header->cmsg_len - CMSG_LEN(0);
        memcpy(&value, CMSG_DATA(header), data_len < 4 ? data_len : 4);
        printf("  level %d type %d len %zu", header->cmsg_level, header->cmsg_type, data_len);
        if (data_len <= 4)
            printf(" value %d", value);
        printf("\n");
    }
}

static void look(int fd, size_t len, int flags) {
    char bytes[64] = "";
    ssize_t got = recv(fd, bytes, len, flags | MSG_DONTWAIT);
    printf("%s%s %zu: ", flags & MSG_PEEK ? "look" : "read", flags & MSG_TRUNC ? " truncated" : "", len);
    if (got < 0)
        printf("%s", error_name(errno));
    else
        printf("%zd \"%s\"", got, bytes);
    printf(" offset %d\n", get_option(fd, SOL_SOCKET, SO_PEEK_OFF));
}

static void peek_offsets_of_streams(void) {
    int client, server;
    tcp_pair(AF_INET, &client, &server);
    printf("offset of a stream %d\n", get_option(server, SOL_SOCKET, SO_PEEK_OFF));
    MUST(send(client, "0123456789", 10, 0));
    await_events(server, POLLIN);
    look(server, 3, MSG_PEEK);
    SET_OPTION(server, SOL_SOCKET, SO_PEEK_OFF, 2);
    look(server, 3, MSG_PEEK);
    look(server, 3, MSG_PEEK);
    look(server, 1, 0);
    look(server, 3, MSG_PEEK);
    look(server, 3, MSG_PEEK);
    look(server, 4, 0);
    look(server, 4, MSG_PEEK | MSG_TRUNC);
    SET_OPTION(server, SOL_SOCKET, SO_PEEK_OFF, -1);
    look(server, 2, MSG_PEEK);
    SET_OPTION(server, SOL_SOCKET, SO_PEEK_OFF, 100);
    look(server, 2, MSG_PEEK);
    close(client);
    await_events(server, POLLRDHUP);
    look(server, 2, MSG_PEEK);
    look(server, 60, 0);
    close(server);
}

static void peek_offsets_of_datagrams(void) {
    int sender, receiver;
    udp_pair(AF_INET, &sender, &receiver);
    MUST(send(sender, "first", 5, 0));
    MUST(send(sender, "second", 6, 0));
    SET_OPTION(receiver, SOL_SOCKET, SO_PEEK_OFF, 0);
    receive_described("look", receiver, 2, 0, MSG_PEEK);
    receive_described("look", receiver, 2, 0, MSG_PEEK);
    receive_described("look", receiver, 2, 0, MSG_PEEK);
    receive_described("look", receiver, 4, 0, MSG_PEEK);
    receive_described("look", receiver, 2, 0, MSG_PEEK);
    look(receiver, 10, MSG_PEEK);
    look(receiver, 10, 0);
    look(receiver, 10, MSG_PEEK);
    SET_OPTION(receiver, SOL_SOCKET, SO_PEEK_OFF, 1);
    receive_described("look", receiver, 5, 0, MSG_PEEK);
    SET_OPTION(receiver, SOL_SOCKET, SO_PEEK_OFF, 1);
    receive_described("whole length", receiver, 2, 0, MSG_PEEK | MSG_TRUNC);
    look(receiver, 10, MSG_PEEK);
    look(receiver, 10, 0);
    close(sender);
    close(receiver);
}

static void overflow(void) {
    int sender, receiver, received = 0;
    udp_pair(AF_INET, &sender, &receiver);
    static char bytes[1000];
    on(receiver, SOL_SOCKET, SO_RXQ_OVFL);
    MUST(setsockopt(receiver, SOL_SOCKET, SO_RCVBUF, &(int){8192}, sizeof(int)));
    for (int i = 0; i < 200; i++)
        MUST(send(sender, bytes, sizeof bytes, 0));
    while (recv(receiver, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        received++;
    CHECK(received > 0 && received < 200);
    // The next one tells of those before it.
    MUST(send(sender, "next", 4, 0));
    union {
        char bytes[64];
        struct cmsghdr header;
    } control;
    struct iovec vector = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    unsigned count = 0;
    TRY(recvmsg(receiver, &message, 0));
    printf("control %zu level %d type %d\n", (size_t)message.msg_controllen, control.header.cmsg_level, control.header.cmsg_type);
    memcpy(&count, CMSG_DATA(&control.header), sizeof count);
    CHECK(count == 200u - (unsigned)received);
    close(sender);
    close(receiver);
}

static void waiting_bytes(void) {
    int client, server;
    tcp_pair(AF_INET, &client, &server);
    on(server, IPPROTO_TCP, TCP_INQ);
    MUST(send(client, "0123456789", 10, 0));
    await_events(server, POLLIN);
    receive_described("three of ten", server, 3, 512, 0);
    receive_described("without room", server, 2, 0, 0);
    receive_described("a look", server, 2, 512, MSG_PEEK);
    receive_described("little room", server, 2, 18, 0);
    receive_described("rest", server, 10, 512, 0);
    receive_described("nothing", server, 10, 512, 0);
    MUST(send(client, "last", 4, 0));
    close(client);
    await_events(server, POLLRDHUP);
    receive_described("before the end", server, 2, 512, 0);
    receive_described("up to the end", server, 2, 512, 0);
    receive_described("the end", server, 2, 512, 0);
    close(server);
}

static void destinations(int domain, int level, int option) {
    int sender, receiver;
    udp_pair(domain, &sender, &receiver);
    on(receiver, level, option);
    MUST(send(sender, "x", 1, 0));
    union {
        char bytes[128];
        struct cmsghdr header;
    } control;
    struct sockaddr_storage own, told;
    socklen_t len = sizeof own;
    char byte;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memset(&own, 0, sizeof own);
    memset(&told, 0, sizeof told);
    TRY(recvmsg(receiver, &message, 0));
    size_t data_len = control.header.cmsg_len - CMSG_LEN(0);
    printf("level %d type %d len %zu\n", control.header.cmsg_level, control.header.cmsg_type, data_len);
    memcpy(&told, CMSG_DATA(&control.header), data_len);
    MUST(getsockname(receiver, (void *)&own, &len));
    CHECK(len == data_len && memcmp(&own, &told, len) == 0);
    print_address("destination", &told, (socklen_t)data_len);
    close(sender);
    close(receiver);
}

static void addresses(int type) {
    struct sockaddr_in foreign = {.sin_family = AF_INET}, here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    inet_pton(AF_INET, "192.0.2.7", &foreign.sin_addr);
    int fd = (int)MUST(socket(AF_INET, type, 0));
    TRY(bind(fd, (void *)&foreign, sizeof foreign));
    on(fd, IPPROTO_IP, IP_FREEBIND);
    TRY(bind(fd, (void *)&foreign, sizeof foreign));
    show_names("foreign", fd);
    close(fd);
    fd = (int)MUST(socket(AF_INET, type, 0));
    on(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    TRY(bind(fd, (void *)&here, sizeof here));
    show_names("without a port", fd);
    OPTION(fd, IPPROTO_IP, IP_PROTOCOL_NUMBER);
    if (type == SOCK_STREAM)
        TRY(listen(fd, 1));
    else
        TRY(connect(fd, (void *)&(struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = here.sin_addr}, sizeof here));
    show_names("with one", fd);
    socklen_t len = sizeof here;
    MUST(getsockname(fd, (void *)&here, &len));
    CHECK(get_option(fd, IPPROTO_IP, IP_PROTOCOL_NUMBER) == ntohs(here.sin_port));
    close(fd);
}

static void errors_as_priority(void) {
    struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    on(fd, IPPROTO_IP, IP_RECVERR);
    MUST(connect(fd, (void *)&nobody, sizeof nobody));
    MUST(send(fd, "x", 1, 0));
    show_events("an error", fd);
    on(fd, SOL_SOCKET, SO_SELECT_ERR_QUEUE);
    show_events("an error to be selected", fd);
    SET_OPTION(fd, IPPROTO_IP, IP_RECVERR, 0);
    show_error("still", fd);
    show_events("nothing waits", fd);
    close(fd);
}

static void buffers(void) {
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    SET_OPTION(fd, SOL_SOCKET, SO_RCVLOWAT, 1 << 20);
    OPTION(fd, SOL_SOCKET, SO_RCVLOWAT);
    SET_OPTION(fd, SOL_SOCKET, SO_RCVLOWAT, 1);
    OPTION(fd, SOL_SOCKET, SO_BUF_LOCK_NUMBER);
    SET_OPTION(fd, SOL_SOCKET, SO_SNDBUF, 10000);
    OPTION(fd, SOL_SOCKET, SO_BUF_LOCK_NUMBER);
    SET_OPTION(fd, SOL_SOCKET, SO_RCVBUF, 10000);
    OPTION(fd, SOL_SOCKET, SO_BUF_LOCK_NUMBER);
    SET_OPTION(fd, SOL_SOCKET, SO_BUF_LOCK_NUMBER, 2);
    OPTION(fd, SOL_SOCKET, SO_BUF_LOCK_NUMBER);
    SET_OPTION(fd, SOL_SOCKET, SO_RCVLOWAT, 1 << 30);
    OPTION(fd, SOL_SOCKET, SO_RCVLOWAT);
    close(fd);
    int client, server;
    tcp_pair(AF_INET6, &client, &server);
    SET_OPTION(server, SOL_SOCKET, SO_RCVLOWAT, 5);
    MUST(send(client, "1234", 4, 0));
    show_events("too little", server);
    look(server, 10, 0);
    MUST(send(client, "12345", 5, 0));
    await_events(server, POLLIN);
    show_events("enough", server);
    close(client);
    close(server);
}

int main(void) {
    peek_offsets_of_streams();
    peek_offsets_of_datagrams();
    overflow();
    waiting_bytes();
    destinations(AF_INET, IPPROTO_IP, IP_ORIGDSTADDR);
    destinations(AF_INET6, IPPROTO_IPV6, IPV6_ORIGDSTADDR);
    addresses(SOCK_STREAM);
    addresses(SOCK_DGRAM);
    errors_as_priority();
    buffers();
    return 0;
}
