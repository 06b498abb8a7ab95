// fcntl: descriptor flags, status flags and duplication.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    put_file("file", "");
    int fd = MUST(open("file", O_RDWR));
    TRY(fcntl(fd, F_GETFD));
    TRY(fcntl(fd, F_SETFD, FD_CLOEXEC));
    TRY(fcntl(fd, F_GETFD));
    TRY(fcntl(fd, F_SETFD, 6));
    TRY(fcntl(fd, F_GETFD));
    TRY(fcntl(fd, F_GETFL) & ~O_LARGEFILE);
    // Access mode and creation flags are not changed, nor refused.
    TRY(fcntl(fd, F_SETFL, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_APPEND));
    TRY(fcntl(fd, F_GETFL) & ~O_LARGEFILE);
    TRY(fcntl(fd, F_SETFL, 0));
    TRY(fcntl(fd, F_GETFL) & ~O_LARGEFILE);
    TRY(fcntl(fd, F_DUPFD, 10));
    TRY(fcntl(fd, F_DUPFD, 10));
    TRY(fcntl(fd, F_DUPFD_CLOEXEC, 5));
    TRY(fcntl(5, F_GETFD));
    TRY(fcntl(10, F_GETFD));
    TRY(fcntl(fd, F_DUPFD, -1));
    TRY(fcntl(fd, F_DUPFD, 1 << 30));
    TRY(fcntl(fd, 12345));
    TRY(fcntl(99, F_GETFD));
    TRY(fcntl(99, 12345));
    int path = MUST(open("file", O_PATH));
    TRY(fcntl(path, F_GETFL));
    TRY(fcntl(path, F_SETFL, O_NONBLOCK));
    TRY(fcntl(path, F_GETFD));
    TRY(fcntl(path, F_DUPFD, 30));
    return 0;
}
