// SCM_CREDENTIALS, SO_PASSCRED, SO_PEERCRED and SO_PEERGROUPS.
#include "socket_observe.h"
#include <grp.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

static ssize_t send_credentials(int fd, const char *text, struct ucred who) {
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct iovec vector = {(void *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memset(&control, 0, sizeof control);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_CREDENTIALS;
    header->cmsg_len = CMSG_LEN(sizeof who);
    memcpy(CMSG_DATA(header), &who, sizeof who);
    return sendmsg(fd, &message, 0);
}

static void show_peer(const char *label, int fd) {
    struct ucred who;
    socklen_t len = sizeof who;
    memset(&who, 0, sizeof who);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0) {
        printf("%s: %s\n", label, error_name(errno));
        return;
    }
    printf("%s: %u bytes pid %s uid %d gid %d\n", label, len, who.pid == getpid() ? "own" : who.pid == 0 ? "none" : "other",
           (int)who.uid, (int)who.gid);
}

// The groups of the other end, in room for `room` bytes.
static void show_groups(const char *label, int fd, socklen_t room) {
    unsigned groups[8];
    socklen_t len = room;
    memset(groups, 0xee, sizeof groups);
    int result = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
    printf("groups of %s, %u bytes: %s, %u:", label, room, result == 0 ? "done" : error_name(errno), len);
    for (int i = 0; i < 4; i++)
        printf(" %x", groups[i]);
    puts("");
}

static void groups(void) {
    puts("-- groups");
    static const gid_t some[] = {9, 5, 7}, other[] = {4};
    struct sockaddr_un name;
    socklen_t len = unix_abstract(&name, "groups");
    int p[2], listener = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0)), client = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(setgroups(0, NULL));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    show_groups("a pair without", p[0], 32);
    close(p[0]);
    close(p[1]);
    MUST(setgroups(3, some));
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
    for (unsigned room = 0; room <= 16; room += 4)
        show_groups("a pair", p[0], room);
    show_groups("a new one", client, 32);
    MUST(bind(listener, (void *)&name, len));
    show_groups("one with a name", listener, 32);
    MUST(listen(listener, 1));
    MUST(setgroups(1, other));
    show_groups("who listens", listener, 32);
    MUST(connect(client, (void *)&name, len));
    MUST(setgroups(0, NULL));
    int server = (int)MUST(accept(listener, NULL, NULL));
    show_groups("the server", client, 32);
    show_groups("the client", server, 32);
    show_groups("the client", server, 2);
    TRY(connect(client, (void *)&name, len));
    show_groups("the client still", server, 32);
    TRY(getsockopt(server, SOL_SOCKET, SO_PEERGROUPS, (void *)8, &len));
    len = -1;
    TRY(getsockopt(server, SOL_SOCKET, SO_PEERGROUPS, NULL, &len));
    TRY(setsockopt(server, SOL_SOCKET, SO_PEERGROUPS, other, sizeof other));
    int inet = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    show_groups("nobody", inet, 32);
    close(p[0]);
    close(p[1]);
    close(inet);
    close(server);
    close(client);
    close(listener);
}

int main(void) {
    groups();
    int p[2];
    struct ucred own = {getpid(), 0, 0}, guest = {getpid(), 1000, 1000}, nobody = {0x3ffffff, 0, 0};
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int i = 0; i < 3; i++) {
        printf("-- kind %d\n", kinds[i]);
        MUST(socketpair(AF_UNIX, kinds[i], 0, p));
        show_peer("pair", p[0]);
        OPTION(p[1], SOL_SOCKET, SO_PASSCRED);
        SET_OPTION(p[1], SOL_SOCKET, SO_PASSCRED, 1);
        OPTION(p[1], SOL_SOCKET, SO_PASSCRED);
        TRY(write(p[0], "plain", 5));
        receive_and_show("plain", p[1], 64, 1024, 0);
        TRY(send_credentials(p[0], "given", own));
        TRY(send_credentials(p[0], "guest", guest));
        TRY(write(p[0], "again", 5));
        for (int j = 0; j < 3; j++)
            receive_and_show("told", p[1], 64, 1024, MSG_DONTWAIT);
        TRY(send_credentials(p[0], "nobody", nobody));
        TRY(write(p[0], "short", 5));
        receive_and_show("no room", p[1], 64, 20, MSG_DONTWAIT);
        TRY(write(p[0], "short", 5));
        receive_and_show("no control", p[1], 64, 0, MSG_DONTWAIT);
        // With descriptors, credentials come first.
        MUST(send_descriptors(p[0], "both", 4, p, 1, 0));
        close(receive_and_show("both", p[1], 64, 1024, 0));
        SET_OPTION(p[1], SOL_SOCKET, SO_PASSCRED, 0);
        TRY(send_credentials(p[0], "unwanted", own));
        receive_and_show("unwanted", p[1], 64, 1024, 0);
        close(p[0]);
        close(p[1]);
    }
    // Who connects, and who listens.
    struct sockaddr_un name;
    socklen_t len = unix_abstract(&name, "credentials");
    int listener = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0)), client = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    show_peer("new", client);
    MUST(bind(listener, (void *)&name, len));
    MUST(listen(listener, 1));
    show_peer("listener", listener);
    MUST(syscall(SYS_setresgid, 7, 8, 0));
    MUST(syscall(SYS_setresuid, 1000, 1001, 0));
    MUST(connect(client, (void *)&name, len));
    MUST(syscall(SYS_setresuid, 0, 0, 0));
    MUST(syscall(SYS_setresgid, 0, 0, 0));
    int server = (int)MUST(accept(listener, NULL, NULL));
    show_peer("server", server);
    show_peer("client", client);
    // Without the right to be somebody else.
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
    MUST(syscall(SYS_setresuid, 1000, 1000, 0));
    TRY(send_credentials(p[0], "x", own));
    TRY(send_credentials(p[0], "x", (struct ucred){getpid(), 1000, 0}));
    TRY(send_credentials(p[0], "x", (struct ucred){getpid(), 1000, 5}));
    return 0;
}
