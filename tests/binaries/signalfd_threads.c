//@ cpus: 1 2 4
// A signalfd read by several threads: each gets the signals of the process, and its own, never another thread's.
#include "observe.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/signalfd.h>

static int fd, tid;
static sem_t go, done;
static volatile int sum, count;

static int poll_now(void) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, 0);
}

static void show(const char *who) {
    struct signalfd_siginfo info;
    ssize_t length = read(fd, &info, sizeof info);
    if (length < 0)
        printf("%s: %s\n", who, error_name(errno));
    else
        printf("%s: signal %u code %d value %d\n", who, info.ssi_signo, info.ssi_code, info.ssi_int);
}

static void *other(void *argument) {
    (void)argument;
    tid = (int)syscall(SYS_gettid);
    sem_post(&done);
    sem_wait(&go);
    printf("the thread it was sent to: poll %d\n", poll_now());
    show("the thread it was sent to");
    show("the thread it was sent to, again");
    sem_post(&done);
    return 0;
}

static void *take_some(void *argument) {
    struct signalfd_siginfo info[2];
    (void)argument;
    for (;;) {
        ssize_t length = read(fd, info, sizeof info);
        for (ssize_t i = 0; i < length / (ssize_t)sizeof info[0]; i++) {
            if (info[i].ssi_int < 0)
                return 0;
            __atomic_add_fetch(&sum, info[i].ssi_int, __ATOMIC_SEQ_CST);
            __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
        }
    }
}

static void queue(int value) {
    siginfo_t info = {.si_signo = SIGRTMIN, .si_code = SI_QUEUE};
    info.si_value.sival_int = value;
    MUST(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN, &info));
}

int main(void) {
    pthread_t thread, threads[3];
    sigset_t set;
    sem_init(&go, 0, 0);
    sem_init(&done, 0, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    pthread_sigmask(SIG_BLOCK, &set, 0);
    fd = (int)MUST(signalfd(-1, &set, SFD_NONBLOCK));
    pthread_create(&thread, 0, other, 0);
    sem_wait(&done);
    MUST(syscall(SYS_tgkill, getpid(), tid, SIGUSR1));
    printf("another thread: poll %d\n", poll_now());
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    printf("and for a while: poll %d\n", poll(&entry, 1, 30));
    show("another thread");
    sem_post(&go);
    sem_wait(&done);
    pthread_join(thread, 0);

    MUST(kill(getpid(), SIGUSR1));
    MUST(syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1));
    show("own");
    show("the process's");
    show("nothing left");

    MUST(fcntl(fd, F_SETFL, 0));
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], 0, take_some, 0);
    for (int i = 1; i <= 300; i++)
        queue(i);
    while (count < 300)
        sched_yield();
    for (int i = 0; i < 3; i++) {
        queue(-1);
        usleep(1000);
    }
    // Two ends may have come to one reader.
    for (int i = 0; i < 3; i++)
        queue(-1);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], 0);
    printf("three readers: %d signals, sum %d\n", count, sum);
    return 0;
}
