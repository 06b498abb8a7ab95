// Pipes: order, ends, capacity and errors.
#include "observe.h"
#include <sys/ioctl.h>

int main(void) {
    int p[2], available;
    char buffer[128];
    static char big[70000];
    TRY(pipe(p));
    printf("%d %d\n", p[0], p[1]);
    TRY(write(p[1], "hello", 5));
    TRY(write(p[1], ", world", 7));
    TRY(ioctl(p[0], FIONREAD, &available));
    printf("available %d\n", available);
    TRY(read(p[0], buffer, 3));
    TRY(read(p[0], buffer + 3, 100));
    print_bytes("read", buffer, 12);
    TRY(write(p[0], "x", 1));
    TRY(read(p[1], buffer, 1));
    TRY(lseek(p[0], 0, SEEK_CUR));
    TRY(write(p[1], "", 0));
    TRY(syscall(SYS_pipe, 16));
    TRY(pipe2(p, 1));
    int q[2];
    TRY(pipe2(q, O_NONBLOCK | O_CLOEXEC));
    printf("%d %d\n", fcntl(q[0], F_GETFD), fcntl(q[1], F_GETFL));
    TRY(read(q[0], buffer, 1));
    // A pipe takes 64 KiB, then no more.
    long total = 0, count;
    while ((count = write(q[1], big, 1024)) > 0)
        total += count;
    printf("took %ld by kilobytes, then %s\n", total, error_name(errno));
    TRY(ioctl(q[0], FIONREAD, &available));
    printf("available %d\n", available);
    TRY(write(q[1], big, 4096));
    TRY(read(q[0], big, 4096));
    TRY(write(q[1], big, 4096));
    TRY(write(q[1], big, 1));
    while ((count = read(q[0], big, sizeof big)) > 0)
        total -= count;
    printf("left %ld, then %s\n", total, error_name(errno));
    TRY(write(q[1], big, sizeof big));
    TRY(write(q[1], big, 1));
    TRY(fcntl(q[0], F_GETPIPE_SZ));
    TRY(read(q[0], big, sizeof big));
    TRY(fcntl(q[0], F_SETPIPE_SZ, 5000));
    TRY(fcntl(q[0], F_GETPIPE_SZ));
    TRY(write(q[1], big, sizeof big));
    TRY(fcntl(q[0], F_SETPIPE_SZ, 4096));
    TRY(fcntl(q[0], F_SETPIPE_SZ, 1 << 16));
    TRY(fcntl(1000, F_GETPIPE_SZ));
    // All writers gone: what is left, then the end.
    MUST(close(q[1]));
    TRY(read(q[0], big, 8000));
    TRY(read(q[0], big, 8000));
    TRY(read(q[0], big, 8000));
    // All readers gone.
    signal(SIGPIPE, SIG_IGN);
    MUST(close(p[0]));
    TRY(write(p[1], "x", 1));
    TRY(write(p[1], "", 0));
    return 0;
}
