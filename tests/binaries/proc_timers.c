// /proc/self/timers: which POSIX timers there are, what they tell and how.
#include "observe.h"
#include <time.h>

// The file, with the number of the program as "ME".
static void show(void) {
    char text[2000], own[32], *found, *at = text;
    int fd = (int)MUST(open("/proc/self/timers", O_RDONLY));
    long len = MUST(read(fd, text, sizeof text - 1));
    text[len] = 0;
    snprintf(own, sizeof own, ".%d\n", getpid());
    for (; (found = strstr(at, own)); at = found + strlen(own))
        printf("%.*s.ME\n", (int)(found - at), at);
    printf("%s--\n", at);
    close(fd);
}

static int make(clockid_t clock, struct sigevent *event) {
    int id = -1;
    MUST(syscall(SYS_timer_create, clock, event, &id));
    return id;
}

int main(void) {
    struct stat found;
    struct sigevent event = {.sigev_notify = SIGEV_NONE, .sigev_signo = SIGUSR1};
    event.sigev_value.sival_ptr = (void *)0x1234;
    show();
    int first = make(CLOCK_REALTIME, NULL), second = make(CLOCK_MONOTONIC, &event);
    show();
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_value.sival_ptr = (void *)-1L;
    make(CLOCK_PROCESS_CPUTIME_ID, &event);
    event.sigev_notify = SIGEV_THREAD;
    make(CLOCK_THREAD_CPUTIME_ID, &event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGRTMIN + 20;
    ((int *)&event)[4] = getpid();
    make(CLOCK_BOOTTIME, &event);
    show();
    MUST(syscall(SYS_timer_delete, second));
    MUST(syscall(SYS_timer_delete, first));
    show();
    MUST(stat("/proc/self/timers", &found));
    printf("%o\n", found.st_mode);
    TRY(open("/proc/self/task/self/timers", O_RDONLY));
    TRY(open("/proc/thread-self/timers", O_RDONLY));
    return 0;
}
