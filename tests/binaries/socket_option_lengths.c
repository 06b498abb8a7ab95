// getsockopt and setsockopt with too little and too much room, of options and levels that sockets have or have not.
#include "socket_observe.h"
#include <netinet/udp.h>

static const struct {
    const char *name;
    int domain, type;
} kinds[] = {{"TCP", AF_INET, SOCK_STREAM}, {"UDP", AF_INET, SOCK_DGRAM}, {"TCP6", AF_INET6, SOCK_STREAM}, {"UDP6", AF_INET6, SOCK_DGRAM}, {"Unix", AF_UNIX, SOCK_STREAM}};

static void get(const char *kind, int fd, int level, int option) {
    printf("%s level %d option %d:", kind, level, option);
    for (int room = 0; room <= 16; room = room < 2 ? room + 1 : room * 2) {
        unsigned char bytes[16];
        socklen_t len = (socklen_t)room;
        memset(bytes, 0x55, sizeof bytes);
        if (getsockopt(fd, level, option, bytes, &len) != 0) {
            printf(" %s", error_name(errno));
            continue;
        }
        printf(" %u(", len);
        for (unsigned i = 0; i < len; i++)
            printf("%02x", bytes[i]);
        printf(")");
    }
    printf("\n");
}

static void set(const char *kind, int domain, int type, int level, int option) {
    printf("set %s level %d option %d:", kind, level, option);
    for (int len = 0; len <= 8; len = len < 2 ? len + 1 : len * 2) {
        int fd = (int)MUST(socket(domain, type, 0)), value[2] = {1, 0};
        printf(" %s", setsockopt(fd, level, option, value, (socklen_t)len) != 0 ? error_name(errno) : "done");
        close(fd);
    }
    printf("\n");
}

int main(void) {
    static const int common[] = {SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_KEEPALIVE, SO_OOBINLINE, SO_LINGER, SO_PASSCRED, SO_PEERCRED,
                                 SO_RCVLOWAT, SO_RCVTIMEO, SO_ACCEPTCONN, SO_PROTOCOL, SO_DOMAIN, SO_MAX_PACING_RATE, 9999};
    static const int of_ip[] = {IP_TOS, IP_TTL, IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL, IP_RECVTOS, 9999};
    static const int of_tcp[] = {TCP_NODELAY, TCP_MAXSEG, TCP_CORK, TCP_KEEPIDLE, TCP_SYNCNT, TCP_LINGER2, TCP_DEFER_ACCEPT,
                                 TCP_QUICKACK, TCP_USER_TIMEOUT, TCP_NOTSENT_LOWAT, 9999};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *name = kinds[i].name;
        int domain = kinds[i].domain, type = kinds[i].type, fd = (int)MUST(socket(domain, type, 0));
        for (size_t j = 0; j < sizeof common / sizeof *common; j++)
            get(name, fd, SOL_SOCKET, common[j]);
        for (size_t j = 0; j < sizeof of_ip / sizeof *of_ip; j++)
            get(name, fd, IPPROTO_IP, of_ip[j]);
        for (size_t j = 0; j < sizeof of_tcp / sizeof *of_tcp; j++)
            get(name, fd, IPPROTO_TCP, of_tcp[j]);
        get(name, fd, 200, 1);
        set(name, domain, type, SOL_SOCKET, SO_PASSCRED);
        set(name, domain, type, SOL_SOCKET, SO_REUSEPORT);
        set(name, domain, type, SOL_SOCKET, SO_MAX_PACING_RATE);
        set(name, domain, type, SOL_SOCKET, 9999);
        set(name, domain, type, IPPROTO_IP, IP_TOS);
        set(name, domain, type, IPPROTO_IP, IP_MTU_DISCOVER);
        set(name, domain, type, IPPROTO_TCP, TCP_NODELAY);
        set(name, domain, type, IPPROTO_TCP, 9999);
        set(name, domain, type, 200, 1);
        close(fd);
    }
    return 0;
}
