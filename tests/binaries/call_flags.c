//@ run: table
//@ run: pipe
//@ run: patient
// Which flags of preadv2 and pwritev2 go with which files, and writing to a broken pipe without a signal.
#include "observe.h"
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
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

static char page[4096];

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
    int own = open("/proc/self/mem", O_RDWR);
    MUST(lseek(own, (off_t)(uintptr_t)page, SEEK_SET));
    row("memory", own, own, "ab", 2);
    row("page map", open("/proc/self/pagemap", O_RDONLY), -1, NULL, 8);
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

// Without a signal, a write to a stream waits and stops where it does with one.
static void patient(void) {
    static char data[4 << 20];
    struct iovec vector = {data, sizeof data};
    struct timeval patience = {.tv_usec = 20000};
    struct rlimit limit = {100, RLIM_INFINITY};
    int s[2];
    signal(SIGXFSZ, count);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    MUST(setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience));
    long part = syscall(SYS_pwritev2, s[0], &vector, 1, -1L, -1L, 0x100);
    CHECK(part > 0 && part < (long)sizeof data);
    TRY(syscall(SYS_pwritev2, s[0], &vector, 1, -1L, -1L, 0x100));
    TRY(syscall(SYS_pwritev2, s[0], &vector, 1, -1L, -1L, 0x108));
    TRY(syscall(SYS_pwritev2, s[0], &vector, 1025, -1L, -1L, 0x100));
    fresh_dir("/dev/shm");
    int file = (int)MUST(open("f", O_RDWR | O_CREAT, 0600));
    MUST(setrlimit(RLIMIT_FSIZE, &limit));
    long short_one = syscall(SYS_pwritev2, file, &vector, 1, 90L, 0L, 0x100);
    long none = syscall(SYS_pwritev2, file, &vector, 1, 100L, 0L, 0x100);
    limit.rlim_cur = limit.rlim_max;
    MUST(setrlimit(RLIMIT_FSIZE, &limit));
    printf("%ld, then %ld, and %d signals\n", short_one, none, signals);
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    if (strcmp(part, "table") == 0)
        table();
    else if (strcmp(part, "pipe") == 0)
        broken();
    else if (strcmp(part, "patient") == 0)
        patient();
    return 0;
}
