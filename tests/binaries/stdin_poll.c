//@ stdin: first line\nsecond line\n
//@ run:
//@ run: drain
// Standard input is a stream: poll, FIONREAD-free reading, its end, and what it is not.
#include "observe.h"
#include <poll.h>

int main(int argc, char **argv) {
    (void)argv;
    struct stat status;
    struct pollfd set = {0, POLLIN, 0};
    char buffer[64];
    MUST(fstat(0, &status));
    CHECK(S_ISFIFO(status.st_mode) && !isatty(0));
    TRY(lseek(0, 0, SEEK_CUR));
    TRY(pread(0, buffer, 1, 0));
    TRY(write(0, "x", 1));
    TRY(poll(&set, 1, -1));
    CHECK((set.revents & POLLIN) != 0);
    if (argc > 1) {
        size_t total = 0;
        for (ssize_t len; (len = read(0, buffer, 3)) > 0;)
            total += len;
        printf("%zu bytes\n", total);
        TRY(read(0, buffer, 1));
        TRY(poll(&set, 1, -1));
        CHECK((set.revents & POLLHUP) != 0);
    } else {
        TRY(read(0, buffer, 6));
        print_bytes("begins", buffer, 6);
        MUST(close(0));
        TRY(read(0, buffer, 1));
        TRY(open("/dev/null", O_RDONLY));
        TRY(read(0, buffer, 1));
    }
    MUST(fstat(1, &status));
    CHECK(S_ISFIFO(status.st_mode));
    TRY(lseek(1, 0, SEEK_CUR));
    set = (struct pollfd){1, POLLOUT, 0};
    TRY(poll(&set, 1, -1));
    printf("%x\n", set.revents);
    return 0;
}
