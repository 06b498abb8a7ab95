// Raw sockets of UDP: what they hear of datagrams, whether a socket takes these or none, and what filters them.
#include "socket_observe.h"

static struct sockaddr_in in4(uint32_t ip, int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(ip)}};
}

static int own_port, other_port;

// The next packet of this program; other programs of the machine may be heard too.
static void show(const char *label, int fd) {
    unsigned char bytes[2048];
    struct sockaddr_storage from;
    for (;;) {
        struct pollfd one = {fd, POLLIN, 0};
        if (MUST(poll(&one, 1, 2000)) == 0) {
            printf("%s: nothing\n", label);
            return;
        }
        socklen_t len = sizeof from;
        ssize_t got = MUST(recvfrom(fd, bytes, sizeof bytes, 0, (void *)&from, &len));
        int is_v6 = from.ss_family == AF_INET6;
        const unsigned char *udp = is_v6 ? bytes : bytes + (bytes[0] & 15) * 4;
        int to = udp[2] << 8 | udp[3];
        if (to != own_port && to != other_port)
            continue;
        printf("%s: %zd bytes, ", label, got);
        if (!is_v6)
            printf("version %d protocol %d ttl %d length %d from %d.%d.%d.%d to %d.%d.%d.%d, ", bytes[0] >> 4, bytes[9],
                   bytes[8], bytes[2] << 8 | bytes[3], bytes[12], bytes[13], bytes[14], bytes[15], bytes[16], bytes[17],
                   bytes[18], bytes[19]);
        printf("UDP of %d bytes to %s: %.*s\n", udp[4] << 8 | udp[5], to == own_port ? "a socket" : "nobody",
               (udp[4] << 8 | udp[5]) - 8, udp + 8);
        print_address("from", &from, len);
        return;
    }
}

// Two numbers of an option at once: what setting it answers, and what it is then.
static void set_and_show(int fd, int level, int option, int value) {
    printf("level %d ", level);
    set_option(fd, level, option, value, "option");
    show_option(fd, level, option, "option");
}

// A receive with the numbers in its ancillary data.
static void show_control(const char *label, int fd) {
    char bytes[64], control[256];
    struct iovec vector = {bytes, sizeof bytes};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    printf("%s: %zd bytes,", label, (ssize_t)MUST(recvmsg(fd, &message, 0)));
    for (struct cmsghdr *one = CMSG_FIRSTHDR(&message); one; one = CMSG_NXTHDR(&message, one)) {
        int number;
        memcpy(&number, CMSG_DATA(one), sizeof number);
        printf(" %d/%d of %zu", one->cmsg_level, one->cmsg_type, one->cmsg_len - CMSG_LEN(0));
        if (one->cmsg_len == CMSG_LEN(sizeof number))
            printf(" = %d", number);
    }
    printf("\n");
}

// The forms of RFC 2292, alone and beside those of RFC 3542.
static void old_forms(void) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = (int)MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    MUST(bind(fd, (void *)&name, sizeof name));
    socklen_t len = sizeof name;
    MUST(getsockname(fd, (void *)&name, &len));
    set_and_show(fd, IPPROTO_IPV6, IPV6_2292PKTINFO, 1);
    set_and_show(fd, IPPROTO_IPV6, IPV6_2292HOPLIMIT, 5);
    MUST(sendto(fd, "x", 1, 0, (void *)&name, len));
    show_control("old forms", fd);
    set_and_show(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set_and_show(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
    MUST(sendto(fd, "x", 1, 0, (void *)&name, len));
    show_control("both forms", fd);
    set_and_show(fd, IPPROTO_IPV6, IPV6_2292PKTINFO, 0);
    set_and_show(fd, IPPROTO_IPV6, IPV6_2292HOPLIMIT, 0);
    MUST(sendto(fd, "x", 1, 0, (void *)&name, len));
    show_control("new forms", fd);
    close(fd);
}

static void receive_bytes(int fd) {
    unsigned char bytes[32];
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0)
        printf("got: %s\n", error_name(errno));
    else
        print_bytes("got", bytes, (size_t)got);
}

// Checksums that the kernel fills in and looks at where the program says they are.
static void checksums(void) {
    enum { IPV6_CHECKSUM_AT = 7, UNASSIGNED = 253, SOL_RAW_LEVEL = 255 };
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int icmp = (int)MUST(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
    show_option(icmp, SOL_RAW_LEVEL, IPV6_CHECKSUM_AT, "of ICMP");
    static const int places[] = {-1, 3, 0, 2};
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        set_and_show(icmp, SOL_RAW_LEVEL, IPV6_CHECKSUM_AT, places[i]);
    set_and_show(icmp, IPPROTO_IPV6, IPV6_CHECKSUM_AT, 2);
    set_and_show(icmp, IPPROTO_IPV6, IPV6_2292HOPLIMIT, 1);
    uint32_t filter[8];
    memset(filter, 0xff, sizeof filter);
    filter[4] = ~2u;
    MUST(setsockopt(icmp, IPPROTO_ICMPV6, 1, filter, sizeof filter));
    unsigned char echo[16] = {128, 0, 0, 0, 0x12, 0x34};
    TRY(sendto(icmp, echo, sizeof echo, 0, (void *)&name, sizeof name));
    show_control("answer", icmp);
    close(icmp);

    int fd = (int)MUST(socket(AF_INET6, SOCK_RAW, UNASSIGNED)), plain = (int)MUST(socket(AF_INET6, SOCK_RAW, UNASSIGNED));
    show_option(fd, SOL_RAW_LEVEL, IPV6_CHECKSUM_AT, "of others");
    set_and_show(fd, IPPROTO_IPV6, IPV6_CHECKSUM_AT, 4);
    TRY(sendto(fd, "abcd??efghij", 12, 0, (void *)&name, sizeof name));
    receive_bytes(fd);
    receive_bytes(plain);
    TRY(sendto(fd, "abcd?", 5, 0, (void *)&name, sizeof name));
    TRY(sendto(fd, "abcd??", 6, 0, (void *)&name, sizeof name));
    receive_bytes(fd);
    receive_bytes(plain);
    // One that is wrong is only for who does not look.
    TRY(sendto(plain, "abcd??efghij", 12, 0, (void *)&name, sizeof name));
    receive_bytes(plain);
    receive_bytes(fd);
    set_and_show(fd, SOL_RAW_LEVEL, IPV6_CHECKSUM_AT, -1);
    TRY(sendto(fd, "abcd??efghij", 12, 0, (void *)&name, sizeof name));
    receive_bytes(fd);
    close(fd);
    close(plain);
    int other = (int)MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    set_and_show(other, SOL_RAW_LEVEL, IPV6_CHECKSUM_AT, 6);
    set_and_show(other, IPPROTO_IPV6, IPV6_CHECKSUM_AT, 6);
    close(other);
}

int main(void) {
    old_forms();
    checksums();
    int raw = (int)MUST(socket(AF_INET, SOCK_RAW, IPPROTO_UDP));
    int receiver = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0)), closed = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    int sender = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in name = in4(INADDR_LOOPBACK, 0), nobody = name;
    socklen_t len = sizeof name;
    MUST(bind(receiver, (void *)&name, sizeof name));
    MUST(getsockname(receiver, (void *)&name, &len));
    MUST(bind(closed, (void *)&nobody, sizeof nobody));
    MUST(getsockname(closed, (void *)&nobody, &len));
    close(closed);
    own_port = ntohs(name.sin_port);
    other_port = ntohs(nobody.sin_port);
    MUST(sendto(sender, "first", 5, 0, (void *)&name, sizeof name));
    show("heard", raw);
    char bytes[64];
    TRY(recv(receiver, bytes, sizeof bytes, 0));
    MUST(sendto(sender, "second", 6, 0, (void *)&nobody, sizeof nobody));
    show("heard", raw);
    // One that is bound to another address hears nothing.
    int bound = (int)MUST(socket(AF_INET, SOCK_RAW, IPPROTO_UDP));
    struct sockaddr_in another = in4(INADDR_LOOPBACK + 1, 0);
    TRY(bind(bound, (void *)&another, sizeof another));
    MUST(sendto(sender, "third", 5, 0, (void *)&name, sizeof name));
    show("heard", raw);
    TRY(recv(bound, bytes, sizeof bytes, MSG_DONTWAIT));
    TRY(recv(receiver, bytes, sizeof bytes, 0));
    close(bound);
    // What a raw socket sends is heard as well.
    unsigned char datagram[] = {0, 9, (unsigned char)(own_port >> 8), (unsigned char)own_port, 0, 12, 0, 0, 'r', 'a', 'w', '!'};
    TRY(sendto(raw, datagram, sizeof datagram, 0, (void *)&name, sizeof name));
    show("heard", raw);
    TRY(recv(receiver, bytes, sizeof bytes, 0));
    close(raw);
    MUST(sendto(sender, "fourth", 6, 0, (void *)&name, sizeof name));
    TRY(recv(receiver, bytes, sizeof bytes, 0));
    return 0;
}
