// Netlink: addresses, links and routes that a program changes. On Linux in a network of its own.
#include "netlink.h"
#include <sched.h>

struct ifinfomsg { unsigned char ifi_family, ifi_padding; unsigned short ifi_type; int ifi_index; unsigned ifi_flags, ifi_change; };
struct ifaddrmsg { uint8_t ifa_family, ifa_prefixlen, ifa_flags, ifa_scope; uint32_t ifa_index; };
enum { RTM_NEWLINK = 16, RTM_NEWADDR = 20, RTM_DELADDR = 21, RTM_NEWROUTE = 24, RTM_DELROUTE = 25 };
enum { IFA_ADDRESS = 1, IFA_LOCAL = 2, IFLA_MTU = 4, RTA_DST = 1, RTA_OIF = 4, RTA_GATEWAY = 5, RTA_PRIORITY = 6, RTA_PREFSRC = 7 };
enum { UP = 1, NODAD = 2, LOOPBACK = 1, NEW = NLM_F_CREATE | NLM_F_EXCL, OTHER = NLM_F_CREATE | NLM_F_REPLACE };

static int netlink;

static void add_text(int type, int family, const char *text) {
    char bytes[16];
    if (text) {
        inet_pton(family, text, bytes);
        add(type, bytes, family == AF_INET ? 4 : 16);
    }
}

static void finish(const char *title) {
    char bytes[1024];
    MUST(send(netlink, &request, request.header.nlmsg_len, 0));
    MUST(recv(netlink, bytes, sizeof bytes, 0));
    struct nlmsgerr *answer = (void *)(bytes + sizeof(struct nlmsghdr));
    printf("%s: %s\n", title, answer->error ? error_name(-answer->error) : "done");
}

static void address(const char *title, int type, int flags, int index, const char *text, int len) {
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    // Without it Linux tries an address of IPv6 out for a moment, even on lo.
    struct ifaddrmsg body = {.ifa_family = family, .ifa_prefixlen = len, .ifa_flags = NODAD, .ifa_index = index};
    begin(type, flags, &body, sizeof body);
    add_text(IFA_LOCAL, family, text);
    add_text(IFA_ADDRESS, family, text);
    finish(title);
}

static void route(const char *title, int type, int flags, const char *to, int len, const char *via, int index, int metric) {
    int family = strchr(to, ':') ? AF_INET6 : AF_INET;
    int is_new = type == RTM_NEWROUTE;
    struct rtmsg body = {.rtm_family = family, .rtm_dst_len = len, .rtm_table = 254, .rtm_protocol = is_new ? 3 : 0,
                         .rtm_scope = !is_new ? 255 : via || family == AF_INET6 ? 0 : 253, .rtm_type = is_new};
    begin(type, flags, &body, sizeof body);
    add_text(RTA_DST, family, to);
    add_text(RTA_GATEWAY, family, via);
    if (index)
        add(RTA_OIF, &index, sizeof index);
    if (metric)
        add(RTA_PRIORITY, &metric, sizeof metric);
    finish(title);
}

static void set_link(const char *title, int index, unsigned flags, unsigned change, int mtu) {
    struct ifinfomsg body = {.ifi_index = index, .ifi_flags = flags, .ifi_change = change};
    begin(RTM_NEWLINK, 0, &body, sizeof body);
    if (mtu)
        add(IFLA_MTU, &mtu, sizeof mtu);
    finish(title);
}

static void show_bind(const char *text) {
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    int fd = MUST(socket(family, SOCK_DGRAM, 0));
    struct sockaddr_in name = {.sin_family = AF_INET};
    struct sockaddr_in6 name6 = {.sin6_family = AF_INET6};
    inet_pton(family, text, family == AF_INET ? (void *)&name.sin_addr : (void *)&name6.sin6_addr);
    int result = family == AF_INET ? bind(fd, (void *)&name, sizeof name) : bind(fd, (void *)&name6, sizeof name6);
    printf("bind to %s: %s\n", text, result ? error_name(errno) : "done");
    close(fd);
}

static void links(void) {
    set_link("lo up", LOOPBACK, UP, UP, 0);
    set_link("no link up", 999, UP, UP, 0);
    set_link("nothing of lo", LOOPBACK, 0, 0, 4000);
    set_link("lo up again", LOOPBACK, UP, UP, 0);
    set_link("its MTU again", LOOPBACK, 0, 0, 65536);
}

static void addresses(void) {
    show_bind("10.99.0.1");
    address("new", RTM_NEWADDR, NEW, LOOPBACK, "10.99.0.1", 24);
    show_bind("10.99.0.1");
    address("the same", RTM_NEWADDR, NEW, LOOPBACK, "10.99.0.1", 24);
    address("the same, to be replaced", RTM_NEWADDR, OTHER, LOOPBACK, "10.99.0.1", 24);
    address("of no link", RTM_NEWADDR, NEW, 999, "10.99.0.2", 24);
    address("too long", RTM_NEWADDR, NEW, LOOPBACK, "10.99.0.2", 33);
    address("gone that was not", RTM_DELADDR, 0, LOOPBACK, "10.99.0.2", 24);
    address("gone with another prefix", RTM_DELADDR, 0, LOOPBACK, "10.99.0.1", 25);
    address("gone of no link", RTM_DELADDR, 0, 999, "10.99.0.1", 24);
    address("new", RTM_NEWADDR, NEW, LOOPBACK, "fd99::1", 64);
    show_bind("fd99::1");
    address("the same", RTM_NEWADDR, NEW, LOOPBACK, "fd99::1", 64);
    address("gone that was not", RTM_DELADDR, 0, LOOPBACK, "fd99::2", 64);
    address("too long", RTM_NEWADDR, NEW, LOOPBACK, "fd99::2", 129);
    struct ifaddrmsg body = {.ifa_family = AF_INET, .ifa_prefixlen = 8, .ifa_index = LOOPBACK};
    begin(RTM_NEWADDR, NEW, &body, sizeof body);
    finish("no address");
}

static void routes(void) {
    route("new", RTM_NEWROUTE, NEW, "10.98.0.0", 16, NULL, LOOPBACK, 0);
    route("the same", RTM_NEWROUTE, NEW, "10.98.0.0", 16, NULL, LOOPBACK, 0);
    route("another metric", RTM_NEWROUTE, NEW, "10.98.0.0", 16, NULL, LOOPBACK, 7);
    route("in place of it", RTM_NEWROUTE, OTHER, "10.98.0.0", 16, "10.99.0.77", LOOPBACK, 7);
    route("through a router", RTM_NEWROUTE, NEW, "10.97.0.0", 16, "10.99.0.77", 0, 0);
    route("through one on no link", RTM_NEWROUTE, NEW, "10.96.0.0", 16, "192.0.2.1", LOOPBACK, 0);
    route("through nobody", RTM_NEWROUTE, NEW, "10.96.0.0", 16, NULL, 0, 0);
    route("through no link", RTM_NEWROUTE, NEW, "10.96.0.0", 16, NULL, 999, 0);
    route("with bits behind the prefix", RTM_NEWROUTE, NEW, "10.96.0.1", 16, NULL, LOOPBACK, 0);
    route("too long", RTM_NEWROUTE, NEW, "10.96.0.0", 33, NULL, LOOPBACK, 0);
    route("not made", RTM_NEWROUTE, NLM_F_REPLACE, "10.96.0.0", 16, NULL, LOOPBACK, 0);
    route("gone", RTM_DELROUTE, 0, "10.98.0.0", 16, NULL, LOOPBACK, 0);
    route("gone with its metric", RTM_DELROUTE, 0, "10.98.0.0", 16, NULL, 0, 7);
    route("gone again", RTM_DELROUTE, 0, "10.98.0.0", 16, NULL, 0, 0);
    route("gone by another router", RTM_DELROUTE, 0, "10.97.0.0", 16, "10.99.0.78", 0, 0);
    route("gone", RTM_DELROUTE, 0, "10.97.0.0", 16, "10.99.0.77", 0, 0);
    route("new", RTM_NEWROUTE, NEW, "fd98::", 32, NULL, LOOPBACK, 0);
    route("the same", RTM_NEWROUTE, NEW, "fd98::", 32, NULL, LOOPBACK, 0);
    route("through nobody", RTM_NEWROUTE, NEW, "fd97::", 32, NULL, 0, 0);
    route("gone", RTM_DELROUTE, 0, "fd98::", 32, NULL, LOOPBACK, 0);
    route("gone again", RTM_DELROUTE, 0, "fd98::", 32, NULL, LOOPBACK, 0);
}

int main(void) {
    // A machine with one network has it for itself.
    if (unshare(CLONE_NEWNET) && errno != EINVAL)
        printf("no network of its own: %s\n", error_name(errno));
    netlink = MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    links();
    addresses();
    routes();
    address("gone", RTM_DELADDR, 0, LOOPBACK, "10.99.0.1", 24);
    show_bind("10.99.0.1");
    address("gone", RTM_DELADDR, 0, LOOPBACK, "fd99::1", 64);
    show_bind("fd99::1");
    return 0;
}
