// close and close_range.
#include "observe.h"

static void show_open(void) {
    printf("open:");
    for (int fd = 0; fd < 40; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf(" %d%s", fd, fcntl(fd, F_GETFD) & FD_CLOEXEC ? "c" : "");
    printf("\n");
}

int main(void) {
    for (int i = 0; i < 20; i++)
        MUST(open("/dev/null", O_RDONLY));
    show_open();
    TRY(close(5));
    TRY(close(5));
    TRY(close(-1));
    TRY(close(1000));
    TRY(open("/dev/null", O_RDONLY));
    TRY(syscall(SYS_close_range, 10, 12, 0));
    show_open();
    TRY(syscall(SYS_close_range, 10, 15, 4));
    show_open();
    TRY(syscall(SYS_close_range, 12, 10, 0));
    TRY(syscall(SYS_close_range, 10, 12, 8));
    TRY(syscall(SYS_close_range, 18, ~0u, 0));
    show_open();
    TRY(syscall(SYS_close_range, 100, 200, 0));
    TRY(syscall(SYS_close_range, 6, 7, 2));
    show_open();
    return 0;
}
