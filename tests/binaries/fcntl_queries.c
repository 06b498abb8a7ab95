// What fcntl tells of open files: whether two are one (F_DUPFD_QUERY), whether opening made the file (F_CREATED_QUERY),
// and how long what is written will stay (F_SET_RW_HINT).
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

static uint64_t hint;

static long set_hint(int fd, uint64_t value) {
    hint = value;
    return fcntl(fd, F_SET_RW_HINT, &hint);
}

static long get_hint(int fd) {
    hint = 99;
    return fcntl(fd, F_GET_RW_HINT, &hint) < 0 ? -1 : (long)hint;
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
