// preadv2 and pwritev2: each flag on each kind of file, and positions.
#include "observe.h"
#include <sys/socket.h>
#include <sys/uio.h>

static char data[16] = "data";
static struct iovec vector = {data, 4};

static long reads(int fd, int64_t at, int flags) { return syscall(SYS_preadv2, fd, &vector, 1, at, at >> 32, flags); }
static long writes(int fd, int64_t at, int flags) { return syscall(SYS_pwritev2, fd, &vector, 1, at, at >> 32, flags); }

static void each(const char *name, int reading, int writing, int64_t at) {
    printf("%s at %lld:\n", name, (long long)at);
    for (int bit = -1; bit < 32; bit++) {
        // Not to wait is something that not every file system takes, and 0x100 came late.
        if (bit == 3 || bit == 8)
            continue;
        int flags = bit < 0 ? 0 : (int)(1u << bit);
        long got = reads(reading, at, flags);
        const char *read_answer = got < 0 ? error_name(errno) : got == 0 ? "end" : "some";
        printf("  %x: %s", (unsigned)flags, read_answer);
        got = writes(writing, at, flags);
        printf(" %s\n", got < 0 ? error_name(errno) : "some");
    }
}

int main(void) {
    fresh_dir("/dev/shm");
    int fd = (int)MUST(open("file", O_RDWR | O_CREAT, 0600));
    each("file", fd, fd, 0);
    MUST(lseek(fd, 0, SEEK_SET));
    each("file", fd, fd, -1);
    each("file", fd, fd, -2);
    struct stat status;
    MUST(fstat(fd, &status));
    printf("size %ld\n", (long)status.st_size);
    int pipes[2];
    MUST(pipe2(pipes, O_NONBLOCK));
    MUST(write(pipes[1], "something to begin with", 23));
    each("pipe", pipes[0], pipes[1], -1);
    each("pipe", pipes[0], pipes[1], 0);
    int device = (int)MUST(open("/dev/null", O_RDWR));
    each("null", device, device, 0);
    device = (int)MUST(open("/dev/zero", O_RDWR));
    each("zero", device, device, -1);
    int sockets[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets));
    MUST(write(sockets[1], "something to begin with", 23));
    each("socket", sockets[0], sockets[1], -1);
    int append = (int)MUST(open("file", O_RDWR | O_APPEND));
    TRY(writes(append, 0, 0x10));
    TRY(writes(append, 0, 0x20));
    TRY(writes(append, 0, 0x30));
    TRY(writes(fd, 100, 0x10));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(writes(fd, -1, 0x10));
    TRY(lseek(fd, 0, SEEK_CUR));
    MUST(fstat(fd, &status));
    printf("size %ld\n", (long)status.st_size);
    TRY(reads(99, 0, 0x1000));
    int reading = (int)MUST(open("file", O_RDONLY));
    TRY(writes(reading, 0, 0x1000));
    TRY(syscall(SYS_preadv2, fd, &vector, 0, 0, 0, 0x1000));
    TRY(syscall(SYS_preadv2, fd, &vector, -1, 0, 0, 0));
    TRY(syscall(SYS_preadv2, fd, &vector, 1025, 0, 0, 0));
    return 0;
}
