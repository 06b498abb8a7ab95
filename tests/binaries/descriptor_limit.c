// RLIMIT_NOFILE: descriptors run out and come back.
#include "observe.h"
#include <poll.h>
#include <sys/resource.h>

int main(void) {
    struct rlimit limit = {16, 64};
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    int count = 0, last = -1;
    for (int fd; (fd = open("/dev/null", O_RDONLY)) >= 0; last = fd)
        count++;
    printf("opened %d, the last is %d, then %s\n", count, last, error_name(errno));
    int p[2];
    TRY(pipe(p));
    TRY(dup(0));
    TRY(dup2(0, 16));
    TRY(dup2(0, 15));
    MUST(close(9));
    TRY(pipe(p));
    TRY(open("/dev/null", O_RDONLY));
    limit.rlim_cur = 40;
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    TRY(dup2(0, 39));
    // Lowering the limit closes nothing.
    limit.rlim_cur = 5;
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    TRY(fcntl(39, F_GETFD));
    TRY(dup2(0, 39));
    TRY(dup2(0, 4));
    TRY(dup(0));
    struct pollfd set[6] = {{0}};
    TRY(poll(set, 6, 0));
    limit.rlim_cur = 0;
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    TRY(open("/dev/null", O_RDONLY));
    TRY(write(1, "", 0));
    return 0;
}
