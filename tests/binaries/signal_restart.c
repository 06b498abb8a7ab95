//@ trapped
//@ cpus: 1 2 4
//@ timeout: 120
// Every call that blocks, interrupted by a handler in a thread of its own: once without and once with SA_RESTART. The sender
// waits until the thread sleeps, sends, and waits until it has returned or sleeps again; only then what it waits for comes.
#include "observe.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>

enum { FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_BITSET = 9, FUTEX_WAIT_PRIVATE = 128 };

static int pipe_ends[2], locked[2];
static int descriptor;
static uint32_t word;
static volatile int handled;
static volatile int tid;
static volatile int is_done;
static volatile long result;
static volatile int result_error;
static long extra;

static const struct timespec long_time = {1000, 0};
static struct timespec remaining;

static void handler(int signal) {
    (void)signal;
    handled++;
}

static void make_pipe(void) { MUST(pipe(pipe_ends)); }

static void make_full_pipe(void) {
    static char page[4096];
    MUST(pipe2(pipe_ends, O_NONBLOCK));
    while (write(pipe_ends[1], page, sizeof page) > 0) {
    }
    MUST(fcntl(pipe_ends[1], F_SETFL, 0));
}

static void make_half_full_pipe(void) {
    static char page[4096];
    MUST(pipe(pipe_ends));
    for (int i = 0; i < 15; i++)
        MUST(write(pipe_ends[1], page, sizeof page));
}

static void close_pipe(void) {
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void feed(void) { MUST(write(pipe_ends[1], "x", 1)); }

static void drain(void) {
    static char bytes[65536];
    MUST(read(pipe_ends[0], bytes, sizeof bytes));
}

static long do_read(void) {
    char byte;
    return read(pipe_ends[0], &byte, 1);
}

static long do_readv(void) {
    char byte;
    struct iovec part = {&byte, 1};
    return readv(pipe_ends[0], &part, 1);
}

static long do_write(void) { return write(pipe_ends[1], "x", 1); }

static long do_long_write(void) {
    static char bytes[3 * 4096];
    return write(pipe_ends[1], bytes, sizeof bytes);
}

static void wake_word(void) {
    word = 1;
    syscall(SYS_futex, &word, FUTEX_WAKE, 1, 0, 0, 0);
    syscall(SYS_futex, &word, FUTEX_WAKE | 128, 1, 0, 0, 0);
}

static void clear_word(void) { word = 0; }
static long do_futex(void) { return syscall(SYS_futex, &word, FUTEX_WAIT, 0, 0, 0, 0); }
static long do_futex_private(void) { return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0); }
static long do_futex_timed(void) { return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &long_time, 0, 0); }
static long do_futex_bitset(void) {
    return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, 0, 0, ~0);
}

static long do_futex_bitset_timed(void) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += 1000;
    return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &end, 0, ~0);
}

static long note_remaining(long answer) {
    extra = remaining.tv_sec > 900 && remaining.tv_sec < 1000;
    return answer;
}

static long do_nanosleep(void) { return note_remaining(syscall(SYS_nanosleep, &long_time, &remaining)); }

static long do_clock_nanosleep(void) {
    return note_remaining(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &long_time, &remaining));
}

static long do_clock_nanosleep_until(void) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 1000;
    return note_remaining(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &end, &remaining));
}

static long do_poll(void) {
    struct pollfd entry = {.fd = pipe_ends[0], .events = POLLIN};
    return syscall(SYS_poll, &entry, 1, -1);
}

static long do_poll_timed(void) {
    struct pollfd entry = {.fd = pipe_ends[0], .events = POLLIN};
    return syscall(SYS_poll, &entry, 1, 1000000);
}

static long do_ppoll(void) {
    struct pollfd entry = {.fd = pipe_ends[0], .events = POLLIN};
    sigset_t none;
    sigemptyset(&none);
    return syscall(SYS_ppoll, &entry, 1, 0, &none, 8);
}

static long do_ppoll_timed(void) {
    struct pollfd entry = {.fd = pipe_ends[0], .events = POLLIN};
    remaining = long_time;
    return note_remaining(syscall(SYS_ppoll, &entry, 1, &remaining, 0, 8));
}

static long do_select(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe_ends[0], &set);
    return syscall(SYS_select, pipe_ends[0] + 1, &set, 0, 0, 0);
}

static long do_select_timed(void) {
    fd_set set;
    struct timeval left = {1000, 0};
    FD_ZERO(&set);
    FD_SET(pipe_ends[0], &set);
    long answer = syscall(SYS_select, pipe_ends[0] + 1, &set, 0, 0, &left);
    remaining.tv_sec = left.tv_sec;
    return note_remaining(answer);
}

static long do_pselect(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe_ends[0], &set);
    return syscall(SYS_pselect6, pipe_ends[0] + 1, &set, 0, 0, 0, 0);
}

static void make_epoll(void) {
    make_pipe();
    descriptor = (int)MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN};
    MUST(epoll_ctl(descriptor, EPOLL_CTL_ADD, pipe_ends[0], &event));
}

static void close_epoll(void) {
    close(descriptor);
    close_pipe();
}

static long do_epoll_wait(void) {
    struct epoll_event event;
    return syscall(SYS_epoll_wait, descriptor, &event, 1, -1);
}

static long do_epoll_wait_timed(void) {
    struct epoll_event event;
    return syscall(SYS_epoll_wait, descriptor, &event, 1, 1000000);
}

static long do_epoll_pwait(void) {
    struct epoll_event event;
    sigset_t none;
    sigemptyset(&none);
    return syscall(SYS_epoll_pwait, descriptor, &event, 1, -1, &none, 8);
}

static long do_epoll_pwait2(void) {
    struct epoll_event event;
    return syscall(441, descriptor, &event, 1, &long_time, 0, 8);
}

static long do_sigtimedwait(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return syscall(SYS_rt_sigtimedwait, &set, 0, &long_time, 8);
}

static long do_sigwaitinfo(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return syscall(SYS_rt_sigtimedwait, &set, 0, 0, 8);
}

static long do_sigsuspend(void) {
    sigset_t none;
    sigemptyset(&none);
    return syscall(SYS_rt_sigsuspend, &none, 8);
}

static long do_pause(void) { return syscall(SYS_pause); }

static void make_eventfd(void) { descriptor = (int)MUST(eventfd(0, 0)); }
static void close_one(void) { close(descriptor); }
static void feed_eventfd(void) { MUST(write(descriptor, &(uint64_t){5}, 8)); }

static long do_read_8(void) {
    uint64_t count;
    return read(descriptor, &count, 8);
}

static void fill_eventfd(void) {
    make_eventfd();
    MUST(write(descriptor, &(uint64_t){UINT64_MAX - 1}, 8));
}

static void drain_eventfd(void) {
    uint64_t count;
    MUST(read(descriptor, &count, 8));
}

static long do_write_8(void) { return write(descriptor, &(uint64_t){5}, 8); }

static void make_timerfd(void) { descriptor = (int)MUST(timerfd_create(CLOCK_MONOTONIC, 0)); }

static void feed_timerfd(void) {
    struct itimerspec soon = {.it_value = {0, 1}};
    MUST(timerfd_settime(descriptor, 0, &soon, 0));
}

static void make_signalfd(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    descriptor = (int)MUST(signalfd(-1, &set, 0));
}

static void feed_signalfd(void) { MUST(kill(getpid(), SIGUSR2)); }

static long do_read_signal(void) {
    struct signalfd_siginfo info;
    return read(descriptor, &info, sizeof info);
}

static void lock_file(void) {
    locked[0] = (int)MUST(open("file", O_RDWR | O_CREAT, 0600));
    locked[1] = (int)MUST(open("file", O_RDWR));
    MUST(flock(locked[0], LOCK_EX));
}

static void unlock_file(void) { MUST(flock(locked[0], LOCK_UN)); }

static void close_locked(void) {
    close(locked[0]);
    close(locked[1]);
}

static long do_flock(void) { return flock(locked[1], LOCK_EX); }

static void lock_record(void) {
    struct flock whole = {.l_type = F_WRLCK};
    locked[0] = (int)MUST(open("file", O_RDWR | O_CREAT, 0600));
    locked[1] = (int)MUST(open("file", O_RDWR));
    MUST(fcntl(locked[0], F_OFD_SETLK, &whole));
}

static void unlock_record(void) {
    struct flock whole = {.l_type = F_UNLCK};
    MUST(fcntl(locked[0], F_OFD_SETLK, &whole));
}

static long do_lock_record(void) {
    struct flock whole = {.l_type = F_WRLCK};
    return fcntl(locked[1], F_OFD_SETLKW, &whole);
}

static void make_fifo(void) {
    descriptor = -1;
    MUST(mkfifo("fifo", 0600));
}

static long do_open_fifo(void) {
    int fd = open("fifo", O_RDONLY);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? fd : 0;
}

static void open_fifo(void) { descriptor = (int)MUST(open("fifo", O_WRONLY)); }

static void close_fifo(void) {
    close(descriptor);
    unlink("fifo");
}

static void nothing(void) {}

static const struct {
    const char *name;
    void (*prepare)(void);
    long (*call)(void);
    void (*release)(void);
    void (*end)(void);
} calls[] = {
    {"read of a pipe", make_pipe, do_read, feed, close_pipe},
    {"readv of a pipe", make_pipe, do_readv, feed, close_pipe},
    {"write to a full pipe", make_full_pipe, do_write, drain, close_pipe},
    {"write to a pipe with too little room", make_half_full_pipe, do_long_write, drain, close_pipe},
    {"futex wait", clear_word, do_futex, wake_word, nothing},
    {"futex wait, private", clear_word, do_futex_private, wake_word, nothing},
    {"futex wait with a timeout", clear_word, do_futex_timed, wake_word, nothing},
    {"futex wait_bitset", clear_word, do_futex_bitset, wake_word, nothing},
    {"futex wait_bitset until a time", clear_word, do_futex_bitset_timed, wake_word, nothing},
    {"nanosleep", nothing, do_nanosleep, nothing, nothing},
    {"clock_nanosleep", nothing, do_clock_nanosleep, nothing, nothing},
    {"clock_nanosleep until a time", nothing, do_clock_nanosleep_until, nothing, nothing},
    {"poll", make_pipe, do_poll, feed, close_pipe},
    {"poll with a timeout", make_pipe, do_poll_timed, feed, close_pipe},
    {"ppoll", make_pipe, do_ppoll, feed, close_pipe},
    {"ppoll with a timeout", make_pipe, do_ppoll_timed, feed, close_pipe},
    {"select", make_pipe, do_select, feed, close_pipe},
    {"select with a timeout", make_pipe, do_select_timed, feed, close_pipe},
    {"pselect", make_pipe, do_pselect, feed, close_pipe},
    {"epoll_wait", make_epoll, do_epoll_wait, feed, close_epoll},
    {"epoll_wait with a timeout", make_epoll, do_epoll_wait_timed, feed, close_epoll},
    {"epoll_pwait", make_epoll, do_epoll_pwait, feed, close_epoll},
    {"epoll_pwait2", make_epoll, do_epoll_pwait2, feed, close_epoll},
    {"sigtimedwait", nothing, do_sigtimedwait, nothing, nothing},
    {"sigwaitinfo", nothing, do_sigwaitinfo, nothing, nothing},
    {"sigsuspend", nothing, do_sigsuspend, nothing, nothing},
    {"pause", nothing, do_pause, nothing, nothing},
    {"read of an eventfd", make_eventfd, do_read_8, feed_eventfd, close_one},
    {"write to a full eventfd", fill_eventfd, do_write_8, drain_eventfd, close_one},
    {"read of a timerfd", make_timerfd, do_read_8, feed_timerfd, close_one},
    {"read of a signalfd", make_signalfd, do_read_signal, feed_signalfd, close_one},
    {"flock", lock_file, do_flock, unlock_file, close_locked},
    {"fcntl F_OFD_SETLKW", lock_record, do_lock_record, unlock_record, close_locked},
    {"open of a FIFO", make_fifo, do_open_fifo, open_fifo, close_fifo},
};

static void *run(void *argument) {
    long (*call)(void) = calls[(size_t)argument].call;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &set, 0);
    tid = (int)syscall(SYS_gettid);
    errno = 0;
    result = call();
    result_error = errno;
    is_done = 1;
    return 0;
}

// Waits until the thread sleeps, or has done its work.
static void wait_until_it_sleeps(void) {
    char path[64], line[512];
    while (!tid)
        sched_yield();
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    for (int looks = 0; looks < 2;) {
        usleep(1000);
        if (is_done)
            return;
        int fd = open(path, O_RDONLY);
        if (fd < 0)
            continue;
        ssize_t length = read(fd, line, sizeof line - 1);
        close(fd);
        line[length > 0 ? length : 0] = 0;
        char *end = strrchr(line, ')');
        looks = end && end[2] == 'S' ? looks + 1 : 0;
    }
}

static void interrupt(size_t index, int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    pthread_t thread;
    sigaction(SIGUSR1, &action, 0);
    handled = tid = is_done = 0;
    extra = -1;
    remaining = (struct timespec){0, 0};
    calls[index].prepare();
    pthread_create(&thread, 0, run, (void *)index);
    wait_until_it_sleeps();
    if (is_done)
        printf("    did not block\n");
    else
        MUST(syscall(SYS_tgkill, getpid(), tid, SIGUSR1));
    while (!handled && !is_done)
        sched_yield();
    wait_until_it_sleeps();
    int is_restarted = !is_done;
    if (calls[index].release != open_fifo || is_restarted)
        calls[index].release();
    pthread_join(thread, 0);
    printf("  %s: handled %d times, %s, then %ld %s", flags & SA_RESTART ? "SA_RESTART" : "plain", handled,
           is_restarted ? "went on" : "returned", result, result < 0 ? error_name(result_error) : "");
    if (extra >= 0)
        printf(", time left is %s", extra ? "told" : "not told");
    putchar('\n');
    if (calls[index].call == do_read_signal && !is_restarted)
        MUST(do_read_signal());
    calls[index].end();
}

int main(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, 0);
    fresh_dir("/tmp");
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        puts(calls[i].name);
        interrupt(i, 0);
        interrupt(i, SA_RESTART);
    }
    return 0;
}
