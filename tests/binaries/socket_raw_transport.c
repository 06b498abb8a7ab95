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

int main(void) {
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
