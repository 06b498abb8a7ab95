// Netlink: groups, names, and what a destination comes to.
#include "netlink.h"

// Beyond what netlink.h has for all.
enum { NETLINK_ADD_MEMBERSHIP = 1, NETLINK_DROP_MEMBERSHIP = 2,
       NETLINK_NO_ENOBUFS = 5, NETLINK_LIST_MEMBERSHIPS = 9, NETLINK_CAP_ACK = 10 };
enum { RTMGRP_LINK = 1, RTMGRP_IPV4_IFADDR = 0x10, RTMGRP_IPV4_ROUTE = 0x40, RTNLGRP_LINK = 1, RTNLGRP_IPV6_IFADDR = 9 };
enum { RTM_GETROUTE = 26, RTM_F_CLONED = 0x200 };
enum { RTA_DST = 1, RTA_OIF = 4, RTA_GATEWAY = 5, RTA_PREFSRC = 7, RTA_TABLE = 15 };
#define ALIGNED(len) (((len) + 3) & ~3)

static void show_name(int fd) {
    struct sockaddr_nl name;
    socklen_t len = sizeof name;
    TRY(getsockname(fd, (void *)&name, &len));
    printf("%u bytes, family %u, port %s, groups %#x\n", len, name.nl_family, name.nl_pid ? "set" : "0", name.nl_groups);
}

static void show_memberships(int fd) {
    unsigned words[4] = {0};
    socklen_t len = sizeof words;
    TRY(getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, &len));
    printf("memberships %#x\n", words[0]);
}

static void ask(int fd, int family, const void *address, int len) {
    struct {
        struct nlmsghdr header;
        struct rtmsg route;
        char attributes[64];
    } request = {.header = {.nlmsg_len = sizeof request.header + sizeof request.route, .nlmsg_type = RTM_GETROUTE,
                            .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = 7},
                 .route = {.rtm_family = family, .rtm_dst_len = len * 8}};
    struct rtattr *attribute = (void *)request.attributes;
    attribute->rta_type = RTA_DST;
    attribute->rta_len = sizeof *attribute + len;
    memcpy(attribute + 1, address, len);
    request.header.nlmsg_len += attribute->rta_len;
    MUST(send(fd, &request, request.header.nlmsg_len, 0));
    char bytes[8192];
    int got = (int)MUST(recv(fd, bytes, sizeof bytes, 0));
    struct nlmsghdr *answer = (void *)bytes;
    printf("answer of type %u, flags %#x, number %u\n", answer->nlmsg_type, answer->nlmsg_flags, answer->nlmsg_seq);
    CHECK((int)answer->nlmsg_len == got);
    if (answer->nlmsg_type == NLMSG_ERROR) {
        printf("%s\n", error_name(-((struct nlmsgerr *)(answer + 1))->error));
        return;
    }
    struct rtmsg *route = (void *)(answer + 1);
    printf("family %u length %u table %u type %u flags %#x scope %u\n", route->rtm_family, route->rtm_dst_len,
           route->rtm_table, route->rtm_type, route->rtm_flags & RTM_F_CLONED, route->rtm_scope);
    char text[INET6_ADDRSTRLEN];
    for (int kind = RTA_DST; kind <= RTA_TABLE; kind++) {
        for (char *place = (char *)(route + 1); place < bytes + got; place += ALIGNED(((struct rtattr *)(void *)place)->rta_len)) {
            struct rtattr *at = (void *)place;
            if (at->rta_type != kind)
                continue;
            if (kind == RTA_DST || kind == RTA_PREFSRC || kind == RTA_GATEWAY)
                printf("attribute %d: %s\n", kind, inet_ntop(family, at + 1, text, sizeof text));
            else if (kind == RTA_OIF || kind == RTA_TABLE)
                printf("attribute %d: %u\n", kind, *(unsigned *)(void *)(at + 1));
        }
    }
}

// Asks for what nobody knows, and shows how much of that the answer repeats.
static void ask_nonsense(int fd) {
    struct {
        struct nlmsghdr header;
        char body[20];
    } request = {.header = {.nlmsg_len = sizeof request, .nlmsg_type = 0x1000, .nlmsg_flags = NLM_F_REQUEST}};
    MUST(send(fd, &request, sizeof request, 0));
    char bytes[8192];
    long got = MUST(recv(fd, bytes, sizeof bytes, 0));
    struct nlmsghdr *answer = (void *)bytes;
    printf("nonsense: %ld bytes, type %u, flags %#x: %s\n", got, answer->nlmsg_type, answer->nlmsg_flags,
           error_name(-((struct nlmsgerr *)(answer + 1))->error));
}

int main(void) {
    TRY(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE));
    TRY(socket(AF_NETLINK, SOCK_RAW, 31));
    int fd = (int)MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    show_name(fd);
    show_memberships(fd);
    struct sockaddr_nl name = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR};
    TRY(bind(fd, (void *)&name, sizeof name));
    show_name(fd);
    show_memberships(fd);
    SET_OPTION(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV6_IFADDR);
    SET_OPTION(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 0);
    SET_OPTION(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 1000);
    SET_OPTION(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, -1);
    show_memberships(fd);
    SET_OPTION(fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, RTNLGRP_LINK);
    SET_OPTION(fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, RTNLGRP_LINK);
    show_memberships(fd);
    name.nl_groups = RTMGRP_IPV4_ROUTE;
    TRY(bind(fd, (void *)&name, sizeof name));
    show_name(fd);
    OPTION(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS);
    SET_OPTION(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
    OPTION(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS);
    show_events("nothing has changed", fd);
    close(fd);
    fd = (int)MUST(socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE));
    uint32_t address = htonl(INADDR_LOOPBACK);
    ask(fd, AF_INET, &address, 4);
    address = htonl(0x7f010203);
    ask(fd, AF_INET, &address, 4);
    struct in6_addr loopback = IN6ADDR_LOOPBACK_INIT;
    ask(fd, AF_INET6, &loopback, 16);
    ask_nonsense(fd);
    SET_OPTION(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
    ask_nonsense(fd);
    return 0;
}
