// Sockets as files whose owner and mode can change; the name that is left of an attempt to connect; a socket that is connected to itself; the
// address of all machines on the loopback network; and how many groups and sources a socket may name.
#include "socket_observe.h"
#include <fcntl.h>
#include <sys/stat.h>

static struct sockaddr_in at(uint32_t address, int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(address)};
}

static const uint32_t everybody = 0x7fffffff;

static void show_owner(int fd) {
    struct stat status;
    MUST(fstat(fd, &status));
    printf("mode %o, owner %u, group %u\n", status.st_mode, status.st_uid, status.st_gid);
}

static void as_file(int family, int type) {
    printf("== a file: family %d, type %d\n", family, type);
    int fd = (int)MUST(socket(family, type, 0));
    show_owner(fd);
    TRY(fchmod(fd, 0640));
    TRY(fchown(fd, 5, 6));
    show_owner(fd);
    TRY(fchown(fd, (uid_t)-1, 7));
    TRY(futimens(fd, NULL));
    TRY(ftruncate(fd, 0));
    show_owner(fd);
    close(fd);
}

static void show_name(int fd) {
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    MUST(getsockname(fd, (void *)&name, &len));
    printf("address %x, %s port\n", ntohl(name.sin_addr.s_addr), name.sin_port == 0 ? "no" : "a");
}

// Nobody listens on port 1.
static void refused(int is_bound, int is_first_send) {
    printf("== refused%s%s\n", is_bound ? ", bound" : "", is_first_send ? ", with a first send" : "");
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in own = at(INADDR_LOOPBACK, 0), other = at(INADDR_LOOPBACK, 1);
    if (is_bound)
        MUST(bind(fd, (void *)&own, sizeof own));
    show_name(fd);
    for (int attempt = 0; attempt < 2; attempt++) {
        if (is_first_send)
            TRY(sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (void *)&other, sizeof other));
        else
            TRY(connect(fd, (void *)&other, sizeof other));
        show_name(fd);
    }
    close(fd);
}

static void show_state(int fd) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    printf("state %d\n", info.tcpi_state);
}

static void to_itself(uint32_t bound, int is_nonblocking, int is_urgent, int how) {
    printf("== to itself, bound to %x%s%s\n", bound, is_nonblocking ? ", without blocking" : "", is_urgent ? ", urgent" : "");
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in own = at(bound, 0);
    socklen_t len = sizeof own;
    char buffer[16];
    MUST(bind(fd, (void *)&own, len));
    MUST(getsockname(fd, (void *)&own, &len));
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (is_nonblocking)
        MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
    TRY(connect(fd, (void *)&own, len));
    await_events(fd, POLLOUT);
    show_names("connected", fd);
    show_state(fd);
    TRY(connect(fd, (void *)&own, len));
    TRY(send(fd, "hello", 5, 0));
    show_events("sent", fd);
    TRY(recv(fd, buffer, sizeof buffer, 0));
    TRY(recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
    if (is_urgent) {
        TRY(send(fd, "x", 1, MSG_OOB));
        show_events("urgent", fd);
        TRY(recv(fd, buffer, 1, MSG_OOB));
        TRY(send(fd, "rest", 4, 0));
    }
    TRY(shutdown(fd, how));
    await_events(fd, POLLRDHUP);
    show_events("shut", fd);
    for (int i = 0; i < 2; i++)
        TRY(recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
    TRY(send(fd, "x", 1, MSG_NOSIGNAL));
    show_events("sent", fd);
    TRY(recv(fd, buffer, sizeof buffer, MSG_DONTWAIT));
    show_state(fd);
    TRY(shutdown(fd, SHUT_RDWR));
    show_names("ended", fd);
    show_events("ended", fd);
    close(fd);
}

static void all_machines(void) {
    puts("== all machines");
    int any = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0)), all = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    int one = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0)), from = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    int yes = 1, fds[] = {any, all, one};
    uint32_t addresses[] = {INADDR_ANY, everybody, INADDR_LOOPBACK};
    for (int i = 0; i < 3; i++) {
        struct sockaddr_in own = at(addresses[i], 7654);
        MUST(setsockopt(fds[i], SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
        TRY(bind(fds[i], (void *)&own, sizeof own));
    }
    struct sockaddr_in to = at(everybody, 7654);
    TRY(sendto(from, "abc", 3, 0, (void *)&to, sizeof to));
    TRY(connect(from, (void *)&to, sizeof to));
    MUST(setsockopt(from, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes));
    TRY(sendto(from, "abc", 3, 0, (void *)&to, sizeof to));
    for (int i = 0; i < 3; i++) {
        char buffer[8];
        struct sockaddr_in sender = {0};
        socklen_t len = sizeof sender;
        TRY(recvfrom(fds[i], buffer, sizeof buffer, MSG_DONTWAIT, (void *)&sender, &len));
        printf("from %x\n", ntohl(sender.sin_addr.s_addr));
    }
    TRY(connect(from, (void *)&to, sizeof to));
    show_name(from);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(from);
}

static void streams_to(const char *what, uint32_t address) {
    printf("== streams: %s\n", what);
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in own = at(address, 0), to = at(address, 9);
    TRY(bind(fd, (void *)&own, sizeof own));
    TRY(listen(fd, 1));
    close(fd);
    fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    TRY(connect(fd, (void *)&to, sizeof to));
    close(fd);
}

static void streams_to_a_group_of_v6(void) {
    puts("== streams: a group of IPv6");
    struct sockaddr_in6 group = {.sin6_family = AF_INET6, .sin6_scope_id = 1};
    group.sin6_addr = (struct in6_addr){.s6_addr = {0xff, 0x02, [15] = 1}};
    int fd = (int)MUST(socket(AF_INET6, SOCK_STREAM, 0));
    TRY(bind(fd, (void *)&group, sizeof group));
    close(fd);
}

static void limits(void) {
    puts("== limits");
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    int groups = 0, sources = 0;
    struct ip_mreqn group = {.imr_ifindex = 1};
    do {
        group.imr_multiaddr.s_addr = htonl(0xe1000001 + (uint32_t)groups);
    } while (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) == 0 && ++groups < 300);
    printf("%d groups, then %s\n", groups, error_name(errno));
    close(fd);
    fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct ip_mreq_source source = {.imr_multiaddr.s_addr = htonl(0xe1000001), .imr_interface.s_addr = htonl(INADDR_LOOPBACK)};
    do {
        source.imr_sourceaddr.s_addr = htonl(0x0a000001 + (uint32_t)sources);
    } while (setsockopt(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &source, sizeof source) == 0 && ++sources < 300);
    printf("%d sources, then %s\n", sources, error_name(errno));
    close(fd);
}

int main(void) {
    as_file(AF_INET, SOCK_STREAM);
    as_file(AF_INET6, SOCK_DGRAM);
    as_file(AF_UNIX, SOCK_STREAM);
    for (int is_bound = 0; is_bound < 2; is_bound++) {
        refused(is_bound, 0);
        refused(is_bound, 1);
    }
    to_itself(INADDR_LOOPBACK, 0, 0, SHUT_WR);
    to_itself(INADDR_LOOPBACK, 1, 0, SHUT_WR);
    to_itself(INADDR_LOOPBACK, 0, 1, SHUT_WR);
    to_itself(INADDR_ANY, 0, 0, SHUT_RD);
    all_machines();
    streams_to("all machines of loopback", everybody);
    streams_to("a group", 0xe0000001);
    streams_to("all machines", INADDR_BROADCAST);
    streams_to_a_group_of_v6();
    limits();
    return 0;
}
