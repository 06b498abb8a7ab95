//@ run: owner
//@ run: events
//@ run: pipes
//@ run: handler
// Signals about files: who gets them (F_SETOWN), which (F_SETSIG), and when (O_ASYNC).
#include "observe.h"
#include <sys/ioctl.h>
#include <sys/socket.h>

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

// Says which signals came within the call that caused them.
static void show_signals(const char *label) {
    struct timespec wait = {0, 0};
    siginfo_t info;
    printf("%s:", label);
    for (int count = 0; sigtimedwait(&watched, &info, &wait) > 0; count++) {
        if (info.si_signo == SIGIO && info.si_code == 0x80)
            printf(" SIGIO");
        else
            printf(" %s code %d band %lx fd %d", info.si_signo == SIGIO ? "SIGIO" : "RT", info.si_code,
                   (unsigned long)info.si_band, info.si_fd);
    }
    printf("\n");
}

static void forget_signals(void) {
    while (sigtimedwait(&watched, NULL, &(struct timespec){0, 0}) > 0)
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

// Each call of a pipe's other end is an event, whatever it moves; one that fails without looking is none.
static void pipes(void) {
    static char big[65536];
    char byte;
    int p[2], q[2];
    MUST(pipe2(p, O_NONBLOCK));
    for (int i = 0; i < 2; i++) {
        MUST(fcntl(p[i], F_SETOWN, getpid()));
        MUST(fcntl(p[i], F_SETSIG, SIGRTMIN + 3 + i));
        MUST(fcntl(p[i], F_SETFL, O_ASYNC | O_NONBLOCK));
    }
    for (int i = 0; i < 3; i++)
        MUST(write(p[1], "x", 1));
    show_signals("three writes");
    MUST(read(p[0], &byte, 1));
    show_signals("a read");
    MUST(read(p[0], big, 2));
    show_signals("the rest");
    CHECK(read(p[0], big, 2) == -1);
    show_signals("a read of nothing");
    CHECK(read(p[0], big, 0) == 0);
    show_signals("no bytes");
    MUST(write(p[1], big, sizeof big));
    show_signals("full");
    CHECK(write(p[1], big, 1) == -1);
    show_signals("no room");
    CHECK(read(p[0], (void *)8, 1) == -1);
    show_signals("a bad pointer");
    MUST(pipe2(q, O_NONBLOCK));
    MUST(splice(p[0], NULL, q[1], NULL, 4096, SPLICE_F_NONBLOCK));
    show_signals("splice from");
    MUST(splice(q[0], NULL, p[1], NULL, 4096, SPLICE_F_NONBLOCK));
    show_signals("splice to");
    MUST(tee(p[0], q[1], 4096, SPLICE_F_NONBLOCK));
    show_signals("tee");
    close(p[0]);
    show_signals("no reader");
    MUST(pipe2(p, O_NONBLOCK));
    MUST(fcntl(p[0], F_SETOWN, getpid()));
    MUST(fcntl(p[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    close(p[1]);
    show_signals("no writer");
}

// A handler runs before the call that caused its signal is seen to return.
static volatile int handled;

static void count(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    handled++;
}

static void handler(void) {
    int p[2], s[2];
    struct sigaction action = {.sa_sigaction = count, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGRTMIN + 3, &action, NULL);
    sigprocmask(SIG_UNBLOCK, &watched, NULL);
    MUST(pipe(p));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    for (int i = 0; i < 2; i++) {
        int fd = i == 0 ? p[0] : s[0];
        MUST(fcntl(fd, F_SETOWN, getpid()));
        MUST(fcntl(fd, F_SETSIG, SIGRTMIN + 3));
        MUST(fcntl(fd, F_SETFL, O_ASYNC));
    }
    int late = 0;
    for (int i = 0; i < 100; i++) {
        MUST(write(p[1], "x", 1));
        late += handled != 2 * i + 1;
        MUST(write(s[1], "x", 1));
        late += handled != 2 * i + 2;
    }
    printf("%d handled, %d late\n", handled, late);
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
    else if (strcmp(part, "pipes") == 0)
        pipes();
    else if (strcmp(part, "handler") == 0)
        handler();
    return 0;
}
