// What fcntl tells of open files: whether two are one (F_DUPFD_QUERY), whether opening made the file (F_CREATED_QUERY),
// how long what is written will stay (F_SET_RW_HINT), and for whom an owner was set (F_GETOWNER_UIDS).
#include "observe.h"
#include <stdint.h>
#include <sys/socket.h>

#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY 1027
#endif
#ifndef F_CREATED_QUERY
#define F_CREATED_QUERY 1028
#endif
#ifndef F_GET_RW_HINT
#define F_GET_RW_HINT 1035
#define F_SET_RW_HINT 1036
#endif

#ifndef F_GETOWN_EX
#define F_SETOWN_EX 15
#define F_GETOWN_EX 16
#endif
#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

static uint64_t hint;

static long set_hint(int fd, uint64_t value) {
    hint = value;
    return fcntl(fd, F_SET_RW_HINT, &hint);
}

static long get_hint(int fd) {
    hint = 99;
    return fcntl(fd, F_GET_RW_HINT, &hint) < 0 ? -1 : (long)hint;
}

static void show_owner(int fd) {
    int ex[2] = {-1, -1};
    unsigned users[3] = {7, 7, 7};
    TRY(syscall(SYS_fcntl, fd, F_GETOWN_EX, ex));
    TRY(syscall(SYS_fcntl, fd, F_GETOWNER_UIDS, users));
    printf("  kind %d, users %u %u %u\n", ex[0], users[0], users[1], users[2]);
}

static void owners(void) {
    int p[2], fd = (int)MUST(open("owned", O_CREAT | O_RDWR, 0600));
    MUST(pipe(p));
    show_owner(p[0]);
    // No affair of an owner.
    TRY(set_hint(p[0], 2));
    TRY(get_hint(p[0]));
    TRY(get_hint(p[1]));
    show_owner(p[0]);
    TRY(fcntl(p[0], F_SETSIG, 0));
    show_owner(p[0]);
    MUST(setresuid(5, 6, 0));
    TRY(fcntl(p[0], F_SETOWN, getpid()));
    show_owner(p[0]);
    MUST(setresuid(0, 0, 0));
    show_owner(p[0]);
    TRY(fcntl(p[0], F_SETOWN, 0));
    show_owner(p[0]);
    TRY(syscall(SYS_fcntl, p[0], F_SETOWN_EX, ((int[]){2, 0})));
    show_owner(p[0]);
    TRY(fcntl(p[0], F_SETOWN, getpid()));
    show_owner(p[0]);
    close(fd);
    fd = (int)MUST(open("owned", O_RDONLY));
    MUST(setresuid(3, 0, 0));
    TRY(fcntl(fd, F_SETLEASE, F_RDLCK));
    show_owner(fd);
    MUST(setresuid(0, 0, 0));
    TRY(fcntl(fd, F_SETLEASE, F_UNLCK));
    show_owner(fd);
    TRY(syscall(SYS_fcntl, fd, F_GETOWNER_UIDS, 8));
    close(fd);
}

int main(void) {
    int p[2], s[2];
    fresh_dir("/tmp");
    int made = (int)MUST(open("f", O_CREAT | O_RDWR, 0600)), again = (int)MUST(open("f", O_CREAT | O_RDWR, 0600));
    int copy = (int)MUST(dup(made)), path = (int)MUST(open("f", O_PATH));
    int unnamed = (int)MUST(open(".", O_TMPFILE | O_RDWR, 0600));
    MUST(pipe(p));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    TRY(fcntl(made, F_DUPFD_QUERY, made));
    TRY(fcntl(made, F_DUPFD_QUERY, copy));
    TRY(fcntl(made, F_DUPFD_QUERY, again));
    TRY(fcntl(made, F_DUPFD_QUERY, path));
    TRY(fcntl(path, F_DUPFD_QUERY, path));
    TRY(fcntl(p[0], F_DUPFD_QUERY, p[1]));
    TRY(fcntl(made, F_DUPFD_QUERY, 99));
    TRY(fcntl(99, F_DUPFD_QUERY, 99));
    TRY(syscall(SYS_fcntl, made, F_DUPFD_QUERY, 0x100000000L + made));

    TRY(fcntl(made, F_CREATED_QUERY));
    TRY(fcntl(copy, F_CREATED_QUERY));
    TRY(fcntl(again, F_CREATED_QUERY));
    TRY(fcntl(path, F_CREATED_QUERY));
    TRY(fcntl(unnamed, F_CREATED_QUERY));
    TRY(fcntl(p[0], F_CREATED_QUERY));
    MUST(symlink("target", "link"));
    TRY(fcntl((int)MUST(open("link", O_CREAT | O_WRONLY, 0600)), F_CREATED_QUERY));
    TRY(fcntl((int)MUST(open("f", O_CREAT | O_WRONLY | O_TRUNC, 0600)), F_CREATED_QUERY));
    TRY(fcntl((int)MUST(open("x", O_CREAT | O_EXCL | O_RDONLY, 0)), F_CREATED_QUERY));

    owners();
    TRY(get_hint(made));
    TRY(set_hint(made, 3));
    TRY(get_hint(again));
    TRY(set_hint(made, 6));
    TRY(set_hint(made, (1UL << 32) + 1));
    TRY(set_hint(made, 256));
    TRY(get_hint(made));
    TRY(fcntl(made, F_GET_RW_HINT, 8));
    TRY(fcntl(made, F_SET_RW_HINT, 8));
    TRY(set_hint(path, 1));
    TRY(set_hint(s[0], 2));
    TRY(get_hint(s[0]));
    TRY(get_hint(s[1]));
    TRY(set_hint(made, 0));
    for (int command = 1037; command < 1042; command++)
        TRY(fcntl(made, command, &hint));
    TRY(fcntl(made, 1029, 0));
    TRY(fcntl(made, 12, &hint));
    MUST(fchmod(made, 0666));
    MUST(setuid(1000));
    TRY(set_hint(made, 1));
    TRY(set_hint(s[0], 1));
    TRY(get_hint(made));
    return 0;
}
