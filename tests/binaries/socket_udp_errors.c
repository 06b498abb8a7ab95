//@ cpus: 1 2 4
// The error that a datagram to this machine causes is there when send returns: not later, not for the next socket, and each time.
#include "socket_observe.h"

#define ROUNDS 150

static int early, unseen, twice, unquoted, extra;

// Whether the error queue has an entry.
static int takes_error(int fd) {
    char bytes[64];
    union {
        char bytes[512];
        struct cmsghdr align;
    } control;
    struct iovec vector = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    return recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) == 6;
}

static void round_trip(int domain, const void *name, socklen_t len, int level, int option) {
    char byte;
    int fd = (int)MUST(socket(domain, SOCK_DGRAM, 0));
    MUST(sendto(fd, "x", 1, 0, name, len));
    MUST(connect(fd, name, len));
    // The error of the first one, which had no peer, is nobody's.
    early += send(fd, "x", 1, 0) != 1;
    unseen += !(send(fd, "y", 1, 0) < 0 && errno == ECONNREFUSED);
    twice += !(recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    MUST(setsockopt(fd, level, option, &(int){1}, sizeof(int)));
    MUST(send(fd, "quoted", 6, 0));
    unquoted += !takes_error(fd);
    extra += takes_error(fd);
    close(fd);
}

int main(void) {
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(1), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    for (int i = 0; i < ROUNDS; i++) {
        round_trip(AF_INET, &four, sizeof four, IPPROTO_IP, IP_RECVERR);
        round_trip(AF_INET6, &six, sizeof six, IPPROTO_IPV6, IPV6_RECVERR);
    }
    printf("early %d unseen %d twice %d unquoted %d extra %d\n", early, unseen, twice, unquoted, extra);
    return 0;
}
