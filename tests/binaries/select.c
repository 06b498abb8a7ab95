// select and pselect6.
#include "observe.h"
#include <sys/select.h>

static int p[2];
static fd_set reading, writing, exceptional;

static void reset(void) {
    FD_ZERO(&reading);
    FD_ZERO(&writing);
    FD_ZERO(&exceptional);
    FD_SET(p[0], &reading);
    FD_SET(p[1], &writing);
    FD_SET(p[0], &exceptional);
}

static void show(void) {
    printf("    reading %d writing %d exceptional %d\n", FD_ISSET(p[0], &reading) != 0, FD_ISSET(p[1], &writing) != 0,
           FD_ISSET(p[0], &exceptional) != 0);
}

int main(void) {
    MUST(pipe(p));
    struct timeval zero = {0, 0}, moment = {0, 20000};
    reset();
    TRY(select(p[1] + 1, &reading, &writing, &exceptional, &zero));
    show();
    MUST(write(p[1], "x", 1));
    reset();
    TRY(select(p[1] + 1, &reading, &writing, &exceptional, NULL));
    show();
    reset();
    TRY(select(p[1], &reading, &writing, &exceptional, NULL));
    show();
    char byte;
    MUST(read(p[0], &byte, 1));
    reset();
    TRY(select(p[0] + 1, &reading, NULL, NULL, &moment));
    printf("left %ld.%06ld\n", (long)moment.tv_sec, (long)moment.tv_usec);
    show();
    TRY(select(0, NULL, NULL, NULL, &zero));
    moment = (struct timeval){0, 10000};
    TRY(select(0, NULL, NULL, NULL, &moment));
    TRY(select(-1, NULL, NULL, NULL, &zero));
    reset();
    FD_SET(50, &reading);
    TRY(select(51, &reading, NULL, NULL, &zero));
    struct timeval bad = {-1, 0};
    TRY(syscall(SYS_select, 0, NULL, NULL, NULL, &bad));
    bad = (struct timeval){0, -1};
    TRY(syscall(SYS_select, 0, NULL, NULL, NULL, &bad));
    TRY(syscall(SYS_select, 10, 16, NULL, NULL, &zero));
    TRY(syscall(SYS_select, 0, NULL, NULL, NULL, 16));
    struct timespec none = {0, 0};
    reset();
    TRY(pselect(p[1] + 1, &reading, &writing, &exceptional, &none, NULL));
    show();
    MUST(close(p[1]));
    reset();
    TRY(select(p[0] + 1, &reading, NULL, &exceptional, NULL));
    show();
    return 0;
}
