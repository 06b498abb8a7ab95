//@ cpus: 1 2 4
// Every cancellation point that can be reached with one process: cancelled before the call, and while it blocks.
#include "pthread_observe.h"
#include <dirent.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <threads.h>

static int empty[2], full[2], file, epoll, event, timer;
static sem_t semaphore;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static mtx_t plain_mutex;
static cnd_t plain_condition;
static pthread_t endless;
static char byte[1];
static struct iovec vector = {byte, 1};
static const struct timespec hours = {100000, 0};
static struct timespec far;

// A point that blocks until it is cancelled.
#define BLOCKING(name, call) \
    static void block_##name(void) { (void)!(call); }
// A point that returns at once, but acts on a request that is there.
#define PASSING(name, call) BLOCKING(name, call)

static sigset_t no_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    return set;
}
static sigset_t one_signal(void) {
    sigset_t set = no_signals();
    sigaddset(&set, SIGUSR2);
    return set;
}
static void leave_mutex(void *held) { pthread_mutex_unlock(held); }
static void wait_condition(int is_timed) {
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(leave_mutex, &mutex);
    for (;;)
        if (is_timed)
            pthread_cond_timedwait(&condition, &mutex, &far);
        else
            pthread_cond_wait(&condition, &mutex);
    pthread_cleanup_pop(1);
}
static void leave_plain(void *held) { mtx_unlock(held); }
static void wait_plain(int is_timed) {
    mtx_lock(&plain_mutex);
    pthread_cleanup_push(leave_plain, &plain_mutex);
    for (;;)
        if (is_timed)
            cnd_timedwait(&plain_condition, &plain_mutex, &far);
        else
            cnd_wait(&plain_condition, &plain_mutex);
    pthread_cleanup_pop(1);
}
static int select_empty(int is_pselect) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(empty[0], &set);
    return is_pselect ? pselect(empty[0] + 1, &set, NULL, NULL, NULL, NULL) : select(empty[0] + 1, &set, NULL, NULL, NULL);
}

static struct pollfd empty_poll(void) { return (struct pollfd){empty[0], POLLIN, 0}; }
static struct epoll_event events[1];

BLOCKING(read, read(empty[0], byte, 1))
BLOCKING(readv, readv(empty[0], &vector, 1))
BLOCKING(read_event, read(event, byte, 8))
BLOCKING(read_timer, read(timer, byte, 8))
BLOCKING(write, write(full[1], byte, 1))
BLOCKING(writev, writev(full[1], &vector, 1))
BLOCKING(open_fifo, open("fifo", O_RDONLY))
BLOCKING(openat_fifo, openat(AT_FDCWD, "fifo", O_WRONLY))
BLOCKING(nanosleep, nanosleep(&hours, NULL))
BLOCKING(clock_nanosleep, clock_nanosleep(CLOCK_MONOTONIC, 0, &hours, NULL))
BLOCKING(clock_nanosleep_until, clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &far, NULL))
BLOCKING(thrd_sleep, thrd_sleep(&hours, NULL))
BLOCKING(sleep, sleep(100000))
BLOCKING(usleep, usleep(900000000))
BLOCKING(pause, pause())
BLOCKING(sigsuspend, sigsuspend(&(sigset_t[]){no_signals()}[0]))
BLOCKING(sigwait, sigwait(&(sigset_t[]){one_signal()}[0], &(int){0}))
BLOCKING(sigwaitinfo, sigwaitinfo(&(sigset_t[]){one_signal()}[0], NULL))
BLOCKING(sigtimedwait, sigtimedwait(&(sigset_t[]){one_signal()}[0], NULL, &hours))
BLOCKING(poll, poll(&(struct pollfd[]){empty_poll()}[0], 1, -1))
BLOCKING(ppoll, ppoll(&(struct pollfd[]){empty_poll()}[0], 1, NULL, NULL))
BLOCKING(poll_nothing, poll(NULL, 0, 100000000))
BLOCKING(select, select_empty(0))
BLOCKING(pselect, select_empty(1))
BLOCKING(epoll_wait, epoll_wait(epoll, events, 1, -1))
BLOCKING(epoll_pwait, epoll_pwait(epoll, events, 1, -1, NULL))
BLOCKING(sem_wait, sem_wait(&semaphore))
BLOCKING(sem_timedwait, sem_timedwait(&semaphore, &far))
BLOCKING(cond_wait, (wait_condition(0), 0))
BLOCKING(cond_timedwait, (wait_condition(1), 0))
BLOCKING(cnd_wait, (wait_plain(0), 0))
BLOCKING(cnd_timedwait, (wait_plain(1), 0))
BLOCKING(join, pthread_join(endless, NULL))
BLOCKING(timedjoin, pthread_timedjoin_np(endless, NULL, &far))

PASSING(testcancel, (pthread_testcancel(), 0))
PASSING(pread, pread(file, byte, 1, 0))
PASSING(pwrite, pwrite(file, byte, 1, 0))
PASSING(preadv, preadv(file, &vector, 1, 0))
PASSING(pwritev, pwritev(file, &vector, 1, 0))
PASSING(creat, creat("made", 0600))
PASSING(close, close(-1))
PASSING(fsync, fsync(file))
PASSING(fdatasync, fdatasync(file))
PASSING(msync, msync(NULL, 0, MS_SYNC))
PASSING(waitpid, waitpid(-1, NULL, 0))
PASSING(waitid, waitid(P_ALL, 0, NULL, WEXITED))
PASSING(lock_wait, fcntl(file, F_SETLKW, &(struct flock){.l_type = F_UNLCK}))

static const struct {
    const char *name;
    void (*call)(void);
    int blocks;
} points[] = {
#define POINT(name) {#name, block_##name, 1}
#define PASS(name) {#name, block_##name, 0}
    POINT(read), POINT(readv), POINT(read_event), POINT(read_timer), POINT(write), POINT(writev), POINT(open_fifo),
    POINT(openat_fifo), POINT(nanosleep), POINT(clock_nanosleep), POINT(clock_nanosleep_until), POINT(thrd_sleep),
    POINT(sleep), POINT(usleep), POINT(pause), POINT(sigsuspend), POINT(sigwait), POINT(sigwaitinfo), POINT(sigtimedwait),
    POINT(poll), POINT(ppoll), POINT(poll_nothing), POINT(select), POINT(pselect), POINT(epoll_wait), POINT(epoll_pwait),
    POINT(sem_wait), POINT(sem_timedwait), POINT(cond_wait), POINT(cond_timedwait), POINT(cnd_wait), POINT(cnd_timedwait),
    POINT(join), POINT(timedjoin),
    PASS(testcancel), PASS(pread), PASS(pwrite), PASS(preadv), PASS(pwritev), PASS(creat), PASS(close), PASS(fsync),
    PASS(fdatasync), PASS(msync), PASS(waitpid), PASS(waitid), PASS(lock_wait),
};

static atomic_int ready, cleaned;
static pthread_barrier_t gate;

static void clean(void *argument) {
    (void)argument;
    cleaned++;
}

// The request is there before the call.
static void *call_late(void *argument) {
    void (*call)(void) = points[(long)argument].call;
    pthread_cleanup_push(clean, NULL);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    call();
    pthread_cleanup_pop(0);
    return NULL;
}

static void *call_first(void *argument) {
    pthread_cleanup_push(clean, NULL);
    ready++;
    points[(long)argument].call();
    pthread_cleanup_pop(0);
    return NULL;
}

static void *wait_for_ever(void *argument) {
    for (;;)
        pause();
    return argument;
}

int main(void) {
    fresh_dir("/tmp");
    MUST(pipe(empty));
    MUST(pipe(full));
    MUST(fcntl(full[1], F_SETFL, O_NONBLOCK));
    while (write(full[1], points, 4096) > 0)
        ;
    MUST(fcntl(full[1], F_SETFL, 0));
    MUST(mkfifo("fifo", 0600));
    MUST(file = open("file", O_RDWR | O_CREAT, 0600));
    MUST(epoll = epoll_create1(0));
    MUST(event = eventfd(0, 0));
    MUST(timer = timerfd_create(CLOCK_MONOTONIC, 0));
    sem_init(&semaphore, 0, 0);
    mtx_init(&plain_mutex, mtx_plain);
    cnd_init(&plain_condition);
    pthread_barrier_init(&gate, NULL, 2);
    far = time_after_ms(CLOCK_REALTIME, 100000000);
    sigset_t set = one_signal();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    endless = start_thread(wait_for_ever, NULL);

    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        cleaned = 0;
        pthread_t thread = start_thread(call_late, (void *)i);
        pthread_barrier_wait(&gate);
        pthread_cancel(thread);
        pthread_barrier_wait(&gate);
        void *result = join_thread(thread);
        printf("%s: before: %s, cleaned %d\n", points[i].name, result == PTHREAD_CANCELED ? "cancelled" : "returned", cleaned);
        if (!points[i].blocks)
            continue;
        // Once at some moment near the call, once most probably inside of it.
        for (int delay = 0; delay < 2; delay++) {
            ready = cleaned = 0;
            thread = start_thread(call_first, (void *)i);
            await(&ready, 1);
            if (delay)
                pause_ms(3);
            pthread_cancel(thread);
            result = join_thread(thread);
            printf("%s: inside: %s, cleaned %d\n", points[i].name, result == PTHREAD_CANCELED ? "cancelled" : "returned", cleaned);
        }
    }
    pthread_cancel(endless);
    join_thread(endless);
    return 0;
}
