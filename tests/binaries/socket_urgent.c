//@ run: 1
//@ run: 2
//@ run: 3
//@ run: signals
// Urgent data of TCP: seeded programs of sends, reads, looks and SO_OOBINLINE, and the signal SIGURG.
#include "socket_observe.h"
#include <signal.h>
#include <time.h>

static unsigned long state;
static unsigned random_below(unsigned limit) {
    state = state * 6364136223846793005ul + 1442695040888963407ul;
    return (unsigned)(state >> 33) % limit;
}

static void open_pair(int *pair) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), on = 1;
    MUST(bind(listener, (void *)&address, sizeof address));
    MUST(listen(listener, 1));
    MUST(getsockname(listener, (void *)&address, &len));
    pair[1] = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(pair[1], (void *)&address, sizeof address));
    pair[0] = (int)MUST(accept(listener, NULL, NULL));
    MUST(setsockopt(pair[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    close(listener);
}

static char next_byte = 'a';

static void put(int fd, unsigned len, int flags) {
    char bytes[8];
    for (unsigned i = 0; i < len; i++) {
        bytes[i] = next_byte;
        next_byte = next_byte == 'z' ? 'a' : (char)(next_byte + 1);
    }
    ssize_t sent = send(fd, bytes, len, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    printf("send%s %.*s: %zd\n", flags & MSG_OOB ? " urgent" : "", (int)len, bytes, sent);
}

static void show(int fd) {
    int mark = -1, len = -1;
    struct pollfd poller = {.fd = fd, .events = POLLIN | POLLPRI | POLLRDBAND | POLLRDNORM};
    MUST(ioctl(fd, SIOCATMARK, &mark));
    MUST(ioctl(fd, FIONREAD, &len));
    MUST(poll(&poller, 1, 0));
    printf("  mark %d, %d bytes, events %x\n", mark, len, poller.revents);
}

static void seeded(unsigned long seed) {
    int pair[2];
    for (int round = 0; round < 40; round++) {
        state = seed * 1000 + (unsigned)round;
        printf("-- %d\n", round);
        open_pair(pair);
        int is_inline = 0;
        for (int step = 0; step < 30; step++) {
            switch (random_below(9)) {
            case 0:
            case 1: put(pair[1], 1 + random_below(4), 0); break;
            case 2:
            case 3: put(pair[1], 1 + random_below(3), MSG_OOB); break;
            case 4: receive_now(pair[0], 1 + random_below(2), MSG_OOB | (random_below(3) ? 0 : MSG_PEEK)); break;
            case 5:
            case 6: receive_now(pair[0], random_below(6), 0); break;
            case 7: receive_now(pair[0], 1 + random_below(5), MSG_PEEK); break;
            default:
                if (random_below(4) == 0) {
                    is_inline = !is_inline;
                    set_option(pair[0], SOL_SOCKET, SO_OOBINLINE, is_inline, "inline");
                }
            }
            show(pair[0]);
        }
        if (random_below(2)) {
            printf("end\n");
            shutdown(pair[1], SHUT_WR);
            for (int step = 0; step < 4; step++) {
                receive_now(pair[0], 4, random_below(3) ? 0 : MSG_OOB);
                show(pair[0]);
            }
        }
        close(pair[0]);
        close(pair[1]);
    }
}

static sigset_t watched;

// Prints what has come, once `due` different ones are there.
static void show_signals(const char *label, int due) {
    static const struct timespec at_once = {0, 0}, at_last = {10, 0};
    siginfo_t info;
    int last = 0;
    printf("%s:", label);
    while (sigtimedwait(&watched, &info, due > 0 ? &at_last : &at_once) > 0) {
        // Linux tells of the same input as often as TCP has woken its readers.
        if (info.si_signo > SIGRTMIN && info.si_code == last)
            continue;
        if (info.si_signo > SIGRTMIN)
            printf(" RT code %x band %lx fd %d", info.si_code, (unsigned long)info.si_band, info.si_fd);
        else
            printf(" %s code %x", info.si_signo == SIGURG ? "SIGURG" : "SIGIO", info.si_code);
        last = info.si_code;
        due--;
    }
    printf("\n");
}

static void signals_of(int *pair, const char *title) {
    int own = getpid(), none = 0, value = -1;
    printf("-- %s\n", title);
    put(pair[1], 1, MSG_OOB);
    show_signals("no owner", 0);
    MUST(ioctl(pair[0], SIOCGPGRP, &value));
    printf("owner %d\n", value);
    MUST(ioctl(pair[0], SIOCSPGRP, &own));
    MUST(ioctl(pair[0], FIOGETOWN, &value));
    printf("owner %s\n", value == own ? "own" : "other");
    show_signals("old news", 0);
    put(pair[1], 2, MSG_OOB);
    show_signals("urgent", 1);
    put(pair[1], 2, 0);
    show_signals("plain", 0);
    receive_now(pair[0], 1, MSG_OOB);
    put(pair[1], 1, MSG_OOB);
    put(pair[1], 1, MSG_OOB);
    show_signals("twice", 1);
    MUST(fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    put(pair[1], 1, MSG_OOB);
    show_signals("urgent, async", 2);
    MUST(fcntl(pair[0], F_SETSIG, SIGRTMIN + 5));
    put(pair[1], 1, MSG_OOB);
    show_signals("urgent, async, told", 3);
    MUST(fcntl(pair[0], F_SETFL, O_NONBLOCK));
    put(pair[1], 1, MSG_OOB);
    show_signals("urgent, told", 1);
    MUST(ioctl(pair[0], SIOCSPGRP, &none));
    put(pair[1], 1, MSG_OOB);
    show_signals("owner gone", 0);
    MUST(fcntl(pair[0], F_SETOWN, own));
    MUST(shutdown(pair[1], SHUT_WR));
    show_signals("end", 0);
    close(pair[0]);
    close(pair[1]);
}

static void signals(void) {
    int pair[2];
    sigemptyset(&watched);
    sigaddset(&watched, SIGURG);
    sigaddset(&watched, SIGIO);
    sigaddset(&watched, SIGRTMIN + 5);
    MUST(sigprocmask(SIG_BLOCK, &watched, NULL));
    open_pair(pair);
    signals_of(pair, "TCP");
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    signals_of(pair, "Unix domain");
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    if (strcmp(argv[1], "signals") == 0)
        signals();
    else
        seeded(strtoul(argv[1], NULL, 10));
    return 0;
}
