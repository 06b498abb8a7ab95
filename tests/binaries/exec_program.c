//@ run: begin
//@ run: errors
//@ run: scripts
//@ run: descriptor
//@ run: memory
//@ cpus: 1 2
// execve: what the new program begins with, what of the old one stays, errors, and scripts.
#include "observe.h"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

extern char **environ;

static void handler(int signal) {
    (void)signal;
}

static void show_signal(int number) {
    struct sigaction action;
    sigaction(number, NULL, &action);
    printf("signal %d: %s\n", number,
           action.sa_handler == SIG_DFL   ? "default"
           : action.sa_handler == SIG_IGN ? "ignored"
                                          : "handled");
}

static void show_state(void) {
    sigset_t blocked, pending;
    stack_t stack;
    struct itimerspec timer;
    struct rlimit limit;
    char name[16] = "", path[256] = "";
    show_signal(SIGUSR1);
    show_signal(SIGUSR2);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    sigpending(&pending);
    printf("SIGHUP blocked %d, waits %d; SIGINT blocked %d\n", sigismember(&blocked, SIGHUP),
           sigismember(&pending, SIGHUP), sigismember(&blocked, SIGINT));
    sigaltstack(NULL, &stack);
    printf("alternate stack: flags %d\n", stack.ss_flags);
    printf("timer 0: %s\n", syscall(SYS_timer_gettime, 0, &timer) ? error_name(errno) : "there");
    for (int fd = 64; fd < 80; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("descriptor %d, flags %d\n", fd, fcntl(fd, F_GETFD));
    prctl(PR_GET_NAME, name);
    printf("name %s\n", name);
    printf("slack %d, dumpable %d, keepcaps %d\n", prctl(PR_GET_TIMERSLACK), prctl(PR_GET_DUMPABLE),
           prctl(PR_GET_KEEPCAPS));
    printf("umask %o\n", umask(0));
    printf("folder %s\n", getcwd(path, sizeof path) && !strcmp(path, "/tmp") ? "/tmp" : "another");
    getrlimit(RLIMIT_NOFILE, &limit);
    printf("descriptors up to %ld\n", (long)limit.rlim_cur);
    unsigned long head = 1, len = 0;
    syscall(SYS_get_robust_list, 0, &head, &len);
    printf("robust list: %s\n", head ? "there" : "none");
}

static void begin(const char *self) {
    struct sigaction action = {.sa_handler = handler};
    static char alternate[65536];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigset_t set;
    timer_t timer;
    struct itimerspec never = {{0, 0}, {1000, 0}};
    struct rlimit limit = {100, 200};
    MUST(sigaction(SIGUSR1, &action, NULL));
    action.sa_handler = SIG_IGN;
    MUST(sigaction(SIGUSR2, &action, NULL));
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    MUST(sigprocmask(SIG_BLOCK, &set, NULL));
    MUST(kill(getpid(), SIGHUP));
    MUST(sigaltstack(&stack, NULL));
    MUST(timer_create(CLOCK_MONOTONIC, NULL, &timer));
    MUST(timer_settime(timer, 0, &never, NULL));
    // Low ones the new program closes by itself.
    MUST(dup2(0, 70));
    MUST(dup3(0, 71, O_CLOEXEC));
    MUST(dup2(0, 72));
    MUST(prctl(PR_SET_NAME, "before"));
    MUST(prctl(PR_SET_TIMERSLACK, 777));
    MUST(prctl(PR_SET_DUMPABLE, 0));
    MUST(prctl(PR_SET_KEEPCAPS, 1));
    umask(013);
    MUST(chdir("/tmp"));
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    char *arguments[] = {"some name", "state", "with blanks in it", "", NULL};
    char *environment[] = {"ONE=1", "TWO=", NULL};
    execve(self, arguments, environment);
    printf("execve: %s\n", error_name(errno));
}

static void errors(const char *self) {
    char *arguments[] = {"x", NULL};
    static char long_path[5000];
    static char long_string[140000];
    static char *many[20000];
    memset(long_path, 'a', sizeof long_path - 1);
    memset(long_string, 'b', sizeof long_string - 1);
    fresh_dir("/tmp");
    put_file("text", "no program\n");
    put_file("empty", "");
    put_file("plain", "text");
    MUST(chmod("text", 0755));
    MUST(chmod("empty", 0755));
    MUST(symlink("loop", "loop"));
    TRY(execve("missing", arguments, environ));
    TRY(execve("", arguments, environ));
    TRY(execve("plain", arguments, environ));
    TRY(execve(".", arguments, environ));
    TRY(execve("plain/x", arguments, environ));
    TRY(execve("text", arguments, environ));
    TRY(execve("empty", arguments, environ));
    TRY(execve("loop", arguments, environ));
    TRY(execve("/dev/null", arguments, environ));
    TRY(execve(long_path, arguments, environ));
    TRY(syscall(SYS_execve, 8, arguments, environ));
    TRY(syscall(SYS_execve, self, 8, environ));
    TRY(syscall(SYS_execve, self, arguments, 8));
    TRY(syscall(SYS_execve, "missing", 8, 8));
    char *bad[] = {"x", (char *)8, NULL};
    TRY(execve(self, bad, environ));
    char *one_long[] = {"x", long_string, NULL};
    TRY(execve(self, one_long, environ));
    for (size_t i = 0; i + 1 < ARRAY_LEN(many); i++)
        many[i] = long_string + sizeof long_string - 200;
    TRY(execve(self, many, environ));
    int writer = (int)MUST(open("text", O_WRONLY));
    TRY(execve("text", arguments, environ));
    close(writer);
    TRY(syscall(SYS_execveat, AT_FDCWD, "missing", arguments, environ, 0));
    TRY(syscall(SYS_execveat, AT_FDCWD, "", arguments, environ, 0));
    TRY(syscall(SYS_execveat, AT_FDCWD, "missing", arguments, environ, 1));
    TRY(syscall(SYS_execveat, 77, "missing", arguments, environ, 0));
    TRY(syscall(SYS_execveat, 77, "", arguments, environ, AT_EMPTY_PATH));
    TRY(syscall(SYS_execveat, AT_FDCWD, "loop", arguments, environ, AT_SYMLINK_NOFOLLOW));
    TRY(syscall(SYS_execveat, 0, "x", arguments, environ, 0));
    TRY(syscall(SYS_execveat, AT_FDCWD, "", arguments, environ, AT_EMPTY_PATH));
}

static void scripts(const char *self) {
    static char line[4200];
    char folder[] = "/tmp/scripts-XXXXXX";
    char *arguments[] = {"replaced", "one", "two", NULL};
    char *environment[] = {NULL};
    MUST(mkdtemp(folder) ? 0 : -1);
    MUST(chdir(folder));
    put_file("broken", "#!\n");
    put_file("lost", "#!/missing/interpreter\n");
    put_file("circle", "#!circle\n");
    snprintf(line, sizeof line, "#!  %s \t show  all of it \t\nand more\n", self);
    put_file("script", line);
    put_file("nested", "#!./script inner\n");
    for (const char **name = (const char *[]){"broken", "lost", "circle", "script", "nested", NULL}; *name; name++)
        MUST(chmod(*name, 0755));
    TRY(execve("broken", arguments, environment));
    TRY(execve("lost", arguments, environment));
    TRY(execve("circle", arguments, environment));
    int fd = (int)MUST(open("nested", O_RDONLY | O_CLOEXEC));
    TRY(syscall(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH));
    execve("nested", arguments, environment);
    printf("execve: %s\n", error_name(errno));
}

static void descriptor(const char *self) {
    char *arguments[] = {"by descriptor", "name", NULL};
    char *environment[] = {NULL};
    int fd = (int)MUST(open(self, O_PATH | O_CLOEXEC));
    MUST(dup2(fd, 80) == 80 ? 0 : -1);
    MUST(fcntl(80, F_SETFD, FD_CLOEXEC));
    syscall(SYS_execveat, 80, "", arguments, environment, AT_EMPTY_PATH);
    printf("execveat: %s\n", error_name(errno));
}

// From memory, which is still open for writing.
static void memory(const char *self) {
    char *arguments[] = {"from memory", NULL}, *environment[] = {NULL};
    static char piece[65536];
    int from = (int)MUST(open(self, O_RDONLY | O_CLOEXEC)), fd = (int)MUST(syscall(SYS_memfd_create, "program", 1));
    for (ssize_t len; (len = read(from, piece, sizeof piece)) > 0;)
        MUST(write(fd, piece, (size_t)len));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = (int)MUST(open(path, O_RDWR | O_CLOEXEC));
    TRY(syscall(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH));
    close(again);
    fflush(stdout);
    syscall(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH);
    printf("execveat: %s\n", error_name(errno));
}

int main(int argc, char **argv) {
    static char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    MUST(len);
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "begin")) {
        begin(self);
    } else if (!strcmp(mode, "errors")) {
        errors(self);
        // Nothing at all instead of arguments: the program gets an empty name.
        syscall(SYS_execve, self, NULL, NULL);
    } else if (!strcmp(mode, "scripts")) {
        scripts(self);
    } else if (!strcmp(mode, "descriptor")) {
        descriptor(self);
    } else if (!strcmp(mode, "memory")) {
        memory(self);
    } else {
        printf("%d arguments:", argc);
        for (int i = 0; i < argc; i++) {
            // Where the program lies differs between the machines.
            printf(" [%s]", strcmp(argv[i], self) ? argv[i] : "SELF");
        }
        printf("\nenvironment:");
        for (char **word = environ; *word; word++)
            printf(" [%s]", *word);
        printf("\n");
        if (!strcmp(mode, "state"))
            show_state();
        if (!strcmp(mode, "name")) {
            char name[16];
            prctl(PR_GET_NAME, name);
            printf("descriptor 80: %s\n", fcntl(80, F_GETFD) < 0 ? error_name(errno) : "open");
        }
        if (argc > 5) {
            // The scripts have led here.
            for (const char **name = (const char *[]){"broken", "lost", "circle", "script", "nested", NULL}; *name; name++)
                unlink(*name);
            char folder[4096];
            if (getcwd(folder, sizeof folder))
                rmdir(folder);
        }
    }
    return 0;
}
