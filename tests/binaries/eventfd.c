// eventfd: a counter that can be waited for.
#include "observe.h"
#include <poll.h>
#include <sys/eventfd.h>

int main(void) {
    uint64_t value = 0;
    int fd = TRY(eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC));
    struct pollfd set = {fd, POLLIN | POLLOUT, 0};
    printf("flags %d %o\n", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL));
    TRY(poll(&set, 1, 0));
    printf("%x\n", set.revents);
    TRY(read(fd, &value, 8));
    printf("%lu\n", value);
    TRY(read(fd, &value, 8));
    TRY(poll(&set, 1, 0));
    printf("%x\n", set.revents);
    value = 5;
    TRY(write(fd, &value, 8));
    TRY(write(fd, &value, 8));
    TRY(read(fd, &value, 100));
    printf("%lu\n", value);
    value = ~0ul;
    TRY(write(fd, &value, 8));
    value = ~0ul - 1;
    TRY(write(fd, &value, 8));
    TRY(poll(&set, 1, 0));
    printf("%x\n", set.revents);
    value = 1;
    TRY(write(fd, &value, 8));
    TRY(read(fd, &value, 4));
    TRY(write(fd, &value, 4));
    TRY(lseek(fd, 0, SEEK_SET));
    int semaphore = TRY(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
    for (int i = 0; i < 3; i++) {
        TRY(read(semaphore, &value, 8));
        printf("%lu\n", value);
    }
    TRY(eventfd(0, 0x1000));
    return 0;
}
