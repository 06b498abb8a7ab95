//@ run: table
//@ run: pipe
// Which flags of preadv2 and pwritev2 go with which files, and writing to a broken pipe without a signal.
#include "observe.h"
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

static const int flags[] = {0, 1, 2, 4, 8, 16, 32, 256, 512};
enum { FLAGS = sizeof flags / sizeof *flags };

static void show(long result) {
    printf(" %s", result < 0 ? error_name(errno) : "yes");
}

// A descriptor that is read, and one that is written, each if there is one.
static void row(const char *name, int reader, int writer, const void *data, size_t len) {
    for (int writes = 0; writes < 2; writes++) {
        if ((writes ? writer : reader) < 0)
            continue;
        printf("%s %s:", name, writes ? "written" : "read");
        for (int i = 0; i < FLAGS; i++) {
            char buffer[256] = {0};
            struct iovec vector = {buffer, len};
            if (data)
                memcpy(buffer, data, len);
            if (!writes && writer >= 0)
                (void)!write(writer, buffer, len);
            long number = writes ? SYS_pwritev2 : SYS_preadv2;
            show(syscall(number, writes ? writer : reader, &vector, 1, -1L, -1L, flags[i]));
        }
        printf("\n");
    }
}

static void table(void) {
    uint64_t one = 1;
    int p[2], s[2];
    sigset_t none;
    sigemptyset(&none);
    fresh_dir("/dev/shm");
    int file = (int)MUST(open("f", O_RDWR | O_CREAT, 0600));
    row("tmpfs", file, file, "ab", 2);
    MUST(pipe2(p, O_NONBLOCK));
    row("pipe", p[0], p[1], "ab", 2);
    int counter = (int)MUST(eventfd(0, EFD_NONBLOCK));
    row("eventfd", counter, counter, &one, 8);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
    row("socket", s[0], s[1], "ab", 2);
    row("timerfd", timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), -1, NULL, 8);
    row("signalfd", signalfd(-1, &none, SFD_NONBLOCK), -1, NULL, 128);
    row("inotify", inotify_init1(IN_NONBLOCK), -1, NULL, 64);
    int device = open("/dev/zero", O_RDWR);
    row("zero", device, device, "ab", 2);
    device = open("/dev/null", O_RDWR);
    row("null", device, device, "ab", 2);
    device = open("/dev/full", O_RDWR);
    row("full", device, device, "ab", 2);
    row("urandom", open("/dev/urandom", O_RDONLY), -1, NULL, 2);
    int memory = (int)MUST(syscall(SYS_memfd_create, "m", 0));
    row("memfd", memory, memory, "ab", 2);
    row("directory", open(".", O_RDONLY), -1, NULL, 2);
    row("sysctl", open("/proc/sys/fs/dir-notify-enable", O_RDONLY), -1, NULL, 1);
}

static volatile int signals;

static void count(int signal) {
    (void)signal;
    signals++;
}

static void broken(void) {
    struct iovec vector = {"text", 4};
    int p[2], s[2];
    signal(SIGPIPE, count);
    MUST(pipe(p));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    TRY(syscall(SYS_pwritev2, p[1], &vector, 1, -1L, -1L, 0x100));
    TRY(syscall(SYS_pwritev2, s[1], &vector, 1, -1L, -1L, 0x100));
    close(p[0]);
    close(s[0]);
    TRY(syscall(SYS_pwritev2, p[1], &vector, 1, -1L, -1L, 0x100));
    TRY(syscall(SYS_pwritev2, s[1], &vector, 1, -1L, -1L, 0x100));
    printf("%d signals\n", signals);
    TRY(syscall(SYS_pwritev2, p[1], &vector, 1, -1L, -1L, 0));
    TRY(syscall(SYS_pwritev2, s[1], &vector, 1, -1L, -1L, 8));
    printf("%d signals\n", signals);
    TRY(syscall(SYS_pwritev2, p[1], &vector, 1, 0L, 0L, 0x100));
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    if (strcmp(part, "table") == 0)
        table();
    else if (strcmp(part, "pipe") == 0)
        broken();
    return 0;
}
