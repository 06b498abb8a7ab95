// ioctl on files and pipes: what applies, and what is no terminal.
#include "observe.h"
#include <sys/ioctl.h>
#include <termios.h>

int main(void) {
    fresh_dir("/tmp");
    put_file("file", "0123456789");
    int fd = MUST(open("file", O_RDWR)), p[2], value = -1;
    struct termios terminal;
    struct winsize size;
    MUST(pipe(p));
    TRY(ioctl(fd, FIONREAD, &value));
    printf("%d\n", value);
    MUST(lseek(fd, 4, SEEK_SET));
    TRY(ioctl(fd, FIONREAD, &value));
    printf("%d\n", value);
    TRY(ioctl(fd, TCGETS, &terminal));
    TRY(ioctl(p[0], TCGETS, &terminal));
    TRY(ioctl(0, TCGETS, &terminal));
    TRY(ioctl(1, TIOCGWINSZ, &size));
    TRY(isatty(0) + isatty(1));
    // Where contents are nobody can say here.
    uint64_t extents[4] = {0, 100, 0, 0};
    int memory = (int)MUST(open("/dev/shm", O_RDONLY)), status = (int)MUST(open("/proc/self/status", O_RDONLY));
    TRY(ioctl(memory, 0xc020660b, extents));
    TRY(ioctl(status, 0xc020660b, extents));
    TRY(ioctl(p[0], 0xc020660b, extents));
    TRY(ioctl(memory, 0xc020660b, (void *)8));
    TRY(ioctl(fd, FIOCLEX));
    TRY(fcntl(fd, F_GETFD));
    TRY(ioctl(fd, FIONCLEX));
    TRY(fcntl(fd, F_GETFD));
    value = 1;
    TRY(ioctl(p[0], FIONBIO, &value));
    TRY(fcntl(p[0], F_GETFL));
    TRY(read(p[0], &value, 1));
    value = 0;
    TRY(ioctl(p[0], FIONBIO, &value));
    TRY(fcntl(p[0], F_GETFL));
    TRY(ioctl(p[0], FIONREAD, 16));
    TRY(ioctl(99, FIONREAD, &value));
    TRY(ioctl(p[0], 0x12345678, 0));
    TRY(ioctl(fd, 0x12345678, 0));
    int null = MUST(open("/dev/null", O_RDWR)), path = MUST(open("file", O_PATH));
    TRY(ioctl(null, TCGETS, &terminal));
    TRY(ioctl(path, FIONREAD, &value));
    TRY(ioctl(path, FIOCLEX));
    int folder = MUST(open(".", O_RDONLY));
    TRY(ioctl(folder, TCGETS, &terminal));
    TRY(tcgetpgrp(1));
    return 0;
}
