// What the programs about netlink share: what musl has none of, and requests that are put together piece by piece.
#ifndef NETLINK_H
#define NETLINK_H

#include "socket_observe.h"

struct sockaddr_nl { sa_family_t nl_family; unsigned short nl_pad; uint32_t nl_pid, nl_groups; };
struct nlmsghdr { uint32_t nlmsg_len; uint16_t nlmsg_type, nlmsg_flags; uint32_t nlmsg_seq, nlmsg_pid; };
struct nlmsgerr { int error; struct nlmsghdr msg; };
struct rtattr { unsigned short rta_len, rta_type; };
struct rtmsg {
    unsigned char rtm_family, rtm_dst_len, rtm_src_len, rtm_tos, rtm_table, rtm_protocol, rtm_scope, rtm_type;
    unsigned rtm_flags;
};
enum { NETLINK_ROUTE = 0, NLMSG_ERROR = 2, NLMSG_DONE = 3 };
enum { NLM_F_REQUEST = 1, NLM_F_ACK = 4, NLM_F_REPLACE = 0x100, NLM_F_EXCL = 0x200, NLM_F_DUMP = 0x300, NLM_F_CREATE = 0x400 };

static struct {
    struct nlmsghdr header;
    char body[256];
} request;

// A request with its fixed part, which is acknowledged.
static inline void begin(int type, int flags, const void *body, size_t len) {
    memset(&request, 0, sizeof request);
    request.header = (struct nlmsghdr){.nlmsg_len = sizeof request.header + len, .nlmsg_type = type,
                                       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags};
    memcpy(request.body, body, len);
}

// An attribute more.
static inline void add(int type, const void *value, size_t len) {
    struct rtattr attribute = {.rta_len = sizeof attribute + len, .rta_type = type};
    char *place = (char *)&request + request.header.nlmsg_len;
    memcpy(place, &attribute, sizeof attribute);
    memcpy(place + sizeof attribute, value, len);
    request.header.nlmsg_len += (sizeof attribute + len + 3) & ~3UL;
}

#endif
