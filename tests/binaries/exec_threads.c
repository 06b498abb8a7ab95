//@ run: from-first
//@ run: from-other
//@ run: after-first-left
//@ run: several-at-once
//@ run: chain
//@ run: own-descriptors
//@ run: fails
//@ cpus: 1 2 4
// execve in a process of several threads: the caller is alone afterwards, with the number of the process.
#include "spawn.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>

extern char **environ;
static char self[4096];
static volatile int ready, go, never;

static void count_in(void) {
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    raw(SYS_futex, &ready, FUTEX_WAKE, INT_MAX, 0);
}

static void await_ready(int wanted) {
    int value;
    while ((value = ready) < wanted)
        raw(SYS_futex, &ready, FUTEX_WAIT, value, 0);
}

static void start(void (*function)(void *), void *argument) {
    MUST(spawn_raw(THREAD_FLAGS, spawn_stack(), NULL, NULL, NULL, function, argument) > 0 ? 0 : -1);
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
    char byte;
    count_in();
    for (;;)
        raw(SYS_read, ((int *)argument)[0], &byte, 1, 0);
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

static void sleep_long(void *argument) {
    struct timespec time = {1000, 0};
    (void)argument;
    count_in();
    for (;;)
        raw(SYS_nanosleep, &time, 0, 0, 0);
}

static void everybody(void) {
    static int ends[2];
    MUST(pipe(ends));
    void (*kinds[])(void *) = {spin, wait_for_word, read_pipe, map_often, sleep_long};
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
            start(kinds[i], ends);
    await_ready(2 * ARRAY_LEN(kinds));
}

static char number[16];

static void become(void *mode) {
    char *arguments[] = {"exec_threads", "after", mode, number, NULL};
    raw(SYS_execve, self, arguments, environ, 0);
    raw(SYS_exit_group, 98, 0, 0, 0);
}

// Becomes the program when all others are ready to do so too.
static void become_on_go(void *mode) {
    count_in();
    while (!go)
        __asm__ volatile("pause");
    become(mode);
}

// Waits until the first thread has ended, as /proc tells.
static void become_after_first(void *mode) {
    static char text[512];
    for (;;) {
        long fd = raw(SYS_open, "/proc/self/stat", O_RDONLY, 0, 0);
        long len = raw(SYS_read, fd, text, sizeof text, 0);
        raw(SYS_close, fd, 0, 0, 0);
        for (long i = 0; i + 2 < len; i++)
            if (text[i] == ')' && text[i + 2] == 'Z')
                become(mode);
        raw(SYS_sched_yield, 0, 0, 0, 0);
    }
}

static void open_and_become(void *mode) {
    // A table of its own: what the others open is not in it.
    raw(SYS_dup2, 0, 70, 0, 0);
    raw(SYS_dup2, 0, 71, 0, 0);
    raw(SYS_fcntl, 71, F_SETFD, FD_CLOEXEC, 0);
    count_in();
    while (!go)
        __asm__ volatile("pause");
    become(mode);
}

static void *usual_thread(void *argument) {
    return argument;
}

// What is left of the old program.
static void after(char **argv) {
    int threads = 0;
    DIR *tasks = opendir("/proc/self/task");
    MUST(tasks ? 0 : -1);
    for (struct dirent *entry; (entry = readdir(tasks));)
        threads += entry->d_name[0] != '.';
    closedir(tasks);
    char name[16];
    prctl(PR_GET_NAME, name);
    printf("%s: %d thread, number of the process: %s, the same as before: %s, called %s\n", argv[2], threads,
           getpid() == syscall(SYS_gettid) ? "yes" : "no", getpid() == atoi(argv[3]) ? "yes" : "no", name);
    for (int fd = 64; fd < 80; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("descriptor %d is open\n", fd);
    pthread_t thread;
    void *result = NULL;
    pthread_create(&thread, NULL, usual_thread, "new threads work");
    pthread_join(thread, &result);
    printf("%s\n", (char *)result);
    if (!strcmp(argv[2], "chain") && argv[4]) {
        int left = atoi(argv[4]);
        if (left > 0) {
            static char text[16];
            snprintf(text, sizeof text, "%d", left - 1);
            char *arguments[] = {"exec_threads", "after", "chain", argv[3], text, NULL};
            everybody();
            execve(self, arguments, environ);
            printf("execve: %s\n", error_name(errno));
        }
    }
}

int main(int argc, char **argv) {
    MUST(readlink("/proc/self/exe", self, sizeof self - 1));
    char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "after") && argc > 3) {
        after(argv);
        return 0;
    }
    snprintf(number, sizeof number, "%d", getpid());
    if (!strcmp(mode, "from-first")) {
        everybody();
        become(mode);
    } else if (!strcmp(mode, "from-other")) {
        everybody();
        start(become, mode);
    } else if (!strcmp(mode, "after-first-left")) {
        everybody();
        start(become_after_first, mode);
        raw(SYS_exit, 5, 0, 0, 0);
    } else if (!strcmp(mode, "several-at-once")) {
        everybody();
        for (int i = 0; i < 5; i++)
            start(become_on_go, mode);
        await_ready(15);
        go = 1;
    } else if (!strcmp(mode, "chain")) {
        char *arguments[] = {"exec_threads", "after", mode, number, "20", NULL};
        execve(self, arguments, environ);
    } else if (!strcmp(mode, "own-descriptors")) {
        MUST(spawn_raw(THREAD_FLAGS & ~CLONE_FILES, spawn_stack(), NULL, NULL, NULL, open_and_become, mode) > 0 ? 0 : -1);
        await_ready(1);
        MUST(dup2(0, 75));
        MUST(fcntl(70, F_GETFD) == -1 && errno == EBADF ? 0 : -1);
        go = 1;
    } else if (!strcmp(mode, "fails")) {
        everybody();
        char *arguments[] = {"x", NULL};
        TRY(execve("/missing", arguments, environ));
        TRY(execve("/dev/null", arguments, environ));
        char *bad[] = {(char *)8, NULL};
        TRY(execve(self, bad, environ));
        printf("all are there: %s\n", ready == 10 ? "yes" : "no");
        return 0;
    }
    for (;;)
        pause();
}
