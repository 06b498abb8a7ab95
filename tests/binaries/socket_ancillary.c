// Ancillary data at its edges: several messages, lengths and alignments that are wrong, room for a part, descriptors that are not handed over.
#include "socket_observe.h"

// musl looks into the ancillary data.
#define sendmsg(fd, message, flags) syscall(SYS_sendmsg, fd, message, flags)
#define recvmsg(fd, message, flags) syscall(SYS_recvmsg, fd, message, flags)

static union {
    char bytes[512];
    struct cmsghdr align;
} control;

// Files that are open beside those that were at the start.
static int open_files(void) {
    static int at_start = -1;
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    if (at_start < 0)
        at_start = count;
    return count - at_start;
}

// Appends a message of `len` bytes, of which `claimed` are said to be there; answers where the next one goes.
static size_t append(size_t at, int level, int type, const void *data, size_t len, size_t claimed) {
    struct cmsghdr header = {.cmsg_len = sizeof header + claimed, .cmsg_level = level, .cmsg_type = type};
    memcpy(control.bytes + at, &header, sizeof header);
    memcpy(control.bytes + at + sizeof header, data, len);
    return at + sizeof header + (len + 7) / 8 * 8;
}

static long send_control(int fd, size_t len) {
    struct iovec vector = {"x", 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = len};
    return sendmsg(fd, &message, MSG_DONTWAIT);
}

static void show(const char *label, int fd, size_t room, int flags) {
    char byte[8];
    struct iovec vector = {byte, sizeof byte};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = room};
    memset(&control, 0x55, sizeof control);
    long got = recvmsg(fd, &message, flags | MSG_DONTWAIT);
    if (got < 0) {
        printf("%s in %zu: %s\n", label, room, error_name(errno));
        return;
    }
    printf("%s in %zu: %ld flags %x control %zu:", label, room, got, message.msg_flags, (size_t)message.msg_controllen);
    size_t at = 0;
    while (at + sizeof(struct cmsghdr) <= message.msg_controllen) {
        struct cmsghdr header;
        memcpy(&header, control.bytes + at, sizeof header);
        printf(" (level %d type %d len %zu)", header.cmsg_level, header.cmsg_type, (size_t)header.cmsg_len);
        if (header.cmsg_len < sizeof header)
            break;
        if (header.cmsg_level == SOL_SOCKET && header.cmsg_type == SCM_RIGHTS)
            for (size_t i = sizeof header; i + sizeof(int) <= header.cmsg_len; i += sizeof(int)) {
                int one;
                memcpy(&one, control.bytes + at + i, sizeof one);
                close(one);
            }
        at += (header.cmsg_len + 7) / 8 * 8;
    }
    // What lies behind is not touched.
    int touched = 0;
    for (size_t i = room; i < sizeof control; i++)
        touched += control.bytes[i] != 0x55;
    printf(" touched %d, %d files\n", touched, open_files());
}

static void drain(int fd) {
    while (recv(fd, control.bytes, 64, MSG_DONTWAIT) > 0)
        ;
}

static void sent(int kind) {
    int p[2], q[2], fds[4];
    struct ucred who = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
    MUST(socketpair(AF_UNIX, kind, 0, p));
    MUST(pipe(q));
    for (int i = 0; i < 4; i++)
        fds[i] = q[i & 1];
    size_t len = append(0, SOL_SOCKET, SCM_RIGHTS, fds, 4, 4);
    len = append(len, SOL_SOCKET, SCM_RIGHTS, fds, 8, 8);
    TRY(send_control(p[0], len));
    show("two messages of descriptors", p[1], 256, 0);
    len = append(0, SOL_SOCKET, SCM_RIGHTS, fds, 4, 4);
    len = append(len, SOL_SOCKET, SCM_CREDENTIALS, &who, sizeof who, sizeof who);
    TRY(send_control(p[0], len));
    MUST(setsockopt(p[1], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
    TRY(send_control(p[0], len));
    show("before credentials are asked for", p[1], 256, 0);
    show("both", p[1], 256, 0);
    static const size_t rooms[] = {0, 8, 15, 16, 20, 24, 27, 28, 32, 40, 47, 48, 52, 56, 64};
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        len = append(0, SOL_SOCKET, SCM_RIGHTS, fds, 8, 8);
        MUST(send_control(p[0], len));
        show("credentials and two", p[1], rooms[i], i & 1 ? MSG_CMSG_CLOEXEC : 0);
    }
    MUST(setsockopt(p[1], SOL_SOCKET, SO_PASSCRED, &(int){0}, sizeof(int)));
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        len = append(0, SOL_SOCKET, SCM_RIGHTS, fds, 16, 16);
        MUST(send_control(p[0], len));
        show("four looked at", p[1], rooms[i], MSG_PEEK);
        show("four", p[1], rooms[i], 0);
    }
    // Lengths that are wrong.
    for (size_t claimed = 0; claimed <= 9; claimed++) {
        len = append(0, SOL_SOCKET, SCM_RIGHTS, fds, 8, claimed);
        printf("descriptors in %zu bytes: %s\n", claimed, send_control(p[0], len) < 0 ? error_name(errno) : "sent");
        show("what came", p[1], 256, 0);
    }
    for (size_t claimed = 8; claimed <= 16; claimed += 4) {
        len = append(0, SOL_SOCKET, SCM_CREDENTIALS, &who, sizeof who, claimed);
        TRY(send_control(p[0], len));
    }
    drain(p[1]);
    for (size_t cut = 15; cut <= 33; cut++) {
        append(append(0, SOL_SOCKET, SCM_RIGHTS, fds, 4, 4), SOL_SOCKET, SCM_RIGHTS, fds, 4, 4);
        printf("cut to %zu: ", cut);
        TRY(send_control(p[0], cut));
        show("what came", p[1], 256, 0);
    }
    append(0, SOL_SOCKET, SCM_RIGHTS, fds, 4, (size_t)-20);
    TRY(send_control(p[0], 24));
    append(0, SOL_SOCKET, SCM_RIGHTS, fds, 4, (size_t)1 << 40);
    TRY(send_control(p[0], 24));
    append(0, SOL_SOCKET, 3, fds, 4, 4);
    TRY(send_control(p[0], 24));
    append(0, SOL_SOCKET, 4, fds, 4, 4);
    TRY(send_control(p[0], 24));
    append(0, IPPROTO_IP, SCM_RIGHTS, fds, 4, 4);
    TRY(send_control(p[0], 24));
    append(0, 77, 1, fds, 4, 4);
    TRY(send_control(p[0], 24));
    // One good, one bad: nothing is sent.
    drain(p[1]);
    fds[1] = 200;
    len = append(append(0, SOL_SOCKET, SCM_RIGHTS, fds, 4, 4), SOL_SOCKET, SCM_RIGHTS, fds + 1, 4, 4);
    TRY(send_control(p[0], len));
    show("nothing", p[1], 256, 0);
    for (int i = 0; i < 2; i++) {
        close(p[i]);
        close(q[i]);
    }
    printf("%d files at the end\n", open_files());
}

// Bad memory for what is received.
static void unwritable(void) {
    int p[2], q[2];
    char byte;
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
    MUST(pipe(q));
    int before = open_files();
    for (int i = 0; i < 3; i++) {
        append(0, SOL_SOCKET, SCM_RIGHTS, q, 8, 8);
        MUST(send_control(p[0], 24));
        struct iovec vector = {&byte, 1};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = i == 0 ? (void *)16 : NULL, .msg_controllen = i == 2 ? 0 : 64};
        TRY(recvmsg(p[1], &message, MSG_DONTWAIT));
        printf("flags %x control %zu\n", message.msg_flags, (size_t)message.msg_controllen);
        printf("%d more files\n", open_files() - before);
    }
    for (int i = 0; i < 2; i++) {
        close(p[i]);
        close(q[i]);
    }
}

// What sockets of the Internet say to messages of others and to wrong ones.
static void inet(int domain) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static const struct {
        int level, type;
    } messages[] = {{IPPROTO_IP, IP_TTL}, {IPPROTO_IP, IP_TOS}, {IPPROTO_IP, IP_PKTINFO}, {IPPROTO_IP, 77}, {IPPROTO_IPV6, IPV6_HOPLIMIT},
                    {IPPROTO_IPV6, IPV6_TCLASS}, {IPPROTO_IPV6, IPV6_PKTINFO}, {IPPROTO_IPV6, IPV6_2292PKTINFO},
                    {IPPROTO_IPV6, IPV6_2292HOPLIMIT}, {IPPROTO_IPV6, IPV6_DONTFRAG}, {IPPROTO_IPV6, 77},
                    {SOL_SOCKET, SCM_RIGHTS}, {SOL_SOCKET, SCM_CREDENTIALS}, {SOL_SOCKET, SO_MARK}, {SOL_SOCKET, 77}, {IPPROTO_UDP, 103},
                    {IPPROTO_UDP, 77}, {IPPROTO_TCP, 1}, {77, 77}};
    static const int values[] = {0, 1, 255, 256, -1};
    for (size_t i = 0; i < ARRAY_LEN(messages); i++)
        for (size_t len = 0; len <= 20; len += len < 4 ? 1 : 4) {
            printf("family %d level %d type %d len %zu:", domain, messages[i].level, messages[i].type, len);
            for (size_t v = 0; v < ARRAY_LEN(values); v++) {
                int fd = (int)MUST(socket(domain, SOCK_DGRAM, 0)), data[5] = {values[v]};
                if (domain == AF_INET)
                    MUST(connect(fd, (void *)&four, sizeof four));
                else
                    MUST(connect(fd, (void *)&six, sizeof six));
                append(0, messages[i].level, messages[i].type, data, len, len);
                printf(" %s", send_control(fd, sizeof(struct cmsghdr) + (len + 7) / 8 * 8) < 0 ? error_name(errno) : "sent");
                close(fd);
            }
            printf("\n");
        }
}

int main(void) {
    open_files();
    sent(SOCK_STREAM);
    sent(SOCK_DGRAM);
    sent(SOCK_SEQPACKET);
    unwritable();
    inet(AF_INET);
    inet(AF_INET6);
    return 0;
}
