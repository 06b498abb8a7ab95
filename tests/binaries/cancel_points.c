//@ trapped
//@ cpus: 1 2 4
//@ timeout: 120
// pthread_cancel of a thread in every call that blocks and is a cancellation point: it ends, its clean-up runs, and what it
// waits for stays usable. Then a thread that masks cancellation, one that is cancelled before it blocks, and asynchronous ones.
#include "observe.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

static int ends[2];
static int epoll;
static volatile int tid, cleaned, returned;
static volatile unsigned long spins;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static pthread_t sleeper;

static void cleanup(void *argument) {
    (void)argument;
    cleaned++;
}

static void unlock(void *argument) {
    (void)argument;
    pthread_mutex_unlock(&mutex);
    cleaned++;
}

static void in_read(void) {
    char byte;
    returned = (int)read(ends[0], &byte, 1);
}

static void in_poll(void) {
    struct pollfd entry = {.fd = ends[0], .events = POLLIN};
    poll(&entry, 1, -1);
}

static void in_select(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    select(ends[0] + 1, &set, 0, 0, 0);
}

static void in_epoll(void) {
    struct epoll_event event;
    epoll_wait(epoll, &event, 1, -1);
}

static void in_nanosleep(void) { nanosleep(&(struct timespec){1000, 0}, 0); }
static void in_clock_nanosleep(void) { clock_nanosleep(CLOCK_REALTIME, 0, &(struct timespec){1000, 0}, 0); }
static void in_pause(void) { pause(); }

static void in_sigsuspend(void) {
    sigset_t none;
    sigemptyset(&none);
    sigsuspend(&none);
}

static void in_sigwaitinfo(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigwaitinfo(&set, 0);
}

static void in_semaphore(void) { sem_wait(&semaphore); }

static void in_condition(void) {
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(unlock, 0);
    for (;;)
        pthread_cond_wait(&condition, &mutex);
    pthread_cleanup_pop(1);
}

static void in_condition_timed(void) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 1000;
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(unlock, 0);
    for (;;)
        pthread_cond_timedwait(&condition, &mutex, &end);
    pthread_cleanup_pop(1);
}

static void in_join(void) { pthread_join(sleeper, 0); }

static const struct {
    const char *name;
    void (*call)(void);
} points[] = {
    {"read", in_read},
    {"poll", in_poll},
    {"select", in_select},
    {"epoll_wait", in_epoll},
    {"nanosleep", in_nanosleep},
    {"clock_nanosleep", in_clock_nanosleep},
    {"pause", in_pause},
    {"sigsuspend", in_sigsuspend},
    {"sigwaitinfo", in_sigwaitinfo},
    {"sem_wait", in_semaphore},
    {"pthread_cond_wait", in_condition},
    {"pthread_cond_timedwait", in_condition_timed},
    {"pthread_join", in_join},
};

static void *run(void *argument) {
    pthread_cleanup_push(cleanup, 0);
    tid = (int)syscall(SYS_gettid);
    points[(size_t)argument].call();
    pthread_cleanup_pop(0);
    return "returned";
}

static void wait_until_it_sleeps(void) {
    char path[64], line[512];
    while (!tid)
        sched_yield();
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    for (int looks = 0; looks < 2;) {
        usleep(1000);
        int fd = open(path, O_RDONLY);
        ssize_t length = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
        if (fd >= 0)
            close(fd);
        line[length > 0 ? length : 0] = 0;
        char *end = strrchr(line, ')');
        looks = end && end[2] == 'S' ? looks + 1 : 0;
    }
}

static const char *outcome(pthread_t thread) {
    void *value;
    if (pthread_join(thread, &value))
        return "cannot be joined";
    return value == PTHREAD_CANCELED ? "cancelled" : value ? value : "null";
}

static void *masked(void *argument) {
    char byte;
    (void)argument;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, 0);
    tid = (int)syscall(SYS_gettid);
    int got = (int)read(ends[0], &byte, 1);
    returned = got == 1 ? 1 : -errno;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, 0);
    pthread_testcancel();
    return "went on";
}

static void *late(void *argument) {
    (void)argument;
    while (!returned)
        sched_yield();
    pthread_cleanup_push(cleanup, 0);
    // The request is there before the call: it does not block, and takes nothing.
    in_read();
    pthread_cleanup_pop(0);
    return "returned";
}

static void *spin(void *argument) {
    (void)argument;
    pthread_cleanup_push(cleanup, 0);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, 0);
    tid = 1;
    for (;;)
        spins++;
    pthread_cleanup_pop(0);
    return 0;
}

static void *sleep_long(void *argument) {
    (void)argument;
    nanosleep(&(struct timespec){1000, 0}, 0);
    return 0;
}

int main(void) {
    pthread_t thread;
    char byte = 'x';
    MUST(pipe(ends));
    epoll = (int)MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN};
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
    sem_init(&semaphore, 0, 0);
    pthread_create(&sleeper, 0, sleep_long, 0);
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        tid = cleaned = 0;
        pthread_create(&thread, 0, run, (void *)i);
        wait_until_it_sleeps();
        pthread_cancel(thread);
        const char *how = outcome(thread);
        printf("%s: %s, %d cleaned up\n", points[i].name, how, cleaned);
    }
    CHECK(pthread_mutex_trylock(&mutex) == 0);

    pthread_cancel(sleeper);
    printf("the thread others waited for: %s\n", outcome(sleeper));

    tid = returned = 0;
    pthread_create(&thread, 0, masked, 0);
    wait_until_it_sleeps();
    pthread_cancel(thread);
    wait_until_it_sleeps();
    MUST(write(ends[1], &byte, 1));
    const char *how = outcome(thread);
    printf("masked: read %d, then %s\n", returned, how);

    cleaned = returned = 0;
    MUST(write(ends[1], &byte, 1));
    pthread_create(&thread, 0, late, 0);
    pthread_cancel(thread);
    returned = 1;
    how = outcome(thread);
    printf("before it blocked: %s, %d cleaned up\n", how, cleaned);
    struct pollfd entry = {.fd = ends[0], .events = POLLIN};
    printf("its byte is still there: %d\n", poll(&entry, 1, 0));

    for (int i = 0; i < 20; i++) {
        tid = 0;
        cleaned = 0;
        pthread_create(&thread, 0, spin, 0);
        while (!tid)
            sched_yield();
        pthread_cancel(thread);
        how = outcome(thread);
        if (i == 19 || cleaned != 1)
            printf("asynchronous: %s, %d cleaned up\n", how, cleaned);
    }
    return 0;
}
