// Errors of Internet sockets: families, protocols, addresses, ports.
#include "socket_observe.h"

static struct sockaddr_in in4(uint32_t ip, int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(ip)}};
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    TRY(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    TRY(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    TRY(socket(AF_INET, SOCK_SEQPACKET, 0));
    TRY(socket(AF_INET, SOCK_RDM, 0));
    TRY(socket(AF_INET, SOCK_STREAM, -1));
    TRY(socket(AF_INET, SOCK_STREAM, 300));
    TRY(socket(AF_INET, SOCK_RAW, 0));
    TRY(socket(AF_INET6, SOCK_RAW, 0));
    int pair[2];
    TRY(socketpair(AF_INET, SOCK_STREAM, 0, pair));
    int tcp = (int)TRY(socket(AF_INET, SOCK_STREAM, IPPROTO_TCP));
    OPTION(tcp, SOL_SOCKET, SO_TYPE);
    OPTION(tcp, SOL_SOCKET, SO_DOMAIN);
    OPTION(tcp, SOL_SOCKET, SO_PROTOCOL);
    struct sockaddr_in name = in4(0x0a000001, 0);
    TRY(bind(tcp, (void *)&name, sizeof name));
    name = in4(INADDR_LOOPBACK, 0);
    TRY(bind(tcp, (void *)&name, 15));
    name.sin_family = AF_UNIX;
    TRY(bind(tcp, (void *)&name, sizeof name));
    name.sin_family = AF_INET6;
    TRY(bind(tcp, (void *)&name, sizeof name));
    TRY(connect(tcp, (void *)&name, sizeof name));
    name.sin_family = AF_UNSPEC;
    TRY(bind(tcp, (void *)&name, sizeof name));
    name.sin_addr.s_addr = 0;
    TRY(bind(tcp, (void *)&name, sizeof name));
    show_names("bound", tcp);
    TRY(bind(tcp, (void *)&name, sizeof name));
    name = in4(INADDR_LOOPBACK, 1);
    TRY(connect(tcp, (void *)&name, 15));
    TRY(connect(tcp, (void *)&name, 1));
    TRY(connect(tcp, (void *)&name, sizeof name));
    name = in4(0xe0000001, 1);
    TRY(connect(tcp, (void *)&name, sizeof name));
    name = in4(0xffffffff, 1);
    TRY(connect(tcp, (void *)&name, sizeof name));
    close(tcp);
    // Ports.
    int one = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), two = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    name = in4(INADDR_LOOPBACK, 0);
    MUST(bind(one, (void *)&name, sizeof name));
    socklen_t len = sizeof name;
    MUST(getsockname(one, (void *)&name, &len));
    TRY(bind(two, (void *)&name, sizeof name));
    close(one);
    one = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    SET_OPTION(one, SOL_SOCKET, SO_REUSEADDR, 1);
    SET_OPTION(two, SOL_SOCKET, SO_REUSEADDR, 1);
    name = in4(INADDR_LOOPBACK, 0);
    MUST(bind(one, (void *)&name, sizeof name));
    MUST(getsockname(one, (void *)&name, &len));
    TRY(bind(two, (void *)&name, sizeof name));
    TRY(listen(one, 1));
    TRY(listen(two, 1));
    int three = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    SET_OPTION(three, SOL_SOCKET, SO_REUSEADDR, 1);
    TRY(bind(three, (void *)&name, sizeof name));
    close(three);
    three = (int)MUST(socket(AF_INET6, SOCK_STREAM, 0));
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = name.sin_port};
    TRY(bind(three, (void *)&any6, sizeof any6));
    SET_OPTION(three, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    TRY(bind(three, (void *)&any6, sizeof any6));
    SET_OPTION(three, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    TRY(bind(three, (void *)&any6, 23));
    close(one);
    close(two);
    close(three);
    one = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    two = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    SET_OPTION(one, SOL_SOCKET, SO_REUSEPORT, 1);
    SET_OPTION(two, SOL_SOCKET, SO_REUSEPORT, 1);
    name = in4(INADDR_LOOPBACK, 0);
    MUST(bind(one, (void *)&name, sizeof name));
    MUST(getsockname(one, (void *)&name, &len));
    TRY(bind(two, (void *)&name, sizeof name));
    TRY(listen(one, 1));
    TRY(listen(two, 1));
    // Listening without a name takes a port.
    three = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    TRY(listen(three, 1));
    show_names("listening", three);
    // Dual stack.
    int dual = (int)MUST(socket(AF_INET6, SOCK_STREAM, 0));
    OPTION(dual, IPPROTO_IPV6, IPV6_V6ONLY);
    any6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    MUST(bind(dual, (void *)&any6, sizeof any6));
    MUST(listen(dual, 5));
    socklen_t len6 = sizeof any6;
    MUST(getsockname(dual, (void *)&any6, &len6));
    int client = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    name = in4(INADDR_LOOPBACK, ntohs(any6.sin6_port));
    TRY(connect(client, (void *)&name, sizeof name));
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof peer;
    int server = (int)TRY(accept(dual, (void *)&peer, &peer_len));
    print_address("peer", &peer, peer_len);
    show_names("server", server);
    show_names("client", client);
    // A mapped address.
    int mapped = (int)MUST(socket(AF_INET6, SOCK_STREAM, 0));
    struct sockaddr_in6 mapped6 = {.sin6_family = AF_INET6, .sin6_port = any6.sin6_port};
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped6.sin6_addr);
    TRY(connect(mapped, (void *)&mapped6, sizeof mapped6));
    show_names("mapped", mapped);
    // Another address of this machine that nobody has given it.
    client = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    name = in4(INADDR_LOOPBACK + 0x10203, ntohs(any6.sin6_port));
    TRY(connect(client, (void *)&name, sizeof name));
    show_names("client of another address", client);
    // Without privilege.
    MUST(syscall(SYS_setresuid, 1000, 1000, 1000));
    TRY(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    TRY(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
    return 0;
}
