// Netlink: neighbours that a program gives, asks for and forgets. On Linux in a network of its own.
#include "netlink.h"
#include <sched.h>

// Beyond what netlink.h has for all.
struct ndmsg { uint8_t ndm_family, ndm_pad1; uint16_t ndm_pad2; int32_t ndm_ifindex; uint16_t ndm_state; uint8_t ndm_flags, ndm_type; };
enum { RTM_NEWNEIGH = 28, RTM_DELNEIGH = 29, RTM_GETNEIGH = 30 };
enum { NDA_DST = 1, NDA_LLADDR = 2, REACHABLE = 2, STALE = 4, PERMANENT = 0x80, LOOPBACK = 1 };

static int netlink;

static const unsigned char one[6] = {2, 0, 0, 0, 0, 1}, two[6] = {2, 0, 0, 0, 0, 2};

static void show_neighbour(const struct nlmsghdr *header) {
    const struct ndmsg *body = (const void *)(header + 1);
    char text[INET6_ADDRSTRLEN];
    printf("  type %u family %u interface %d state %x flags %x type %u", header->nlmsg_type, body->ndm_family, body->ndm_ifindex,
           body->ndm_state, body->ndm_flags, body->ndm_type);
    const char *end = (const char *)header + header->nlmsg_len, *at = (const char *)(body + 1);
    while (at + sizeof(struct rtattr) <= end) {
        const struct rtattr *attribute = (const void *)at;
        const unsigned char *value = (const void *)(attribute + 1);
        if (attribute->rta_type == NDA_DST)
            printf(" %s", inet_ntop(body->ndm_family, value, text, sizeof text));
        if (attribute->rta_type == NDA_LLADDR)
            printf(" at %02x:%02x:%02x:%02x:%02x:%02x", value[0], value[1], value[2], value[3], value[4], value[5]);
        at += (attribute->rta_len + 3) & ~3;
    }
    printf("\n");
}

static void finish(const char *title) {
    char bytes[8192];
    MUST(send(netlink, &request, request.header.nlmsg_len, 0));
    printf("%s:", title);
    for (;;) {
        ssize_t len = MUST(recv(netlink, bytes, sizeof bytes, 0));
        for (char *at = bytes; at < bytes + len;) {
            struct nlmsghdr *header = (void *)at;
            at += (header->nlmsg_len + 3) & ~3u;
            if (header->nlmsg_type == NLMSG_DONE) {
                printf("  done\n");
                return;
            }
            if (header->nlmsg_type == NLMSG_ERROR) {
                struct nlmsgerr *answer = (void *)(header + 1);
                printf("  %s\n", answer->error ? error_name(-answer->error) : "done");
                return;
            }
            show_neighbour(header);
        }
        if (!(request.header.nlmsg_flags & NLM_F_ACK) && !(request.header.nlmsg_flags & NLM_F_DUMP))
            return;
    }
}

static void neighbour(const char *title, int type, int flags, int index, int state, const char *text, const unsigned char *mac) {
    int family = !text || strchr(text, '.') ? AF_INET : AF_INET6;
    struct ndmsg body = {.ndm_family = family, .ndm_ifindex = index, .ndm_state = state};
    char bytes[16];
    begin(type, flags, &body, sizeof body);
    if (text) {
        inet_pton(family, text, bytes);
        add(NDA_DST, bytes, family == AF_INET ? 4 : 16);
    }
    if (mac)
        add(NDA_LLADDR, mac, 6);
    finish(title);
}

static void list(const char *title, int family) {
    struct ndmsg body = {.ndm_family = family};
    begin(RTM_GETNEIGH, NLM_F_DUMP, &body, sizeof body);
    request.header.nlmsg_flags &= ~NLM_F_ACK;
    finish(title);
}

int main(void) {
    // A machine with one network has it for itself.
    if (unshare(CLONE_NEWNET) && errno != EINVAL)
        printf("no network of its own: %s\n", error_name(errno));
    netlink = (int)MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    enum { NEW = NLM_F_CREATE | NLM_F_EXCL, OTHER = NLM_F_CREATE | NLM_F_REPLACE };
    // Linux has one neighbour of IPv4 on lo, whatever its address.
    const char *first = "fd99::8", *second = "fd99::9";
    neighbour("not there", RTM_GETNEIGH, 0, LOOPBACK, 0, first, NULL);
    neighbour("change of none", RTM_NEWNEIGH, 0, LOOPBACK, PERMANENT, first, one);
    neighbour("new", RTM_NEWNEIGH, NEW, LOOPBACK, PERMANENT, first, one);
    neighbour("get", RTM_GETNEIGH, 0, LOOPBACK, 0, first, NULL);
    neighbour("new again", RTM_NEWNEIGH, NEW, LOOPBACK, PERMANENT, first, one);
    neighbour("other without replacing", RTM_NEWNEIGH, NLM_F_CREATE, LOOPBACK, PERMANENT, first, two);
    neighbour("get", RTM_GETNEIGH, 0, LOOPBACK, 0, first, NULL);
    neighbour("other", RTM_NEWNEIGH, OTHER, LOOPBACK, PERMANENT, first, two);
    list("all", AF_UNSPEC);
    list("IPv4", AF_INET);
    list("IPv6", AF_INET6);
    neighbour("second", RTM_NEWNEIGH, NEW, LOOPBACK, PERMANENT, second, one);
    neighbour("no interface", RTM_NEWNEIGH, NEW, 0, PERMANENT, "fd99::7", one);
    neighbour("no such interface", RTM_NEWNEIGH, NEW, 77, PERMANENT, "fd99::7", one);
    neighbour("no address", RTM_NEWNEIGH, NEW, LOOPBACK, PERMANENT, NULL, one);
    neighbour("ask without address", RTM_GETNEIGH, 0, LOOPBACK, 0, NULL, NULL);
    neighbour("ask without interface", RTM_GETNEIGH, 0, 0, 0, first, NULL);
    neighbour("ask for a state", RTM_GETNEIGH, 0, LOOPBACK, STALE, first, NULL);
    neighbour("forget without address", RTM_DELNEIGH, 0, LOOPBACK, 0, NULL, NULL);
    neighbour("forget", RTM_DELNEIGH, 0, LOOPBACK, 0, first, NULL);
    neighbour("forget again", RTM_DELNEIGH, 0, LOOPBACK, 0, first, NULL);
    neighbour("forget the second", RTM_DELNEIGH, 0, LOOPBACK, 0, second, NULL);
    struct ndmsg strange = {.ndm_family = AF_UNIX, .ndm_ifindex = LOOPBACK, .ndm_state = PERMANENT};
    begin(RTM_NEWNEIGH, NEW, &strange, sizeof strange);
    add(NDA_DST, one, 4);
    add(NDA_LLADDR, one, 6);
    finish("strange family");
    begin(RTM_NEWNEIGH, NEW, &strange, 8);
    finish("short");
    list("none", AF_UNSPEC);
    return 0;
}
