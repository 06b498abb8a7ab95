// Says what becomes of the link of eth0, as netlink tells it, and ends when it has come back.
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct sockaddr_nl { sa_family_t family; unsigned short pad; uint32_t port, groups; };
struct message {
    uint32_t len;
    uint16_t type, flags;
    uint32_t number, port;
    unsigned char family, pad;
    uint16_t kind;
    int32_t index;
    uint32_t state, change;
};
enum { NEW_LINK = 16, LINK_GROUP = 1 };

int main(void) {
    struct sockaddr_nl name = {.family = AF_NETLINK, .groups = LINK_GROUP};
    int fd = socket(AF_NETLINK, SOCK_RAW, 0), other = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {.ifr_name = "eth0"};
    if (fd < 0 || other < 0 || bind(fd, (void *)&name, sizeof name) || ioctl(other, SIOCGIFFLAGS, &request))
        return 1;
    printf("ready, %s\n", request.ifr_flags & IFF_RUNNING ? "running" : "not running");
    fflush(stdout);
    int was_down = 0;
    for (;;) {
        struct message message;
        ssize_t got = recv(fd, &message, sizeof message, 0);
        if (got < (ssize_t)sizeof message)
            return 2;
        if (message.type != NEW_LINK || message.index != 2)
            continue;
        int is_up = (message.state & IFF_RUNNING) != 0;
        // What ioctl says can be newer than the news, but not once they have ended.
        printf("%s\n", is_up ? "running" : "not running");
        fflush(stdout);
        if (was_down && is_up)
            return ioctl(other, SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_RUNNING ? 0 : 3;
        was_down |= !is_up;
    }
}
