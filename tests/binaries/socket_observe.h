// What the programs about sockets share: names of addresses, of events, and messages with ancillary data.
#ifndef SOCKET_OBSERVE_H
#define SOCKET_OBSERVE_H

#include "observe.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

// Prints an address as a call gave it; ports that were chosen by the kernel are not shown.
static inline void print_address(const char *label, const struct sockaddr_storage *address, socklen_t len) {
    char text[INET6_ADDRSTRLEN] = "";
    printf("%s: %u bytes", label, len);
    if (len < sizeof(sa_family_t)) {
        printf("\n");
        return;
    }
    switch (address->ss_family) {
    case AF_UNIX: {
        const struct sockaddr_un *name = (const void *)address;
        printf(" unix \"");
        for (size_t i = 0; i + offsetof(struct sockaddr_un, sun_path) < len; i++) {
            unsigned char byte = (unsigned char)name->sun_path[i];
            if (byte >= 32 && byte < 127)
                putchar(byte);
            else
                printf("\\x%02x", byte);
        }
        printf("\"\n");
        break;
    }
    case AF_INET: {
        const struct sockaddr_in *name = (const void *)address;
        inet_ntop(AF_INET, &name->sin_addr, text, sizeof text);
        printf(" inet %s port %s\n", text, name->sin_port ? "set" : "0");
        break;
    }
    case AF_INET6: {
        const struct sockaddr_in6 *name = (const void *)address;
        inet_ntop(AF_INET6, &name->sin6_addr, text, sizeof text);
        printf(" inet6 %s port %s scope %u\n", text, name->sin6_port ? "set" : "0", name->sin6_scope_id);
        break;
    }
    default: printf(" family %u\n", address->ss_family);
    }
}

static inline void show_names(const char *label, int fd) {
    struct sockaddr_storage address;
    char text[64];
    memset(&address, 0, sizeof address);
    socklen_t len = sizeof address;
    snprintf(text, sizeof text, "%s own", label);
    if (getsockname(fd, (void *)&address, &len) == 0)
        print_address(text, &address, len);
    else
        printf("%s: %s\n", text, error_name(errno));
    memset(&address, 0, sizeof address);
    len = sizeof address;
    snprintf(text, sizeof text, "%s peer", label);
    if (getpeername(fd, (void *)&address, &len) == 0)
        print_address(text, &address, len);
    else
        printf("%s: %s\n", text, error_name(errno));
}

// What poll says of a descriptor now.
static inline void show_events(const char *label, int fd) {
    struct pollfd one = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
    MUST(poll(&one, 1, 0));
    printf("%s:%s%s%s%s%s%s%s\n", label, one.revents & POLLIN ? " in" : "", one.revents & POLLPRI ? " pri" : "",
           one.revents & POLLOUT ? " out" : "", one.revents & POLLRDHUP ? " rdhup" : "",
           one.revents & POLLERR ? " err" : "", one.revents & POLLHUP ? " hup" : "",
           one.revents & POLLNVAL ? " nval" : "");
}

// Waits until poll shows an event.
static inline void await_events(int fd, short events) {
    struct pollfd one = {fd, events, 0};
    while (!(one.revents & events))
        MUST(poll(&one, 1, -1));
}

static inline int get_option(int fd, int level, int option) {
    int value = -1;
    socklen_t len = sizeof value;
    if (getsockopt(fd, level, option, &value, &len) != 0)
        return -1;
    return value;
}

#define OPTION(fd, level, option) show_option(fd, level, option, #option)

static inline void show_option(int fd, int level, int option, const char *name) {
    int value = -1;
    socklen_t len = sizeof value;
    if (getsockopt(fd, level, option, &value, &len) == 0)
        printf("%s: %d (%u bytes)\n", name, value, len);
    else
        printf("%s: %s\n", name, error_name(errno));
}

#define SET_OPTION(fd, level, option, number) set_option(fd, level, option, number, #option)

static inline void set_option(int fd, int level, int option, int value, const char *name) {
    int result = setsockopt(fd, level, option, &value, sizeof value);
    printf("set %s %d: %s\n", name, value, result == 0 ? "done" : error_name(errno));
}

// The pending error of a socket.
static inline void show_error(const char *label, int fd) {
    int error = get_option(fd, SOL_SOCKET, SO_ERROR);
    printf("%s: %s\n", label, error ? error_name(error) : "no error");
}

static inline socklen_t unix_path(struct sockaddr_un *address, const char *path) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    strcpy(address->sun_path, path);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
}

// A name in the abstract name space that no other run of the program has.
static inline socklen_t unix_abstract(struct sockaddr_un *address, const char *name) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    int len = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "%s-%d", name, getpid());
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

// Sends bytes with descriptors.
static inline ssize_t send_descriptors(int fd, const void *bytes, size_t len, const int *descriptors, int count,
                                       int flags) {
    union {
        char bytes[CMSG_SPACE(300 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec vector = {(void *)bytes, len};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    memset(&control, 0, sizeof control);
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(header), descriptors, (size_t)count * sizeof(int));
    }
    // musl takes less ancillary data than Linux.
    return syscall(SYS_sendmsg, fd, &message, flags);
}

// Receives a message and prints all of it. Answers its first descriptor, or -1; the others are closed.
static inline int receive_and_show(const char *label, int fd, size_t len, size_t control_len, int flags) {
    static char bytes[70000];
    union {
        char bytes[2048];
        struct cmsghdr align;
    } control;
    struct sockaddr_storage name;
    struct iovec vector = {bytes, len};
    struct msghdr message = {.msg_name = &name,
                             .msg_namelen = sizeof name,
                             .msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = control_len};
    memset(&name, 0, sizeof name);
    ssize_t got = recvmsg(fd, &message, flags);
    if (got < 0) {
        printf("%s: %s\n", label, error_name(errno));
        return -1;
    }
    printf("%s: %zd flags %x name %u control %zu\n", label, got, message.msg_flags, message.msg_namelen,
           (size_t)message.msg_controllen);
    size_t shown = (size_t)got < len ? (size_t)got : len;
    if (shown > 0 && shown <= 64)
        print_bytes("  data", bytes, shown);
    int first = -1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        size_t data_len = header->cmsg_len - CMSG_LEN(0);
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
            size_t count = data_len / sizeof(int);
            printf("  %zu descriptors", count);
            for (size_t i = 0; i < count; i++) {
                int one;
                memcpy(&one, CMSG_DATA(header) + i * sizeof one, sizeof one);
                if (i < 4)
                    printf(" %d%s", one, fcntl(one, F_GETFD) & FD_CLOEXEC ? " cloexec" : "");
                if (first < 0)
                    first = one;
                else
                    close(one);
            }
            printf("\n");
        } else if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(header), sizeof who);
            printf("  credentials pid %s uid %u gid %u\n",
                   who.pid == getpid() ? "own" : who.pid == 0 ? "none" : "other", who.uid, who.gid);
        } else {
            printf("  level %d type %d len %zu\n", header->cmsg_level, header->cmsg_type, data_len);
        }
    }
    return first;
}

// Reads without waiting, and prints what came with which flags.
static inline void receive_now(int fd, size_t len, int flags) {
    char bytes[64];
    memset(bytes, 0, sizeof bytes);
    struct iovec vector = {.iov_base = bytes, .iov_len = len};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t got = recvmsg(fd, &message, flags | MSG_DONTWAIT);
    printf("%s%s of %zu: ", flags & MSG_PEEK ? "look" : "read", flags & MSG_OOB ? " urgent" : "", len);
    if (got < 0)
        printf("%s\n", error_name(errno));
    else
        printf("%zd \"%s\" flags %x\n", got, bytes, message.msg_flags);
}

// The address of this machine itself, without a port.
static inline socklen_t loopback(int domain, struct sockaddr_storage *name) {
    memset(name, 0, sizeof *name);
    name->ss_family = (sa_family_t)domain;
    if (domain == AF_INET) {
        ((struct sockaddr_in *)name)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof(struct sockaddr_in);
    }
    ((struct sockaddr_in6 *)name)->sin6_addr = in6addr_loopback;
    return sizeof(struct sockaddr_in6);
}

// A connection.
static inline void tcp_pair(int domain, int *client, int *server) {
    struct sockaddr_storage name;
    socklen_t len = loopback(domain, &name);
    int listener = (int)MUST(socket(domain, SOCK_STREAM, 0));
    MUST(bind(listener, (void *)&name, len));
    MUST(listen(listener, 5));
    MUST(getsockname(listener, (void *)&name, &len));
    *client = (int)MUST(socket(domain, SOCK_STREAM, 0));
    MUST(connect(*client, (void *)&name, len));
    *server = (int)MUST(accept(listener, NULL, NULL));
    close(listener);
}

// A socket that datagrams come to, and one that is connected to it.
static inline void udp_pair(int domain, int *sender, int *receiver) {
    struct sockaddr_storage name;
    socklen_t len = loopback(domain, &name);
    *receiver = (int)MUST(socket(domain, SOCK_DGRAM, 0));
    MUST(bind(*receiver, (void *)&name, len));
    MUST(getsockname(*receiver, (void *)&name, &len));
    *sender = (int)MUST(socket(domain, SOCK_DGRAM, 0));
    MUST(connect(*sender, (void *)&name, len));
}

#endif
