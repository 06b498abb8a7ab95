//@ run: users
//@ run: flight
//@ run: again
//@ run: errors
// Leases: who else has the file open, and setting them again.
#include "lease.h"
#include <sys/socket.h>

static sigset_t watched;

static void show_signals(void) {
    siginfo_t info;
    printf("  signals:");
    while (sigtimedwait(&watched, &info, &(struct timespec){0, 0}) > 0)
        printf(" %s fd %d", info.si_signo == SIGIO ? "SIGIO" : "RT", info.si_signo == SIGIO ? 0 : info.si_fd);
    printf("\n");
}

// Whether a lease could be had; it is given up at once.
static void try_lease(const char *label, int fd, int kind) {
    long result = fcntl(fd, F_SETLEASE, kind);
    printf("%s: %s\n", label, result < 0 ? error_name(errno) : "given");
    if (result == 0)
        fcntl(fd, F_SETLEASE, F_UNLCK);
}

static void users(void) {
    int reader = (int)MUST(open("f", O_RDONLY)), other = (int)MUST(open("f", O_RDONLY));
    try_lease("another reader", reader, F_WRLCK);
    char *mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, other, 0);
    close(other);
    try_lease("mapped", reader, F_WRLCK);
    munmap(mapped, 4096);
    try_lease("unmapped", reader, F_WRLCK);
    other = (int)MUST(open("f", O_RDWR));
    mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
    close(other);
    try_lease("mapped for stores", reader, F_RDLCK);
    munmap(mapped, 4096);
    try_lease("no longer", reader, F_RDLCK);
    other = (int)MUST(open("f", O_RDWR));
    mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, other, 0);
    close(other);
    try_lease("a private mapping of a writer", reader, F_RDLCK);
    munmap(mapped, 4096);
    mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, reader, 0);
    try_lease("mapped by itself", reader, F_WRLCK);
    other = (int)MUST(dup(reader));
    MUST(fcntl(reader, F_SETLEASE, F_WRLCK));
    close(other);
    close(reader);
    TRY(open("f", O_RDONLY | O_NONBLOCK));
    show_signals();
    munmap(mapped, 4096);
    reader = (int)TRY(open("f", O_RDONLY | O_NONBLOCK));
    other = (int)MUST(open("f", O_PATH));
    try_lease("a place", reader, F_WRLCK);
    close(other);
    other = (int)MUST(dup(reader));
    try_lease("a copy", reader, F_WRLCK);
    try_lease("by the copy", other, F_WRLCK);
    close(other);
    close(reader);
    int writer = (int)MUST(open("f", O_WRONLY));
    try_lease("a writer alone", writer, F_WRLCK);
    try_lease("a writer, shared", writer, F_RDLCK);
    int none = (int)MUST(open("f", 3));
    try_lease("one that neither reads nor writes", writer, F_WRLCK);
    try_lease("by that", none, F_WRLCK);
    close(writer);
    try_lease("by that, alone", none, F_WRLCK);
    try_lease("by that, shared", none, F_RDLCK);
    close(none);
    int unnamed = (int)MUST(open(".", O_TMPFILE | O_RDWR, 0600));
    try_lease("without a name", unnamed, F_WRLCK);
    int memory = (int)MUST(syscall(SYS_memfd_create, "m", 0));
    try_lease("in memory", memory, F_WRLCK);
    try_lease("in memory, shared", memory, F_RDLCK);
}

static void send_fd(int socket, int fd) {
    char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec vector = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    MUST(sendmsg(socket, &message, 0));
}

static int receive_fd(int socket) {
    char byte, control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec vector = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int fd = -1;
    MUST(recvmsg(socket, &message, 0));
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

static void flight(void) {
    int s[2], reader = (int)MUST(open("f", O_RDONLY)), other = (int)MUST(open("f", O_RDONLY));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    send_fd(s[0], other);
    close(other);
    try_lease("a reader in flight", reader, F_WRLCK);
    try_lease("a reader in flight, shared", reader, F_RDLCK);
    close(receive_fd(s[1]));
    try_lease("landed and closed", reader, F_WRLCK);
    other = (int)MUST(open("f", O_WRONLY));
    send_fd(s[0], other);
    close(other);
    try_lease("a writer in flight, shared", reader, F_RDLCK);
    close(s[1]);
    try_lease("lost", reader, F_RDLCK);
    close(s[0]);
    // The lease itself flies.
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    MUST(fcntl(reader, F_SETLEASE, F_WRLCK));
    send_fd(s[0], reader);
    close(reader);
    TRY(open("f", O_RDONLY | O_NONBLOCK));
    reader = receive_fd(s[1]);
    show_lease(reader);
    show_signals();
    close(reader);
    TRY(open("f", O_RDONLY | O_NONBLOCK) >= 0);
}

static void again(void) {
    int fd = (int)MUST(open("f", O_RDONLY));
    MUST(fcntl(fd, F_SETSIG, SIGRTMIN + 3));
    MUST(fcntl(fd, F_SETLEASE, F_WRLCK));
    // To be weakened.
    TRY(open("f", O_RDONLY | O_NONBLOCK));
    show_signals();
    TRY(fcntl(fd, F_SETLEASE, F_WRLCK));
    show_lease(fd);
    TRY(open("f", O_RDONLY | O_NONBLOCK));
    show_signals();
    TRY(fcntl(fd, F_SETLEASE, F_RDLCK));
    show_lease(fd);
    TRY(fcntl(fd, F_SETLEASE, F_WRLCK));
    show_lease(fd);
    // To be given up.
    TRY(open("f", O_WRONLY | O_NONBLOCK));
    show_signals();
    TRY(fcntl(fd, F_SETLEASE, F_WRLCK));
    show_lease(fd);
    TRY(fcntl(fd, F_SETLEASE, F_RDLCK));
    show_lease(fd);
    TRY(open("f", O_WRONLY | O_NONBLOCK));
    show_signals();
    int other = (int)MUST(open("f", O_RDONLY | O_NONBLOCK));
    show_signals();
    TRY(fcntl(fd, F_SETLEASE, F_UNLCK));
    TRY(fcntl(fd, F_SETLEASE, F_UNLCK));
    show_lease(fd);
    close(other);
    // First weakened, then given up.
    MUST(fcntl(fd, F_SETLEASE, F_WRLCK));
    TRY(open("f", O_RDONLY | O_NONBLOCK));
    TRY(open("f", O_WRONLY | O_NONBLOCK));
    show_signals();
    show_lease(fd);
    TRY(fcntl(fd, F_SETLEASE, F_RDLCK));
    show_lease(fd);
    MUST(fcntl(fd, F_SETLEASE, F_UNLCK));
    // Two shared ones.
    other = (int)MUST(open("f", O_RDONLY));
    MUST(fcntl(other, F_SETSIG, SIGRTMIN + 3));
    MUST(fcntl(fd, F_SETLEASE, F_RDLCK));
    TRY(fcntl(other, F_SETLEASE, F_RDLCK));
    TRY(open("f", O_WRONLY | O_NONBLOCK));
    show_signals();
    MUST(fcntl(fd, F_SETLEASE, F_UNLCK));
    TRY(fcntl(fd, F_SETLEASE, F_RDLCK));
    TRY(fcntl(other, F_SETLEASE, F_RDLCK));
    TRY(open("f", O_WRONLY | O_NONBLOCK));
    MUST(fcntl(other, F_SETLEASE, F_UNLCK));
    TRY(fcntl(fd, F_SETLEASE, F_RDLCK));
    // By another number of the same open file.
    int copy = (int)MUST(dup(fd));
    close(other);
    TRY(fcntl(copy, F_SETLEASE, F_WRLCK));
    TRY(open("f", O_RDONLY | O_NONBLOCK));
    show_signals();
    close(fd);
    show_lease(copy);
    close(copy);
    TRY(open("f", O_RDONLY | O_NONBLOCK) >= 0);
}

static void errors(void) {
    int fd = (int)MUST(open("f", O_RDONLY)), folder = (int)MUST(open(".", O_RDONLY)), p[2];
    MUST(pipe(p));
    TRY(fcntl(p[0], F_SETLEASE, F_UNLCK));
    TRY(fcntl(folder, F_SETLEASE, F_UNLCK));
    TRY(fcntl(folder, F_GETLEASE));
    TRY(fcntl(fd, F_SETLEASE, F_UNLCK));
    for (int kind = 3; kind < 9; kind++)
        TRY(fcntl(fd, F_SETLEASE, kind));
    TRY(fcntl(fd, F_SETLEASE, -1));
    TRY(fcntl(fd, F_SETLEASE, 0x10000));
    TRY(syscall(SYS_fcntl, fd, F_SETLEASE, 0x100000000L));
    show_lease(fd);
    TRY(fcntl(fd, F_SETLEASE, F_WRLCK));
    MUST(setresuid(-1, 1234, -1));
    TRY(fcntl(fd, F_SETLEASE, F_RDLCK));
    TRY(fcntl(fd, F_SETLEASE, F_UNLCK));
    TRY(fcntl(fd, F_SETLEASE, 7));
    TRY(fcntl(p[0], F_SETLEASE, F_RDLCK));
    TRY(fcntl(folder, F_SETLEASE, F_RDLCK));
    show_lease(fd);
    MUST(setresuid(-1, 0, -1));
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    sigemptyset(&watched);
    sigaddset(&watched, SIGIO);
    sigaddset(&watched, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    hold_break_time(0);
    fresh_dir("/tmp");
    put_file("f", "text");
    if (strcmp(part, "users") == 0)
        users();
    else if (strcmp(part, "flight") == 0)
        flight();
    else if (strcmp(part, "again") == 0)
        again();
    else if (strcmp(part, "errors") == 0)
        errors();
    return 0;
}
