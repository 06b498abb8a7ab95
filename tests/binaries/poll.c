// poll and ppoll.
#include "observe.h"
#include <poll.h>
#include <time.h>

static struct pollfd set[4];

static void show(const char *what, int result, int count) {
    printf("%s: ", what);
    if (result < 0)
        printf("%s", error_name(errno));
    else
        printf("%d", result);
    for (int i = 0; i < count; i++)
        printf(" %x", set[i].revents);
    printf("\n");
}

#define POLL(count, timeout) show("poll", poll(set, count, timeout), count)

int main(void) {
    fresh_dir("/tmp");
    int p[2], q[2];
    MUST(pipe(p));
    MUST(pipe2(q, O_NONBLOCK));
    int file = MUST(open("file", O_RDWR | O_CREAT, 0600));
    set[0] = (struct pollfd){p[0], POLLIN, 0};
    set[1] = (struct pollfd){p[1], POLLOUT, 0};
    set[2] = (struct pollfd){file, POLLIN | POLLOUT | POLLPRI, 0};
    set[3] = (struct pollfd){99, POLLIN, 0};
    POLL(4, 0);
    POLL(1, 0);
    POLL(1, 20);
    MUST(write(p[1], "x", 1));
    POLL(1, -1);
    set[0].events = 0;
    POLL(1, 0);
    set[0].events = POLLIN | POLLRDNORM | POLLOUT;
    POLL(1, 0);
    set[3].fd = -1;
    POLL(4, 0);
    // A full pipe is not writable, and becomes so by reading.
    static char page[4096];
    while (write(q[1], page, sizeof page) > 0)
        ;
    set[0] = (struct pollfd){q[0], POLLIN, 0};
    set[1] = (struct pollfd){q[1], POLLOUT, 0};
    POLL(2, 0);
    MUST(read(q[0], page, sizeof page));
    POLL(2, 0);
    MUST(close(q[0]));
    set[0].fd = -3;
    POLL(2, -1);
    set[0] = (struct pollfd){p[0], POLLIN, 0};
    MUST(close(p[1]));
    POLL(1, -1);
    char byte;
    MUST(read(p[0], &byte, 1));
    POLL(1, -1);
    set[0].events = 0;
    POLL(1, -1);
    set[0].fd = MUST(open("/dev/null", O_RDWR));
    set[0].events = POLLIN | POLLOUT;
    POLL(1, 0);
    set[0].fd = MUST(open(".", O_RDONLY));
    POLL(1, 0);
    set[0].fd = MUST(open("/dev/urandom", O_RDONLY));
    set[0].events = POLLIN;
    POLL(1, 0);
    set[0].fd = MUST(open("file", O_PATH));
    POLL(1, 0);
    TRY(poll(NULL, 0, 0));
    TRY(poll(NULL, 0, 5));
    TRY(poll(NULL, 1, 0));
    TRY(poll(set, 1u << 30, 0));
    struct timespec timeout = {0, 1000}, bad = {0, 1000000000};
    set[0] = (struct pollfd){q[1], POLLOUT, 0};
    show("ppoll", ppoll(set, 1, &timeout, NULL), 1);
    set[0].fd = -1;
    show("ppoll", ppoll(set, 1, &timeout, NULL), 1);
    show("ppoll", ppoll(set, 1, &bad, NULL), 1);
    TRY(syscall(SYS_ppoll, set, 1, &timeout, &byte, 4));
    TRY(syscall(SYS_ppoll, set, 1, 16, NULL, 8));
    return 0;
}
