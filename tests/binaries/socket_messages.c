// sendmsg, recvmsg and the calls for many messages: vectors, names, flags, partial work.
#include "socket_observe.h"

// musl looks into the ancillary data.
#define sendmsg(fd, message, flags) syscall(SYS_sendmsg, fd, message, flags)

static struct mmsghdr many[8];
static struct iovec vectors[8];
static char texts[8][32];

static void prepare_many(int fill) {
    memset(many, 0, sizeof many);
    for (int i = 0; i < 8; i++) {
        if (fill)
            snprintf(texts[i], sizeof texts[i], "message %d", i);
        else
            memset(texts[i], '.', sizeof texts[i]);
        vectors[i].iov_base = texts[i];
        vectors[i].iov_len = fill ? strlen(texts[i]) : sizeof texts[i];
        many[i].msg_hdr.msg_iov = &vectors[i];
        many[i].msg_hdr.msg_iovlen = 1;
        many[i].msg_len = 77;
    }
}

static void show_many(int count) {
    for (int i = 0; i < count; i++)
        printf("  %u flags %x%s", many[i].msg_len, many[i].msg_hdr.msg_flags, i + 1 == count ? "\n" : "");
    if (count == 0)
        printf("  nothing\n");
}

int main(void) {
    int p[2];
    char a[8] = "", b[8] = "", c[64];
    struct iovec three[3] = {{"one ", 4}, {"", 0}, {"two", 3}}, in[3] = {{a, 2}, {b, 0}, {c, 64}};
    struct msghdr message = {.msg_iov = three, .msg_iovlen = 3};
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, p));
    TRY(sendmsg(p[0], &message, 0));
    message = (struct msghdr){.msg_iov = in, .msg_iovlen = 3, .msg_flags = 77};
    TRY(recvmsg(p[1], &message, 0));
    print_bytes("a", a, 2);
    print_bytes("c", c, 5);
    printf("flags %x\n", message.msg_flags);
    TRY(recvmsg(p[1], &message, 0));
    // Limits of the header.
    message.msg_iovlen = 1025;
    TRY(sendmsg(p[0], &message, 0));
    TRY(recvmsg(p[1], &message, 0));
    message.msg_iovlen = 3;
    in[1].iov_len = (size_t)-1;
    TRY(sendmsg(p[0], &message, 0));
    in[1].iov_len = 0;
    message.msg_name = c;
    message.msg_namelen = (socklen_t)-1;
    TRY(sendmsg(p[0], &message, 0));
    TRY(recvmsg(p[1], &message, 0));
    message.msg_namelen = 0;
    message.msg_iov = NULL;
    message.msg_iovlen = 0;
    TRY(sendmsg(p[0], &message, 0));
    receive_and_show("nothing", p[1], 10, 0, 0);
    // Bad ancillary data.
    union {
        char bytes[64];
        struct cmsghdr header;
    } control;
    memset(&control, 0, sizeof control);
    message = (struct msghdr){.msg_iov = three, .msg_iovlen = 3, .msg_control = &control, .msg_controllen = 16};
    TRY(sendmsg(p[0], &message, 0));
    control.header.cmsg_len = 100;
    TRY(sendmsg(p[0], &message, 0));
    control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(0), .cmsg_level = SOL_SOCKET, .cmsg_type = 77};
    TRY(sendmsg(p[0], &message, 0));
    control.header.cmsg_type = SCM_RIGHTS;
    TRY(sendmsg(p[0], &message, 0));
    control.header.cmsg_type = SCM_CREDENTIALS;
    TRY(sendmsg(p[0], &message, 0));
    control.header.cmsg_level = SOL_IP;
    TRY(sendmsg(p[0], &message, 0));
    message.msg_controllen = 10;
    TRY(sendmsg(p[0], &message, 0));
    message.msg_control = (void *)16;
    TRY(sendmsg(p[0], &message, 0));
    while (recv(p[1], c, sizeof c, 0) > 0)
        ;
    // Many messages.
    prepare_many(1);
    TRY(sendmmsg(p[0], many, 5, 0));
    show_many(5);
    prepare_many(0);
    TRY(recvmmsg(p[1], many, 3, 0, NULL));
    show_many(3);
    print_bytes("third", texts[2], 10);
    TRY(recvmmsg(p[1], many, 8, 0, NULL));
    TRY(recvmmsg(p[1], many, 8, 0, NULL));
    TRY(recvmmsg(p[1], many, 0, 0, NULL));
    TRY(sendmmsg(p[0], many, 0, 0));
    // One that cannot be sent ends it.
    prepare_many(1);
    many[2].msg_hdr.msg_iov = (void *)16;
    TRY(sendmmsg(p[0], many, 5, 0));
    TRY(sendmmsg(p[0], many + 2, 5, 0));
    prepare_many(0);
    many[1].msg_hdr.msg_iov = (void *)16;
    TRY(recvmmsg(p[1], many, 5, 0, NULL));
    TRY(recvmmsg(p[1], many + 3, 5, 0, NULL));
    // Times.
    MUST(fcntl(p[1], F_SETFL, 0));
    prepare_many(1);
    MUST(sendmmsg(p[0], many, 4, 0));
    prepare_many(0);
    TRY(recvmmsg(p[1], many, 8, MSG_WAITFORONE, NULL));
    struct timespec bad = {0, 1000000000}, none = {0, 0};
    TRY(recvmmsg(p[1], many, 8, 0, &bad));
    TRY(syscall(SYS_recvmmsg, p[1], many, 8, 0, 16L));
    MUST(send(p[0], "last", 4, 0));
    MUST(send(p[0], "last", 4, 0));
    TRY(recvmmsg(p[1], many, 8, 0, &none));
    TRY(recvmmsg(p[1], many, 1, 0, NULL));
    TRY(recvmmsg(p[1], many, 8, MSG_DONTWAIT, NULL));
    // A stream takes a message in parts.
    int s[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
    prepare_many(1);
    TRY(sendmmsg(s[0], many, 3, 0));
    prepare_many(0);
    TRY(recvmmsg(s[1], many, 3, 0, NULL));
    show_many(1);
    // Flags that do not matter here.
    TRY(send(s[0], "flags", 5, MSG_MORE | MSG_CONFIRM | MSG_DONTROUTE | MSG_EOR));
    receive_and_show("flags", s[1], 10, 0, MSG_EOR | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC);
    MUST(send(p[0], "eor", 3, MSG_EOR));
    receive_and_show("eor", p[1], 10, 0, 0);
    TRY(syscall(SYS_sendmsg, p[0], &message, 0x80000000));
    TRY(syscall(SYS_recvmsg, p[0], &message, 0x80000000));
    return 0;
}
