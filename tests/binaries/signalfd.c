// Signals read from a descriptor, epoll under signals and masks.
#include "observe.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

static volatile int handled;

static void handler(int number) {
    handled = number;
}

static void show(const struct signalfd_siginfo *info) {
    printf("signal %u errno %d code %d own pid %d uid %u fd %d tid %u band %u overrun %u trap %u status %d int %d ptr %llx "
           "utime %llu addr %llx\n",
           info->ssi_signo, info->ssi_errno, info->ssi_code, info->ssi_pid == (uint32_t)getpid(), info->ssi_uid,
           info->ssi_fd, info->ssi_tid, info->ssi_band, info->ssi_overrun, info->ssi_trapno, info->ssi_status,
           info->ssi_int, (unsigned long long)info->ssi_ptr, (unsigned long long)info->ssi_utime,
           (unsigned long long)info->ssi_addr);
}

int main(void) {
    sigset_t set, none, one;
    sigemptyset(&none);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN + 1);
    sigaddset(&set, SIGALRM);
    sigaddset(&set, SIGKILL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = MUST(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    printf("flags %x %x\n", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
    struct signalfd_siginfo info[4];
    struct pollfd pollfd = {fd, POLLIN | POLLOUT, 0};
    TRY(read(fd, info, sizeof info));
    TRY(poll(&pollfd, 1, 0));
    kill(getpid(), SIGUSR2);
    raise(SIGUSR1);
    raise(SIGUSR1);
    union sigval value = {.sival_int = 5};
    sigqueue(getpid(), SIGRTMIN + 1, value);
    value.sival_int = 6;
    sigqueue(getpid(), SIGRTMIN + 1, value);
    TRY(poll(&pollfd, 1, 0));
    printf("revents %x\n", pollfd.revents);
    long size = TRY(read(fd, info, sizeof info - 1));
    for (long i = 0; i < size / (long)sizeof info[0]; i++)
        show(&info[i]);
    size = TRY(read(fd, info, sizeof info));
    show(&info[0]);
    TRY(read(fd, info, sizeof info));
    TRY(read(fd, info, sizeof info[0] - 1));
    // Another set for the same descriptor; a signal that waits already.
    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    raise(SIGUSR1);
    TRY(signalfd(fd, &one, 0) == fd);
    TRY(read(fd, info, sizeof info));
    raise(SIGUSR2);
    TRY(read(fd, info, sizeof info));
    show(&info[0]);
    TRY(signalfd(fd, &set, 0) == fd);
    TRY(read(fd, info, sizeof info));
    show(&info[0]);

    // Waiting for one: in read, in poll, in epoll.
    fcntl(fd, F_SETFL, 0);
    struct itimerval soon = {{0, 0}, {0, 20000}};
    MUST(setitimer(ITIMER_REAL, &soon, NULL));
    TRY(read(fd, info, sizeof info));
    printf("signal %u code %d\n", info[0].ssi_signo, info[0].ssi_code);
    MUST(setitimer(ITIMER_REAL, &soon, NULL));
    TRY(poll(&pollfd, 1, -1));
    TRY(read(fd, info, sizeof info));
    int instance = MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 9};
    MUST(epoll_ctl(instance, EPOLL_CTL_ADD, fd, &event));
    MUST(setitimer(ITIMER_REAL, &soon, NULL));
    TRY(epoll_wait(instance, &event, 1, -1));
    TRY(read(fd, info, sizeof info));
    TRY(epoll_wait(instance, &event, 1, 0));
    // A periodic POSIX timer tells how many expiries it missed.
    int timer;
    struct sigevent notify = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 44};
    MUST(syscall(SYS_timer_create, CLOCK_MONOTONIC, &notify, &timer));
    struct itimerspec periodic = {{0, 1000000}, {0, 1000000}};
    struct timespec nap = {0, 40000000};
    MUST(syscall(SYS_timer_settime, timer, 0, &periodic, NULL));
    nanosleep(&nap, NULL);
    TRY(read(fd, info, sizeof info[0]));
    CHECK(info[0].ssi_overrun >= 20);
    printf("code %d int %d tid %u\n", info[0].ssi_code, info[0].ssi_int, info[0].ssi_tid);
    TRY(read(fd, info, sizeof info[0]));
    MUST(syscall(SYS_timer_delete, timer));
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);

    // epoll_pwait lets a blocked signal in for as long as it waits.
    MUST(epoll_ctl(instance, EPOLL_CTL_DEL, fd, NULL));
    handled = 0;
    raise(SIGUSR1);
    TRY(epoll_pwait(instance, &event, 1, 0, NULL));
    printf("handled %d\n", handled);
    TRY(epoll_pwait(instance, &event, 1, -1, &none));
    printf("handled %d\n", handled);
    handled = 0;
    raise(SIGUSR1);
    struct timespec forever = {1000, 0};
    TRY(syscall(SYS_epoll_pwait2, instance, &event, 1, &forever, &none, 8));
    printf("handled %d\n", handled);
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    CHECK(sigismember(&now, SIGUSR1) == 1);
    TRY(syscall(SYS_epoll_pwait, instance, &event, 1, 0, &none, 4));
    // Interrupted, even with SA_RESTART.
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    // Again and again: the first may come before the wait.
    struct itimerval often = {{0, 20000}, {0, 20000}}, stop = {{0, 0}, {0, 0}};
    MUST(setitimer(ITIMER_REAL, &often, NULL));
    TRY(epoll_wait(instance, &event, 1, -1));
    TRY(epoll_wait(instance, &event, 1, 1000000));
    MUST(setitimer(ITIMER_REAL, &stop, NULL));
    printf("handled %d\n", handled == SIGALRM);

    // Errors.
    TRY(signalfd(99, &set, 0));
    TRY(signalfd(0, &set, 0));
    TRY(signalfd(-1, &set, 1));
    TRY(syscall(SYS_signalfd4, -1, &set, 4, 0));
    TRY(syscall(SYS_signalfd4, -1, 16, 8, 0));
    TRY(syscall(SYS_signalfd, -1, &set, 8) >= 0);
    TRY(write(fd, info, sizeof info));

    // Of a descriptor that blocks, without waiting.
    sigprocmask(SIG_BLOCK, &set, NULL);
    int blocking = MUST(signalfd(-1, &set, 0));
    struct iovec whole = {info, sizeof info}, part = {info, 1};
    TRY(syscall(SYS_preadv2, blocking, &whole, 1, -1L, -1L, RWF_NOWAIT));
    raise(SIGUSR1);
    TRY(syscall(SYS_preadv2, blocking, &part, 1, -1L, -1L, RWF_NOWAIT));
    TRY(syscall(SYS_preadv2, blocking, &whole, 1, -1L, -1L, RWF_NOWAIT));
    TRY(syscall(SYS_preadv2, blocking, &whole, 1, -1L, -1L, RWF_NOWAIT));
    return 0;
}
