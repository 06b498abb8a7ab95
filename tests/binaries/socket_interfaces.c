// What there is to know of the loopback interface: ioctl, netlink, getifaddrs, /sys.
#include "socket_observe.h"
#include <ifaddrs.h>
#include <net/if.h>
#include <netpacket/packet.h>

// The headers of the kernel may not be there.
struct sockaddr_nl {
    sa_family_t nl_family;
    unsigned short nl_pad;
    uint32_t nl_pid, nl_groups;
};
struct nlmsghdr {
    uint32_t nlmsg_len;
    uint16_t nlmsg_type, nlmsg_flags;
    uint32_t nlmsg_seq, nlmsg_pid;
};
struct nlmsgerr {
    int error;
    struct nlmsghdr msg;
};
struct ifinfomsg {
    unsigned char ifi_family, ifi_padding;
    unsigned short ifi_type;
    int ifi_index;
    unsigned ifi_flags, ifi_change;
};
struct ifaddrmsg {
    uint8_t ifa_family, ifa_prefixlen, ifa_flags, ifa_scope;
    uint32_t ifa_index;
};
enum { NETLINK_ROUTE, NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLM_F_REQUEST = 1, NLM_F_ACK = 4, NLM_F_DUMP = 0x300 };
enum { RTM_GETLINK = 18, RTM_NEWADDR = 20, RTM_GETADDR = 22, RTM_BEYOND = 140, RT_SCOPE_HOST = 254 };
#define NLMSG_DATA(header) ((void *)((char *)(header) + sizeof(struct nlmsghdr)))
#define NLMSG_OK(header, left) \
    ((left) >= (long)sizeof(struct nlmsghdr) && (header)->nlmsg_len >= sizeof(struct nlmsghdr) && (long)(header)->nlmsg_len <= (left))
#define NLMSG_NEXT(header, left) \
    ((left) -= ((header)->nlmsg_len + 3) & ~3u, (struct nlmsghdr *)((char *)(header) + (((header)->nlmsg_len + 3) & ~3u)))

static struct ifreq request;

static struct ifreq *named(const char *name) {
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    return &request;
}

static void show_ioctls(int fd) {
    char text[64];
    printf("flags %s\n", ioctl(fd, SIOCGIFFLAGS, named("lo")) == 0 ? "known" : error_name(errno));
    CHECK((request.ifr_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_BROADCAST)) == (IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
    TRY(ioctl(fd, SIOCGIFINDEX, named("lo")));
    printf("index %d\n", request.ifr_ifindex);
    TRY(ioctl(fd, SIOCGIFMTU, named("lo")));
    printf("mtu %d\n", request.ifr_mtu);
    TRY(ioctl(fd, SIOCGIFHWADDR, named("lo")));
    printf("kind %d %02x\n", request.ifr_hwaddr.sa_family, request.ifr_hwaddr.sa_data[0]);
    static const struct {
        unsigned long command;
        const char *name;
    } addresses[] = {{SIOCGIFADDR, "address"}, {SIOCGIFNETMASK, "mask"}, {SIOCGIFBRDADDR, "broadcast"}, {SIOCGIFDSTADDR, "destination"}};
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        if (ioctl(fd, (int)addresses[i].command, named("lo")) == 0)
            printf("%s %s\n", addresses[i].name,
                   inet_ntop(AF_INET, &((struct sockaddr_in *)&request.ifr_addr)->sin_addr, text, sizeof text));
        else
            printf("%s: %s\n", addresses[i].name, error_name(errno));
    }
    TRY(ioctl(fd, SIOCGIFTXQLEN, named("lo")));
    printf("queue %d\n", request.ifr_qlen);
    TRY(ioctl(fd, SIOCGIFFLAGS, named("none")));
    TRY(ioctl(fd, SIOCGIFADDR, named("none")));
    memset(&request, 0, sizeof request);
    request.ifr_ifindex = 1;
    TRY(ioctl(fd, SIOCGIFNAME, &request));
    printf("name %s\n", request.ifr_name);
    request.ifr_ifindex = 12345;
    TRY(ioctl(fd, SIOCGIFNAME, &request));
    TRY(ioctl(fd, SIOCGIFFLAGS, 16L));
    struct ifreq all[16];
    struct ifconf list = {.ifc_len = sizeof all, .ifc_req = all};
    TRY(ioctl(fd, SIOCGIFCONF, &list));
    CHECK(list.ifc_len >= (int)sizeof(struct ifreq) && list.ifc_len % (int)sizeof(struct ifreq) == 0);
    int has_loopback = 0;
    for (int i = 0; i < list.ifc_len / (int)sizeof(struct ifreq); i++)
        has_loopback |= strcmp(all[i].ifr_name, "lo") == 0;
    CHECK(has_loopback);
    list.ifc_req = NULL;
    TRY(ioctl(fd, SIOCGIFCONF, &list));
    CHECK(list.ifc_len > 0);
    list = (struct ifconf){.ifc_len = 39, .ifc_req = all};
    TRY(ioctl(fd, SIOCGIFCONF, &list));
    printf("%d\n", list.ifc_len);
}

static void show_sys(const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/sys/class/net/lo/%s", name);
    show_file(path);
}

int main(void) {
    int fd = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    show_ioctls(fd);
    show_ioctls((int)MUST(socket(AF_INET, SOCK_STREAM, 0)));
    // The library's way, over netlink.
    struct ifaddrs *all = NULL;
    MUST(getifaddrs(&all));
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
        char text[64];
        if (strcmp(one->ifa_name, "lo") != 0 || !one->ifa_addr)
            continue;
        printf("lo family %d up %d", one->ifa_addr->sa_family, (one->ifa_flags & IFF_UP) != 0);
        if (one->ifa_addr->sa_family == AF_INET) {
            printf(" %s", inet_ntop(AF_INET, &((struct sockaddr_in *)one->ifa_addr)->sin_addr, text, sizeof text));
            printf(" mask %s", inet_ntop(AF_INET, &((struct sockaddr_in *)one->ifa_netmask)->sin_addr, text, sizeof text));
        } else if (one->ifa_addr->sa_family == AF_INET6) {
            printf(" %s", inet_ntop(AF_INET6, &((struct sockaddr_in6 *)one->ifa_addr)->sin6_addr, text, sizeof text));
            printf(" mask %s", inet_ntop(AF_INET6, &((struct sockaddr_in6 *)one->ifa_netmask)->sin6_addr, text, sizeof text));
        } else if (one->ifa_addr->sa_family == AF_PACKET) {
            const struct sockaddr_ll *link = (void *)one->ifa_addr;
            printf(" index %d kind %d len %d", link->sll_ifindex, link->sll_hatype, link->sll_halen);
        }
        printf("\n");
    }
    freeifaddrs(all);
    printf("%u\n", if_nametoindex("lo"));
    printf("%u\n", if_nametoindex("none"));
    char name[IF_NAMESIZE];
    printf("%s\n", if_indextoname(1, name) ? name : error_name(errno));
    // Netlink by hand.
    TRY(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE));
    TRY(socket(AF_NETLINK, SOCK_RAW, 77));
    int netlink = (int)MUST(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    struct sockaddr_nl own = {.nl_family = AF_NETLINK}, sender;
    socklen_t len = sizeof own;
    TRY(bind(netlink, (void *)&own, sizeof own));
    TRY(bind(netlink, (void *)&own, 5));
    TRY(getsockname(netlink, (void *)&own, &len));
    CHECK(len == sizeof own && own.nl_family == AF_NETLINK && own.nl_pid != 0 && own.nl_groups == 0);
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } ask = {{sizeof ask, RTM_GETLINK, NLM_F_REQUEST, 7, 0}, {.ifi_index = 1}};
    static union {
        char bytes[16384];
        struct nlmsghdr header;
    } answer;
    TRY(send(netlink, &ask, sizeof ask, 0));
    len = sizeof sender;
    CHECK(recvfrom(netlink, &answer, sizeof answer, 0, (void *)&sender, &len) > 100);
    printf("type %d seq %u sender %u\n", answer.header.nlmsg_type, answer.header.nlmsg_seq, sender.nl_pid);
    CHECK(answer.header.nlmsg_pid == own.nl_pid);
    ask.link.ifi_index = 4711;
    TRY(send(netlink, &ask, sizeof ask, 0));
    TRY(recv(netlink, &answer, sizeof answer, MSG_TRUNC));
    printf("type %d error %s\n", answer.header.nlmsg_type,
           error_name(-((struct nlmsgerr *)NLMSG_DATA(&answer.header))->error));
    ask.header.nlmsg_type = RTM_BEYOND;
    ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    TRY(send(netlink, &ask, sizeof ask, 0));
    TRY(recv(netlink, &answer, sizeof answer, 0));
    printf("type %d error %s\n", answer.header.nlmsg_type,
           error_name(-((struct nlmsgerr *)NLMSG_DATA(&answer.header))->error));
    ask.header.nlmsg_type = NLMSG_NOOP;
    TRY(send(netlink, &ask, sizeof ask, 0));
    TRY(recv(netlink, &answer, sizeof answer, 0));
    printf("type %d error %d flags %x\n", answer.header.nlmsg_type,
           ((struct nlmsgerr *)NLMSG_DATA(&answer.header))->error, answer.header.nlmsg_flags);
    // No request, nothing to answer.
    ask.header.nlmsg_flags = 0;
    TRY(send(netlink, &ask, sizeof ask, 0));
    TRY(recv(netlink, &answer, sizeof answer, MSG_DONTWAIT));
    show_events("nothing", netlink);
    // A list ends.
    ask.header.nlmsg_type = RTM_GETADDR;
    ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    TRY(send(netlink, &ask, sizeof ask, 0));
    int is_done = 0, loopbacks = 0;
    while (!is_done) {
        long got = MUST(recv(netlink, &answer, sizeof answer, 0));
        for (struct nlmsghdr *header = &answer.header; NLMSG_OK(header, got); header = NLMSG_NEXT(header, got)) {
            is_done |= header->nlmsg_type == NLMSG_DONE;
            struct ifaddrmsg *address = NLMSG_DATA(header);
            if (header->nlmsg_type == RTM_NEWADDR && address->ifa_index == 1 && address->ifa_family == AF_INET)
                loopbacks += address->ifa_prefixlen == 8 && address->ifa_scope == RT_SCOPE_HOST;
        }
    }
    printf("%d\n", loopbacks);
    TRY(shutdown(netlink, SHUT_RDWR));
    TRY(listen(netlink, 1));
    TRY(accept(netlink, NULL, NULL));
    // Without privilege nothing can be changed.
    MUST(syscall(SYS_setresuid, 1000, 1000, 1000));
    ask.header.nlmsg_type = RTM_NEWADDR;
    ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    TRY(send(netlink, &ask, sizeof ask, 0));
    TRY(recv(netlink, &answer, sizeof answer, 0));
    printf("type %d error %s\n", answer.header.nlmsg_type,
           error_name(-((struct nlmsgerr *)NLMSG_DATA(&answer.header))->error));
    TRY(ioctl(fd, SIOCSIFMTU, named("lo")));
    show_sys("address");
    show_sys("flags");
    show_sys("ifindex");
    show_sys("mtu");
    show_sys("operstate");
    show_sys("type");
    show_sys("addr_len");
    return 0;
}
