//@ status: SIGXFSZ
// RLIMIT_FSIZE: a write is cut short at the limit; at the limit it brings SIGXFSZ, and EFBIG when that is ignored.
#include "observe.h"
#include <sys/resource.h>

int main(void) {
    fresh_dir("/tmp");
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    unlink("file");
    struct rlimit limit = {10, RLIM_INFINITY};
    MUST(setrlimit(RLIMIT_FSIZE, &limit));
    signal(SIGXFSZ, SIG_IGN);
    TRY(write(fd, "0123456", 7));
    TRY(write(fd, "0123456", 7));
    TRY(write(fd, "0123456", 7));
    TRY(pwrite(fd, "x", 1, 100));
    TRY(pwrite(fd, "x", 1, 5));
    TRY(ftruncate(fd, 11));
    TRY(ftruncate(fd, 10));
    remove_fresh_dir();
    signal(SIGXFSZ, SIG_DFL);
    TRY(write(fd, "x", 1));
    puts("not reached");
    return 0;
}
