// UDP over loopback: names, bounds of datagrams, peers, errors from the network, options and ancillary data.
#include "socket_observe.h"
#include <netinet/udp.h>
#include <sys/ioctl.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static struct sockaddr_in at(const char *address, int port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, address, &name.sin_addr);
    return name;
}

static struct sockaddr_in6 at6(const char *address, int port) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    inet_pton(AF_INET6, address, &name.sin6_addr);
    return name;
}

#define NAME(name) (struct sockaddr *)&(name), sizeof(name)

static int bound(const char *address, struct sockaddr_in *name) {
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    *name = at(address, 0);
    MUST(bind(fd, NAME(*name)));
    socklen_t len = sizeof *name;
    MUST(getsockname(fd, (void *)name, &len));
    return fd;
}

static void names(void) {
    struct sockaddr_in any = at("0.0.0.0", 0), foreign = at("192.0.2.7", 0), local;
    struct sockaddr_in6 any6 = at6("::", 0), lost = at6("fe80::1", 0), mapped = at6("::ffff:127.0.0.1", 0);
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP));
    int six = (int)MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    show_names("fresh", fd);
    show_names("fresh six", six);
    TRY(bind(fd, NAME(foreign)));
    TRY(bind(fd, NAME(any6)));
    TRY(bind(six, NAME(any)));
    TRY(bind(six, NAME(lost)));
    TRY(bind(fd, NAME(any)));
    TRY(bind(fd, NAME(any)));
    show_names("bound", fd);
    TRY(bind(six, NAME(mapped)));
    show_names("mapped", six);
    TRY(listen(fd, 1));
    TRY(accept(fd, NULL, NULL));
    close(six);
    close(fd);
    int first = bound("127.0.0.1", &local);
    int second = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    TRY(bind(second, NAME(local)));
    any.sin_port = local.sin_port;
    TRY(bind(second, NAME(any)));
    SET_OPTION(second, SOL_SOCKET, SO_REUSEADDR, 1);
    TRY(bind(second, NAME(local)));
    SET_OPTION(first, SOL_SOCKET, SO_REUSEADDR, 1);
    TRY(bind(second, NAME(local)));
    close(first);
    close(second);
}

static void bounds(void) {
    struct sockaddr_in name;
    static char bytes[66000];
    int len = -1, server = bound("127.0.0.1", &name);
    int client = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    TRY(recv(server, bytes, 10, MSG_DONTWAIT));
    TRY(send(client, "x", 1, 0));
    TRY(sendto(client, "one", 3, 0, NAME(name)));
    TRY(sendto(client, "", 0, 0, NAME(name)));
    TRY(sendto(client, "three", 5, 0, NAME(name)));
    TRY(ioctl(server, FIONREAD, &len));
    printf("FIONREAD %d\n", len);
    show_events("server", server);
    receive_and_show("peek", server, 2, 0, MSG_PEEK);
    receive_and_show("whole length", server, 2, 0, MSG_TRUNC);
    receive_and_show("empty", server, 10, 0, 0);
    receive_and_show("three", server, 10, 0, 0);
    TRY(sendto(client, bytes, 65507, 0, NAME(name)));
    TRY(sendto(client, bytes, 65508, 0, NAME(name)));
    TRY(sendto(client, bytes, 66000, 0, NAME(name)));
    receive_and_show("longest", server, sizeof bytes, 0, 0);
    TRY(sendto(client, "out", 3, MSG_OOB, NAME(name)));
    TRY(recv(server, bytes, 10, MSG_OOB | MSG_DONTWAIT));
    TRY(recv(server, bytes, 10, MSG_ERRQUEUE));
    name.sin_port = 0;
    TRY(sendto(client, "x", 1, 0, NAME(name)));
    close(client);
    close(server);
}

static void peers(void) {
    struct sockaddr_in name, other;
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    char bytes[64];
    int server = bound("127.0.0.1", &name), stranger = bound("127.0.0.1", &other);
    int client = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    TRY(connect(client, NAME(name)));
    show_names("connected", client);
    TRY(send(client, "hello", 5, 0));
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    MUST(recvfrom(server, bytes, sizeof bytes, 0, (void *)&from, &len));
    MUST(sendto(stranger, "stranger", 8, 0, NAME(from)));
    TRY(recv(client, bytes, sizeof bytes, MSG_DONTWAIT));
    MUST(sendto(server, "friend", 6, 0, NAME(from)));
    TRY(recv(client, bytes, sizeof bytes, 0));
    TRY(sendto(client, "aside", 5, 0, NAME(other)));
    TRY(recv(stranger, bytes, sizeof bytes, 0));
    TRY(connect(client, &nobody, sizeof nobody));
    show_names("disconnected", client);
    TRY(send(client, "x", 1, 0));
    TRY(shutdown(client, SHUT_RDWR));
    show_events("shut", client);
    TRY(sendto(client, "x", 1, MSG_NOSIGNAL, NAME(name)));
    TRY(recv(client, bytes, sizeof bytes, 0));
    TRY(recv(client, bytes, sizeof bytes, MSG_DONTWAIT));
    close(client);
    close(stranger);
    close(server);
}

static void errors(int domain, struct sockaddr *name, socklen_t name_len, int level, int option) {
    char bytes[64];
    int fd = (int)MUST(socket(domain, SOCK_DGRAM, 0));
    // Without a connection nobody is told.
    MUST(sendto(fd, "x", 1, 0, name, name_len));
    TRY(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT));
    MUST(connect(fd, name, name_len));
    MUST(send(fd, "x", 1, 0));
    await_events(fd, POLLERR);
    show_events("refused", fd);
    TRY(send(fd, "y", 1, 0));
    TRY(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT));
    MUST(send(fd, "x", 1, 0));
    await_events(fd, POLLERR);
    show_error("refused again", fd);
    show_error("taken", fd);
    MUST(setsockopt(fd, level, option, &(int){1}, sizeof(int)));
    MUST(send(fd, "quoted", 6, 0));
    await_events(fd, POLLERR);
    receive_and_show("error queue", fd, sizeof bytes, 512, MSG_ERRQUEUE);
    receive_and_show("no more", fd, sizeof bytes, 512, MSG_ERRQUEUE);
    show_events("after", fd);
    close(fd);
}

static void options(void) {
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0)), six = (int)MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    OPTION(fd, IPPROTO_IP, IP_TTL);
    OPTION(fd, IPPROTO_IP, IP_TOS);
    OPTION(fd, IPPROTO_IP, IP_MTU_DISCOVER);
    OPTION(fd, IPPROTO_IP, IP_MTU);
    OPTION(fd, IPPROTO_IP, IP_MULTICAST_TTL);
    OPTION(fd, IPPROTO_IP, IP_MULTICAST_LOOP);
    OPTION(fd, IPPROTO_IP, IP_RECVERR);
    OPTION(fd, IPPROTO_IP, 9999);
    OPTION(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    OPTION(fd, IPPROTO_UDP, UDP_CORK);
    OPTION(fd, IPPROTO_UDP, 9999);
    static const int lifetimes[] = {0, 1, 255, 256, -1, -2};
    for (size_t i = 0; i < ARRAY_LEN(lifetimes); i++) {
        SET_OPTION(fd, IPPROTO_IP, IP_TTL, lifetimes[i]);
        SET_OPTION(fd, IPPROTO_IP, IP_MULTICAST_TTL, lifetimes[i]);
        SET_OPTION(six, IPPROTO_IPV6, IPV6_UNICAST_HOPS, lifetimes[i]);
        SET_OPTION(six, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, lifetimes[i]);
        SET_OPTION(six, IPPROTO_IPV6, IPV6_TCLASS, lifetimes[i]);
    }
    SET_OPTION(fd, IPPROTO_IP, IP_MTU_DISCOVER, 6);
    SET_OPTION(fd, IPPROTO_IP, 9999, 1);
    SET_OPTION(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    SET_OPTION(fd, IPPROTO_UDP, UDP_SEGMENT, 65536);
    SET_OPTION(fd, IPPROTO_UDP, UDP_SEGMENT, -1);
    SET_OPTION(fd, IPPROTO_UDP, 9999, 1);
    unsigned char byte = 77;
    socklen_t len = 1;
    TRY(setsockopt(fd, IPPROTO_IP, IP_TTL, &byte, 1));
    byte = 0;
    TRY(getsockopt(fd, IPPROTO_IP, IP_TTL, &byte, &len));
    printf("%u in %u bytes\n", byte, len);
    TRY(setsockopt(six, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &byte, 1));
    OPTION(six, IPPROTO_IPV6, IPV6_V6ONLY);
    OPTION(six, IPPROTO_IPV6, IPV6_UNICAST_HOPS);
    OPTION(six, IPPROTO_IPV6, IPV6_MULTICAST_HOPS);
    OPTION(six, IPPROTO_IPV6, IPV6_TCLASS);
    OPTION(six, IPPROTO_IP, IP_TTL);
    close(six);
    close(fd);
}

static void ancillary(void) {
    struct sockaddr_in name;
    int server = bound("127.0.0.1", &name), client = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    for (int option = IP_PKTINFO; option <= IP_RECVTOS; option++)
        if (option == IP_PKTINFO || option == IP_RECVTTL || option == IP_RECVTOS)
            MUST(setsockopt(server, IPPROTO_IP, option, &(int){1}, sizeof(int)));
    MUST(setsockopt(server, SOL_SOCKET, SO_TIMESTAMP, &(int){1}, sizeof(int)));
    MUST(sendto(client, "x", 1, 0, NAME(name)));
    receive_and_show("described", server, 10, 512, 0);
    MUST(sendto(client, "x", 1, 0, NAME(name)));
    receive_and_show("little room", server, 10, 40, 0);
    close(client);
    close(server);
}

static void corked_and_cut(void) {
    struct sockaddr_in name;
    char bytes[64];
    int server = bound("127.0.0.1", &name), client = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(connect(client, NAME(name)));
    TRY(send(client, "one", 3, MSG_MORE));
    TRY(recv(server, bytes, sizeof bytes, MSG_DONTWAIT));
    TRY(send(client, "two", 3, 0));
    TRY(recv(server, bytes, sizeof bytes, MSG_DONTWAIT));
    SET_OPTION(client, IPPROTO_UDP, UDP_CORK, 1);
    TRY(send(client, "three", 5, 0));
    TRY(send(client, "four", 4, 0));
    SET_OPTION(client, IPPROTO_UDP, UDP_CORK, 0);
    TRY(recv(server, bytes, sizeof bytes, MSG_DONTWAIT));
    SET_OPTION(client, IPPROTO_UDP, UDP_SEGMENT, 4);
    TRY(send(client, "0123456789", 10, 0));
    for (int i = 0; i < 4; i++)
        TRY(recv(server, bytes, sizeof bytes, MSG_DONTWAIT));
    close(client);
    close(server);
}

static void families(void) {
    struct sockaddr_in6 any = at6("::", 0), mapped;
    char bytes[64];
    int six = (int)MUST(socket(AF_INET6, SOCK_DGRAM, 0)), four = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(bind(six, NAME(any)));
    socklen_t len = sizeof any;
    MUST(getsockname(six, (void *)&any, &len));
    struct sockaddr_in name = at("127.0.0.1", 0);
    name.sin_port = any.sin6_port;
    TRY(sendto(four, "four", 4, 0, NAME(name)));
    len = sizeof mapped;
    TRY(recvfrom(six, bytes, sizeof bytes, 0, (void *)&mapped, &len));
    print_address("from", (void *)&mapped, len);
    TRY(sendto(six, "back", 4, 0, NAME(mapped)));
    TRY(recv(four, bytes, sizeof bytes, 0));
    SET_OPTION(six, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    close(six);
    six = (int)MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    SET_OPTION(six, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    TRY(sendto(six, "x", 1, 0, NAME(mapped)));
    TRY(connect(six, NAME(mapped)));
    close(four);
    close(six);
}

static void groups(void) {
    struct sockaddr_in any = at("0.0.0.0", 0), name;
    struct ip_mreq wanted = {.imr_interface.s_addr = htonl(INADDR_LOOPBACK)}, wrong = wanted;
    char bytes[64];
    inet_pton(AF_INET, "239.1.2.3", &wanted.imr_multiaddr);
    inet_pton(AF_INET, "10.1.2.3", &wrong.imr_multiaddr);
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0)), client = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(bind(fd, NAME(any)));
    socklen_t len = sizeof name;
    MUST(getsockname(fd, (void *)&name, &len));
    name.sin_addr = wanted.imr_multiaddr;
    TRY(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &wrong, sizeof wrong));
    TRY(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &wanted, 7));
    TRY(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &wanted, sizeof wanted));
    TRY(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &wanted, sizeof wanted));
    TRY(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &wanted, sizeof wanted));
    TRY(setsockopt(client, IPPROTO_IP, IP_MULTICAST_IF, &wanted.imr_interface, sizeof(struct in_addr)));
    TRY(sendto(client, "group", 5, 0, NAME(name)));
    TRY(recv(fd, bytes, sizeof bytes, 0));
    TRY(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &wanted, sizeof wanted));
    close(client);
    close(fd);
}

int main(void) {
    names();
    bounds();
    peers();
    struct sockaddr_in nobody = at("127.0.0.1", 1);
    struct sockaddr_in6 nobody6 = at6("::1", 1);
    errors(AF_INET, NAME(nobody), IPPROTO_IP, IP_RECVERR);
    errors(AF_INET6, NAME(nobody6), IPPROTO_IPV6, IPV6_RECVERR);
    options();
    ancillary();
    corked_and_cut();
    families();
    groups();
    return 0;
}
