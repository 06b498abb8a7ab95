//@ run: last-exits
//@ run: last-returns
//@ run: first-exits-late
//@ run: group-from-thread
//@ run: group-from-first
//@ run: return-from-main
//@ run: after-first-left
//@ run: killed-thread
//@ run: crash-in-thread
//@ run: signal-without-handler
//@ run: exit-races
//@ run: many-then-group
//@ status: any
//@ cpus: 1 2 4
// How threads and their process end: who decides the status, and that nobody is left wherever he is.
#include "spawn.h"
#include <poll.h>
#include <time.h>

static volatile int ready, never, go;

static void count_in(void) {
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    raw(SYS_futex, &ready, FUTEX_WAKE, INT_MAX, 0);
}

static void await_ready(int wanted) {
    int value;
    while ((value = ready) < wanted)
        raw(SYS_futex, &ready, FUTEX_WAIT, value, 0);
}

static long start(void (*function)(void *), void *argument) {
    return spawn_raw(THREAD_FLAGS, spawn_stack(), NULL, NULL, NULL, function, argument);
}

static void exit_with(void *status) {
    raw(SYS_exit, status, 0, 0, 0);
}

static void spin(void *argument) {
    (void)argument;
    count_in();
    for (;;)
        __asm__ volatile("pause");
}

static void wait_for_word(void *argument) {
    (void)argument;
    count_in();
    for (;;)
        raw(SYS_futex, &never, FUTEX_WAIT, 0, 0);
}

static void read_pipe(void *argument) {
    int *ends = argument;
    char byte;
    count_in();
    for (;;)
        raw(SYS_read, ends[0], &byte, 1, 0);
}

static void sleep_long(void *argument) {
    struct timespec time = {1000, 0};
    (void)argument;
    count_in();
    for (;;)
        raw(SYS_nanosleep, &time, 0, 0, 0);
}

static void poll_nothing(void *argument) {
    (void)argument;
    count_in();
    for (;;)
        raw(SYS_poll, 0, 0, -1, 0);
}

static void pause_blocked(void *argument) {
    unsigned long all = ~0UL;
    (void)argument;
    raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
    count_in();
    for (;;)
        raw(SYS_pause, 0, 0, 0, 0);
}

static void call_often(void *argument) {
    (void)argument;
    count_in();
    for (;;)
        raw(SYS_getppid, 0, 0, 0, 0);
}

static void map_often(void *argument) {
    (void)argument;
    count_in();
    for (;;) {
        long address = raw6(SYS_mmap, 0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *(volatile char *)address = 1;
        raw(SYS_munmap, address, 65536, 0, 0);
    }
}

static void start_often(void *argument) {
    (void)argument;
    count_in();
    for (;;) {
        // One at a time, on a stack that is free again when the word is clear.
        static char stack[65536] __attribute__((aligned(16)));
        static volatile int word;
        word = 1;
        spawn_raw(THREAD_FLAGS | CLONE_CHILD_CLEARTID, stack + sizeof stack, NULL, (int *)&word, NULL, exit_with, (void *)9);
        await_clear(&word);
    }
}

// One thread of each kind: running, waiting, in calls.
static void everybody(void) {
    static int ends[2];
    MUST(pipe(ends));
    void (*kinds[])(void *) = {spin,         wait_for_word, read_pipe,  sleep_long, poll_nothing,
                               pause_blocked, call_often,    map_often, start_often};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        MUST(start(kinds[i], ends) > 0 ? 0 : -1);
    await_ready(ARRAY_LEN(kinds));
}

static void end_group(void *status) {
    raw(SYS_exit_group, status, 0, 0, 0);
}

static void crash(void *argument) {
    *(volatile int *)argument = 1;
}

static void kill_first(void *argument) {
    (void)argument;
    long pid = raw(SYS_getpid, 0, 0, 0, 0);
    raw(SYS_tgkill, pid, pid, SIGTERM, 0);
    for (;;)
        raw(SYS_pause, 0, 0, 0, 0);
}

static void exit_on_go(void *status) {
    count_in();
    while (!go)
        __asm__ volatile("pause");
    raw(SYS_exit, status, 0, 0, 0);
}

// Waits until the first thread has ended, as /proc tells.
static void await_end_of_first(void) {
    static char text[512];
    for (;;) {
        long fd = raw(SYS_open, "/proc/self/stat", O_RDONLY, 0, 0);
        long len = raw(SYS_read, fd, text, sizeof text, 0);
        raw(SYS_close, fd, 0, 0, 0);
        for (long i = 0; i + 2 < len; i++)
            if (text[i] == ')' && text[i + 2] == 'Z')
                return;
        raw(SYS_sched_yield, 0, 0, 0, 0);
    }
}

static void exit_after_first(void *status) {
    await_end_of_first();
    raw(SYS_exit, status, 0, 0, 0);
}

static void say(const char *text) {
    raw(SYS_write, 1, text, strlen(text), 0);
}

static void live_on(void *status) {
    await_end_of_first();
    long pid = raw(SYS_getpid, 0, 0, 0, 0);
    say(raw(SYS_gettid, 0, 0, 0, 0) != pid ? "another thread goes on\n" : "?\n");
    say(raw(SYS_tgkill, pid, pid, 0, 0) == 0 ? "the first one can be signalled\n" : "the first one is gone\n");
    say(raw(SYS_kill, pid, 0, 0, 0) == 0 ? "the process can be signalled\n" : "the process is gone\n");
    char text[64];
    say(raw(SYS_readlink, "/proc/self/cwd", text, sizeof text, 0) == -ENOENT ? "it has no folder\n" : "it has a folder\n");
    say(raw(SYS_readlink, "/proc/thread-self/cwd", text, sizeof text, 0) > 0 ? "this one has\n" : "this one has not\n");
    say("still writing\n");
    raw(SYS_exit, status, 0, 0, 0);
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    printf("%s\n", mode);
    fflush(stdout);
    if (!strcmp(mode, "last-exits")) {
        start(live_on, (void *)44);
        raw(SYS_exit, 33, 0, 0, 0);
    } else if (!strcmp(mode, "last-returns")) {
        start(exit_after_first, (void *)0x1fe);
        raw(SYS_exit, 0, 0, 0, 0);
    } else if (!strcmp(mode, "first-exits-late")) {
        for (long i = 0; i < 20; i++)
            spawn_and_wait(THREAD_FLAGS, exit_with, (void *)i);
        raw(SYS_exit, 77, 0, 0, 0);
    } else if (!strcmp(mode, "group-from-thread")) {
        everybody();
        start(end_group, (void *)12);
        for (;;)
            pause();
    } else if (!strcmp(mode, "group-from-first")) {
        everybody();
        raw(SYS_exit_group, 13, 0, 0, 0);
    } else if (!strcmp(mode, "return-from-main")) {
        everybody();
        return 14;
    } else if (!strcmp(mode, "after-first-left")) {
        everybody();
        
        start(end_group, (void *)15);
        raw(SYS_exit, 16, 0, 0, 0);
    } else if (!strcmp(mode, "killed-thread")) {
        everybody();
        start(kill_first, NULL);
        for (;;)
            pause();
    } else if (!strcmp(mode, "crash-in-thread")) {
        everybody();
        start(crash, (void *)8);
        for (;;)
            pause();
    } else if (!strcmp(mode, "signal-without-handler")) {
        everybody();
        kill(getpid(), SIGKILL);
    } else if (!strcmp(mode, "exit-races")) {
        // All leave at the same time, all with the same status.
        for (int i = 0; i < 30; i++)
            start(exit_on_go, (void *)21);
        await_ready(30);
        go = 1;
        raw(SYS_exit, 21, 0, 0, 0);
    } else if (!strcmp(mode, "many-then-group")) {
        for (int i = 0; i < 200; i++)
            MUST(start(i % 2 ? wait_for_word : sleep_long, NULL) > 0 ? 0 : -1);
        await_ready(200);
        start(end_group, (void *)22);
        for (;;)
            pause();
    }
    return 99;
}
