//@ run: owner
//@ run: events
//@ run: full
// Signals about files: who gets them (F_SETOWN), which (F_SETSIG), and when (O_ASYNC).
#include "observe.h"
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#ifndef F_OWNER_TID
#define F_OWNER_TID 0
#define F_OWNER_PID 1
#define F_OWNER_PGRP 2
#endif
#ifndef F_SETOWN_EX
#define F_SETOWN_EX 15
#define F_GETOWN_EX 16
#endif
struct owner_ex {
    int type, pid;
};

static sigset_t watched;

// Says which signals came; waits a little for the first.
static void show_signals(const char *label) {
    struct timespec wait = {0, 50000000};
    siginfo_t info;
    printf("%s:", label);
    for (int count = 0; sigtimedwait(&watched, &info, &wait) > 0; count++) {
        if (info.si_signo == SIGIO && info.si_code == 0x80)
            printf(" SIGIO");
        else
            printf(" %s code %d band %lx fd %d", info.si_signo == SIGIO ? "SIGIO" : "RT", info.si_code,
                   (unsigned long)info.si_band, info.si_fd);
        wait.tv_nsec = 0;
    }
    printf("\n");
}

// Waits for those that are still on their way.
static void forget_signals(void) {
    while (sigtimedwait(&watched, NULL, &(struct timespec){0, 50000000}) > 0)
        ;
}

// What F_GETOWN says of a group looks like an error to libc when its number is small.
static void show_owner(int fd) {
    struct owner_ex ex = {-1, -1};
    long result = syscall(SYS_fcntl, fd, F_GETOWN_EX, &ex);
    int self = ex.type == F_OWNER_PGRP ? getpgrp() : getpid();
    printf("  %ld: kind %d, %s\n", result, ex.type, ex.pid == self ? "own" : ex.pid == 0 ? "nobody" : "another");
    if (ex.type != F_OWNER_PGRP)
        CHECK(syscall(SYS_fcntl, fd, F_GETOWN, 0) == ex.pid);
}

static void owner(void) {
    int p[2];
    struct owner_ex ex;
    MUST(pipe(p));
    show_owner(p[0]);
    TRY(fcntl(p[0], F_GETSIG));
    TRY(fcntl(p[0], F_SETOWN, getpid()) == 0);
    show_owner(p[0]);
    TRY(syscall(SYS_fcntl, p[0], F_SETOWN, -getpgrp()) == 0);
    show_owner(p[0]);
    TRY(fcntl(p[0], F_SETOWN, 0));
    show_owner(p[0]);
    TRY(fcntl(p[0], F_SETOWN, 999999999));
    TRY(fcntl(p[0], F_SETOWN, INT_MIN));
    ex = (struct owner_ex){F_OWNER_TID, (int)syscall(SYS_gettid)};
    TRY(syscall(SYS_fcntl, p[0], F_SETOWN_EX, &ex));
    show_owner(p[0]);
    ex.type = 3;
    TRY(syscall(SYS_fcntl, p[0], F_SETOWN_EX, &ex));
    ex = (struct owner_ex){F_OWNER_PID, -5};
    TRY(syscall(SYS_fcntl, p[0], F_SETOWN_EX, &ex));
    ex.pid = 999999999;
    TRY(syscall(SYS_fcntl, p[0], F_SETOWN_EX, &ex));
    TRY(syscall(SYS_fcntl, p[0], F_SETOWN_EX, (void *)8));
    TRY(fcntl(p[0], F_SETSIG, 65));
    TRY(fcntl(p[0], F_SETSIG, -1));
    TRY(fcntl(p[0], F_SETSIG, 64));
    TRY(fcntl(p[0], F_GETSIG));
    // Which files have the flag.
    fresh_dir("/tmp");
    int fd = (int)MUST(open("f", O_RDWR | O_CREAT, 0600)), on = 1;
    TRY(fcntl(fd, F_SETFL, O_ASYNC));
    TRY((fcntl(fd, F_GETFL) & O_ASYNC) != 0);
    TRY(ioctl(fd, FIOASYNC, &on));
    TRY(fcntl(p[0], F_SETFL, O_ASYNC));
    TRY((fcntl(p[0], F_GETFL) & O_ASYNC) != 0);
    on = 0;
    TRY(ioctl(p[0], FIOASYNC, &on));
    TRY((fcntl(p[0], F_GETFL) & O_ASYNC) != 0);
    TRY(ioctl(p[0], FIOASYNC, (int *)8));
}

static void events(void) {
    static char big[65536];
    int p[2], s[2];
    char byte;
    MUST(pipe2(p, O_NONBLOCK));
    MUST(fcntl(p[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    MUST(write(p[1], "x", 1));
    show_signals("no owner");
    MUST(fcntl(p[0], F_SETOWN, getpid()));
    MUST(write(p[1], "x", 1));
    show_signals("input");
    MUST(fcntl(p[0], F_SETSIG, SIGRTMIN + 3));
    MUST(write(p[1], "x", 1));
    show_signals("input, told");
    MUST(fcntl(p[0], F_SETSIG, SIGIO));
    MUST(write(p[1], "x", 1));
    show_signals("input, told by SIGIO");
    MUST(fcntl(p[0], F_SETFL, O_NONBLOCK));
    MUST(write(p[1], "x", 1));
    show_signals("off");
    // Room.
    MUST(fcntl(p[1], F_SETOWN, getpid()));
    MUST(fcntl(p[1], F_SETSIG, SIGRTMIN + 4));
    MUST(fcntl(p[1], F_SETFL, O_ASYNC | O_NONBLOCK));
    while (read(p[0], big, sizeof big) > 0)
        ;
    forget_signals();
    MUST(write(p[1], big, sizeof big));
    show_signals("full");
    MUST(read(p[0], big, sizeof big));
    show_signals("room");
    // A copy of the descriptor has the flag, too.
    int copy = (int)MUST(dup(p[0]));
    MUST(fcntl(p[0], F_SETSIG, SIGRTMIN + 3));
    MUST(fcntl(p[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    close(p[0]);
    MUST(write(p[1], "x", 1));
    show_signals("copy");
    close(copy);
    forget_signals();
    // A FIFO.
    fresh_dir("/tmp");
    MUST(mkfifo("fifo", 0600));
    int fifo = (int)MUST(open("fifo", O_RDONLY | O_NONBLOCK)), end = (int)MUST(open("fifo", O_WRONLY | O_NONBLOCK));
    MUST(fcntl(fifo, F_SETOWN, getpid()));
    MUST(fcntl(fifo, F_SETSIG, SIGRTMIN + 3));
    MUST(fcntl(fifo, F_SETFL, O_ASYNC));
    MUST(write(end, "x", 1));
    show_signals("fifo");
    close(fifo);
    forget_signals();
    // A socket.
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
    MUST(fcntl(s[0], F_SETOWN, getpid()));
    MUST(fcntl(s[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    MUST(write(s[1], "x", 1));
    show_signals("socket");
    MUST(read(s[0], &byte, 1));
    forget_signals();
    close(s[1]);
    show_signals("end of a socket");
}

static void full(void) {
    int p[2];
    MUST(pipe2(p, O_NONBLOCK));
    MUST(fcntl(p[0], F_SETOWN, getpid()));
    MUST(fcntl(p[0], F_SETSIG, SIGRTMIN + 3));
    MUST(fcntl(p[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    // By a handler that interrupts nothing.
    for (int i = 0; i < 3; i++)
        MUST(write(p[1], "x", 1));
    siginfo_t info;
    int count = 0;
    while (sigtimedwait(&watched, &info, &(struct timespec){0, 50000000}) > 0)
        count++;
    printf("%s\n", count >= 1 && count <= 3 ? "one to three signals" : "other");
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    sigemptyset(&watched);
    sigaddset(&watched, SIGIO);
    sigaddset(&watched, SIGRTMIN + 3);
    sigaddset(&watched, SIGRTMIN + 4);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    if (strcmp(part, "owner") == 0)
        owner();
    else if (strcmp(part, "events") == 0)
        events();
    else if (strcmp(part, "full") == 0)
        full();
    return 0;
}
