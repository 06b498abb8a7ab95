// splice, tee and vmsplice: pipes, files and sockets, errors, and pages that are shared.
#include "socket_observe.h"
#define SPLICE_F_NONBLOCK 2

static char big[200000];

static long splice_to(int in, long *in_offset, int out, long *out_offset, size_t len, unsigned flags) {
    return syscall(SYS_splice, in, in_offset, out, out_offset, len, flags);
}
static long tee_to(int in, int out, size_t len, unsigned flags) { return syscall(SYS_tee, in, out, len, flags); }

static void show_read(const char *label, int fd) {
    char buffer[64];
    long count = read(fd, buffer, sizeof buffer);
    if (count >= 0)
        print_bytes(label, buffer, (size_t)count);
    else
        printf("%s: %s\n", label, error_name(errno));
}

static void note(int signal) { (void)signal; }

// The flag that nobody should wait is the pipe's: sockets that have no data yet are waited for, until the timer's signal; but for streams
// of the Unix domain.
static void wait_for_sockets(void) {
    static const int domains[] = {AF_INET, AF_INET, AF_UNIX, AF_UNIX, AF_UNIX};
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    struct sigaction action = {.sa_handler = note};
    struct itimerval soon = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
    int pipe_ends[2], pair[2];
    MUST(pipe(pipe_ends));
    MUST(sigaction(SIGALRM, &action, NULL));
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (domains[i] == AF_UNIX) {
            MUST(socketpair(AF_UNIX, kinds[i], 0, pair));
        } else {
            struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
            socklen_t len = sizeof name;
            pair[0] = (int)MUST(socket(AF_INET, kinds[i], 0));
            pair[1] = (int)MUST(socket(AF_INET, kinds[i], 0));
            MUST(bind(pair[0], (void *)&name, len));
            if (kinds[i] == SOCK_STREAM)
                MUST(listen(pair[0], 1));
            MUST(getsockname(pair[0], (void *)&name, &len));
            MUST(connect(pair[1], (void *)&name, len));
        }
        printf("domain %d kind %d\n", domains[i], kinds[i]);
        MUST(setitimer(ITIMER_REAL, &soon, NULL));
        TRY(splice_to(pair[1], NULL, pipe_ends[1], NULL, 10, SPLICE_F_NONBLOCK));
        MUST(setitimer(ITIMER_REAL, &never, NULL));
        MUST(fcntl(pair[1], F_SETFL, O_NONBLOCK));
        TRY(splice_to(pair[1], NULL, pipe_ends[1], NULL, 10, 0));
        close(pair[0]);
        close(pair[1]);
    }
}

int main(void) {
    int a[2], b[2], s[2];
    long offset;
    signal(SIGPIPE, SIG_IGN);
    fresh_dir("/tmp");
    put_file("file", "0123456789");
    MUST(pipe2(a, O_NONBLOCK));
    MUST(pipe2(b, O_NONBLOCK));
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
    int file = (int)MUST(open("file", O_RDWR)), append = (int)MUST(open("file", O_WRONLY | O_APPEND));
    wait_for_sockets();
    // What cannot be.
    TRY(splice_to(file, NULL, file, NULL, 1, 0));
    TRY(splice_to(s[0], NULL, s[1], NULL, 1, 0));
    TRY(splice_to(a[0], NULL, a[1], NULL, 1, 0));
    TRY(splice_to(a[1], NULL, b[1], NULL, 1, 0));
    TRY(splice_to(a[0], NULL, b[0], NULL, 1, 0));
    TRY(splice_to(99, NULL, b[0], NULL, 1, 0));
    TRY(splice_to(99, NULL, b[0], NULL, 0, 0));
    TRY(splice_to(a[0], NULL, b[1], NULL, 1, 16));
    offset = 0;
    TRY(splice_to(a[0], &offset, b[1], NULL, 1, 0));
    TRY(splice_to(file, NULL, a[1], &offset, 1, 0));
    TRY(splice_to(s[0], &offset, a[1], NULL, 1, 0));
    TRY(splice_to(a[0], NULL, s[1], &offset, 1, 0));
    TRY(splice_to(file, (long *)16, a[1], NULL, 1, 0));
    TRY(splice_to(a[0], NULL, append, NULL, 1, 0));
    TRY(splice_to(a[0], NULL, b[1], NULL, 1, 0));
    TRY(tee_to(a[0], a[1], 1, 0));
    TRY(tee_to(file, a[1], 1, 0));
    TRY(tee_to(a[0], b[1], 1, 0));
    // From a file.
    TRY(splice_to(file, NULL, a[1], NULL, 4, 0));
    TRY(lseek(file, 0, SEEK_CUR));
    offset = 6;
    TRY(splice_to(file, &offset, a[1], NULL, 100, 0));
    printf("%ld %ld\n", offset, (long)lseek(file, 0, SEEK_CUR));
    TRY(splice_to(file, &offset, a[1], NULL, 100, 0));
    // Between pipes, and twice.
    TRY(tee_to(a[0], b[1], 6, 0));
    show_read("teed", b[0]);
    TRY(splice_to(a[0], NULL, b[1], NULL, 3, 0));
    show_read("first", b[0]);
    show_read("rest", a[0]);
    MUST(write(a[1], "shared", 6));
    TRY(tee_to(a[0], b[1], 100, 0));
    MUST(write(a[1], "-one", 4));
    MUST(write(b[1], "-two", 4));
    show_read("one", a[0]);
    show_read("two", b[0]);
    // To a file.
    MUST(write(a[1], "ABCDEF", 6));
    offset = 2;
    TRY(splice_to(a[0], NULL, file, &offset, 3, 0));
    printf("%ld\n", offset);
    TRY(splice_to(a[0], NULL, file, NULL, 100, 0));
    show_file("file");
    // Sockets.
    MUST(write(s[0], "from a socket", 13));
    TRY(splice_to(s[1], NULL, a[1], NULL, 100, 0));
    TRY(splice_to(s[1], NULL, a[1], NULL, 100, 0));
    TRY(splice_to(a[0], NULL, s[1], NULL, 100, 0));
    show_read("back", s[0]);
    TRY(splice_to(a[0], NULL, s[1], NULL, 100, 0));
    // Full and empty.
    MUST(fcntl(a[0], F_SETFL, 0));
    MUST(fcntl(a[1], F_SETFL, 0));
    TRY(splice_to(a[0], NULL, s[1], NULL, 100, SPLICE_F_NONBLOCK));
    MUST(write(a[1], big, 65536));
    MUST(lseek(file, 0, SEEK_SET));
    TRY(splice_to(file, NULL, a[1], NULL, 5, SPLICE_F_NONBLOCK));
    TRY(splice_to(a[0], NULL, b[1], NULL, 100000, 0));
    TRY(splice_to(a[0], NULL, b[1], NULL, 100, SPLICE_F_NONBLOCK));
    long total = 0, count;
    while ((count = splice_to(b[0], NULL, s[1], NULL, 65536, 0)) > 0)
        total += count;
    printf("%ld, then %s\n", total, error_name(errno));
    // A big file through a pipe to a socket.
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 7 / 3);
    int large = (int)MUST(open("large", O_RDWR | O_CREAT, 0600));
    MUST(write(large, big, sizeof big));
    MUST(lseek(large, 0, SEEK_SET));
    static char got[200000];
    while (read(s[0], got, sizeof got) > 0)
        ;
    size_t received = 0;
    for (;;) {
        count = MUST(splice_to(large, NULL, a[1], NULL, 65536, 0));
        if (count == 0)
            break;
        while (count > 0) {
            count -= MUST(splice_to(a[0], NULL, s[1], NULL, (size_t)count, 0));
            while (received < sizeof got) {
                long part = read(s[0], got + received, sizeof got - received);
                if (part <= 0)
                    break;
                received += (size_t)part;
            }
        }
    }
    CHECK(received == sizeof big && memcmp(got, big, sizeof big) == 0);
    // sendfile to a socket.
    offset = 3;
    TRY(syscall(SYS_sendfile, s[1], file, &offset, 5L));
    show_read("sendfile", s[0]);
    // Memory.
    struct iovec out[2] = {{"mem", 3}, {"ory", 3}}, in = {got, 64};
    TRY(syscall(SYS_vmsplice, a[1], out, 2, 0));
    TRY(syscall(SYS_vmsplice, a[0], &in, 1, 0));
    print_bytes("memory", got, 6);
    TRY(syscall(SYS_vmsplice, file, out, 2, 0));
    TRY(syscall(SYS_vmsplice, a[0], &in, 1, SPLICE_F_NONBLOCK));
    // Ends.
    close(a[1]);
    TRY(splice_to(a[0], NULL, s[1], NULL, 100, 0));
    TRY(tee_to(a[0], b[1], 100, 0));
    close(b[0]);
    TRY(splice_to(large, NULL, b[1], NULL, 0, 0));
    MUST(lseek(large, 0, SEEK_SET));
    TRY(splice_to(large, NULL, b[1], NULL, 10, 0));
    close(s[0]);
    MUST(pipe(a));
    MUST(write(a[1], "xyz", 3));
    TRY(splice_to(a[0], NULL, s[1], NULL, 3, 0));
    return 0;
}
