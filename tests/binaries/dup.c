// dup, dup2, dup3: what copies share and what they do not.
#include "observe.h"
#include <sys/resource.h>

int main(void) {
    fresh_dir("/tmp");
    put_file("file", "0123456789");
    int fd = MUST(open("file", O_RDWR | O_CLOEXEC));
    int copy = TRY(dup(fd));
    char byte;
    MUST(read(fd, &byte, 1));
    TRY(lseek(copy, 0, SEEK_CUR));
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(fcntl(copy, F_GETFD) == 0);
    MUST(fcntl(copy, F_SETFL, O_APPEND));
    CHECK((fcntl(fd, F_GETFL) & O_APPEND) != 0);
    TRY(dup(-1));
    TRY(dup(100));
    TRY(dup2(fd, 20));
    TRY(dup2(fd, fd));
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    TRY(dup2(100, 21));
    TRY(dup2(100, 100));
    TRY(dup2(fd, -1));
    TRY(dup3(fd, 20, O_CLOEXEC));
    CHECK(fcntl(20, F_GETFD) == FD_CLOEXEC);
    TRY(syscall(SYS_dup3, fd, fd, 0));
    TRY(syscall(SYS_dup3, fd, 22, O_NONBLOCK));
    TRY(syscall(SYS_dup3, 100, 22, 0));
    // A descriptor that is replaced is closed first.
    int pipes[2];
    MUST(pipe(pipes));
    MUST(dup2(fd, pipes[1]));
    TRY(read(pipes[0], &byte, 1));
    struct rlimit limit = {30, 30};
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    TRY(dup2(fd, 29));
    TRY(dup2(fd, 30));
    TRY(fcntl(fd, F_DUPFD, 30));
    while (dup(fd) >= 0)
        ;
    TRY(dup(fd));
    TRY(open("file", O_RDONLY));
    MUST(close(17));
    TRY(dup(fd));
    return 0;
}
