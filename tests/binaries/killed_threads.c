//@ cpus: 1 2 4
//@ status: any
//@ run: fault
//@ run: fault-blocked
//@ run: fault-ignored
//@ run: fault-without-stack
//@ run: divide
//@ run: abort
//@ run: kill
//@ run: kill-thread
//@ run: terminate-thread
//@ run: terminate-process
//@ run: real-time
//@ run: exit
//@ run: exit-while-faulting
//@ run: main-ends
// One thread ends the process, in one way or another, while others run, sleep and wait.
#include "observe.h"
#include <pthread.h>
#include <sched.h>
#include <time.h>

static const char *way;
static volatile int started, never;
static volatile int tids[4];
static int ends[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int is(const char *name) { return !strcmp(way, name); }

static void start(size_t index) {
    tids[index] = (int)syscall(SYS_gettid);
    __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
}

static void *run(void *argument) {
    start((size_t)argument);
    while (!never) {
    }
    return 0;
}

static void *sleep_long(void *argument) {
    start((size_t)argument);
    nanosleep(&(struct timespec){1000, 0}, 0);
    return 0;
}

static void *read_nothing(void *argument) {
    char byte;
    start((size_t)argument);
    return (void *)read(ends[0], &byte, 1);
}

static void *lock(void *argument) {
    start((size_t)argument);
    pthread_mutex_lock(&mutex);
    return 0;
}

static void handler(int signal) {
    (void)signal;
    write(1, "handled\n", 8);
    _exit(3);
}

static void fault(void) { __asm__ volatile("movl $1, 8" ::: "memory"); }

static void *end(void *argument) {
    sigset_t set;
    (void)argument;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    if (is("fault"))
        fault();
    if (is("fault-blocked")) {
        signal(SIGSEGV, handler);
        pthread_sigmask(SIG_BLOCK, &set, 0);
        fault();
    }
    if (is("fault-ignored")) {
        signal(SIGSEGV, SIG_IGN);
        fault();
    }
    if (is("fault-without-stack")) {
        signal(SIGSEGV, handler);
        __asm__ volatile("xor %%esp, %%esp\n push %%rax" ::: "memory");
    }
    if (is("divide"))
        __asm__ volatile("xor %%ecx, %%ecx\n div %%ecx" ::: "rax", "rcx", "rdx");
    if (is("abort"))
        abort();
    if (is("kill"))
        kill(getpid(), SIGKILL);
    if (is("kill-thread"))
        syscall(SYS_tgkill, getpid(), tids[1], SIGKILL);
    if (is("terminate-thread"))
        syscall(SYS_tgkill, getpid(), tids[2], SIGTERM);
    if (is("terminate-process"))
        kill(getpid(), SIGTERM);
    if (is("real-time"))
        syscall(SYS_tgkill, getpid(), tids[3], SIGRTMIN + 5);
    if (is("exit"))
        exit(7);
    return 0;
}

static volatile int is_main_there = 1;

static void *outlive_main(void *argument) {
    while (is_main_there)
        sched_yield();
    puts("the last thread");
    return argument;
}

static void *fault_and_handle(void *argument) {
    start((size_t)argument);
    for (;;)
        __asm__ volatile("ud2");
    return 0;
}

static void skip(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

int main(int argc, char **argv) {
    pthread_t threads[5];
    void *(*const others[])(void *) = {run, sleep_long, read_nothing, lock};
    way = argc > 1 ? argv[1] : "";
    printf("%s\n", way);
    MUST(pipe(ends));
    pthread_mutex_lock(&mutex);
    if (is("main-ends")) {
        // The process ends with its last thread, and with that one's status.
        syscall(SYS_set_tid_address, &is_main_there);
        pthread_create(&threads[0], 0, outlive_main, 0);
        syscall(SYS_exit, 5);
    }
    if (is("exit-while-faulting")) {
        struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO};
        sigaction(SIGILL, &action, 0);
        for (size_t i = 0; i < 4; i++)
            pthread_create(&threads[i], 0, fault_and_handle, (void *)i);
        while (started < 4)
            sched_yield();
        _exit(9);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, others[i], (void *)i);
    while (started < 4)
        sched_yield();
    pthread_create(&threads[4], 0, end, 0);
    for (;;)
        pause();
}
