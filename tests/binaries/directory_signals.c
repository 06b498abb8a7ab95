//@ run: events
//@ run: ends
//@ run: signals
//@ run: errors
// What happens in a directory, told by a signal (F_NOTIFY).
#include "observe.h"
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

static sigset_t watched;

// Says which signals came within the call that caused them.
static void show_signals(const char *label) {
    siginfo_t info;
    printf("%s:", label);
    while (sigtimedwait(&watched, &info, &(struct timespec){0, 0}) > 0) {
        if (info.si_code == 0x80)
            printf(" %s", info.si_signo == SIGIO ? "SIGIO" : "other");
        else
            printf(" %d code %d band %lx fd %d", info.si_signo == SIGIO ? 0 : info.si_signo, info.si_code,
                   (unsigned long)info.si_band, info.si_fd);
    }
    printf("\n");
}

// A directory, watched for events by RTMIN+3.
static int watch(const char *path, unsigned events) {
    int fd = (int)MUST(open(path, O_RDONLY | O_DIRECTORY));
    MUST(fcntl(fd, F_SETSIG, SIGRTMIN + 3));
    MUST(fcntl(fd, F_NOTIFY, events));
    return fd;
}

static const struct {
    const char *name;
    unsigned mask;
} kinds[] = {{"access", DN_ACCESS}, {"modify", DN_MODIFY}, {"create", DN_CREATE},
             {"delete", DN_DELETE}, {"rename", DN_RENAME}, {"attrib", DN_ATTRIB}};

// What is done in a directory, each time under a watch for one kind of event.
static void act(int step) {
    char byte = 'x';
    int fd;
    switch (step) {
    case 0: close((int)MUST(open("d/new", O_RDWR | O_CREAT, 0600))); break;
    case 1: MUST(mkdir("d/sub", 0700)); break;
    case 2: fd = (int)MUST(open("d/new", O_RDWR)), MUST(write(fd, &byte, 1)), close(fd); break;
    case 3: fd = (int)MUST(open("d/new", O_RDWR)), MUST(read(fd, &byte, 1)), close(fd); break;
    case 4: MUST(truncate("d/new", 0)); break;
    case 5: MUST(chmod("d/new", 0644)); break;
    case 6: MUST(chmod("d", 0755)); break;
    case 7: MUST(rename("d/new", "d/other")); break;
    case 8: MUST(rename("d/other", "e/other")); break;
    case 9: MUST(rename("e/other", "d/other")); break;
    case 10: MUST(link("d/other", "d/link")); break;
    case 11: MUST(syscall(SYS_renameat2, AT_FDCWD, "d/other", AT_FDCWD, "d/link", 2)); break;
    case 12: MUST(unlink("d/link")); break;
    case 13: MUST(symlink("nowhere", "d/symbolic")); break;
    case 14: MUST(rmdir("d/sub")); break;
    case 15: fd = (int)MUST(open("d", O_RDONLY)), syscall(SYS_getdents64, fd, (char[512]){0}, 512), close(fd); break;
    case 16: MUST(utimensat(AT_FDCWD, "d/other", NULL, 0)); break;
    case 17: fd = (int)MUST(open("d/other", O_RDWR)), MUST(fallocate(fd, 0, 0, 100)), close(fd); break;
    }
}

static void events(void) {
    fresh_dir("/tmp");
    MUST(mkdir("e", 0700));
    for (int step = 0; step < 18; step++) {
        for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
            if (kind == 0 && step > 0)
                printf("step %d\n", step);
            // Each kind sees the same: the directory is made anew and led to the step.
            char label[32];
            MUST(mkdir("d", 0700));
            for (int before = 0; before < step; before++)
                act(before);
            int fd = watch("d", kinds[kind].mask | DN_MULTISHOT);
            act(step);
            snprintf(label, sizeof label, "  %s", kinds[kind].name);
            show_signals(label);
            close(fd);
            static const char *const made[] = {"d/new", "d/other", "d/link", "d/symbolic", "e/other"};
            for (size_t name = 0; name < sizeof made / sizeof *made; name++)
                unlink(made[name]);
            rmdir("d/sub");
            MUST(rmdir("d"));
        }
    }
}

static void make(const char *name) {
    MUST(mknod(name, S_IFREG | 0600, 0));
}

static void ends(void) {
    fresh_dir("/tmp");
    MUST(mkdir("d", 0700));
    int fd = watch("d", DN_CREATE);
    make("d/1");
    show_signals("once");
    make("d/2");
    show_signals("not again");
    // More kinds for the same descriptor.
    MUST(fcntl(fd, F_NOTIFY, DN_CREATE));
    MUST(fcntl(fd, F_NOTIFY, DN_DELETE | DN_MULTISHOT));
    make("d/3");
    show_signals("create");
    MUST(unlink("d/3"));
    show_signals("delete");
    make("d/3");
    show_signals("create");
    MUST(fcntl(fd, F_NOTIFY, 0));
    make("d/4");
    show_signals("off");
    MUST(fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
    MUST(fcntl(fd, F_NOTIFY, DN_MULTISHOT));
    make("d/5");
    show_signals("off by MULTISHOT alone");
    // Copies are the same open file; closing either ends it.
    MUST(fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
    int copy = (int)MUST(dup(fd));
    MUST(fcntl(copy, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
    make("d/6");
    show_signals("by the copy's number");
    close(fd);
    make("d/7");
    show_signals("after a close");
    MUST(fcntl(copy, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
    MUST(dup2(0, copy));
    make("d/8");
    show_signals("replaced");
    close(copy);
    // Two open files, each of which is told.
    fd = watch("d", DN_CREATE | DN_MULTISHOT);
    copy = watch("d", DN_CREATE);
    make("d/9");
    show_signals("two");
    make("d/10");
    show_signals("one of two");
    close(fd);
    close(copy);
    // The directory moves, and is removed.
    fd = watch("d", DN_ATTRIB | DN_DELETE | DN_CREATE | DN_RENAME | DN_MULTISHOT);
    MUST(rename("d", "moved"));
    show_signals("moved");
    make("moved/11");
    show_signals("in its new place");
    for (int i = 1; i <= 11; i++) {
        char name[32];
        snprintf(name, sizeof name, "moved/%d", i);
        unlink(name);
    }
    while (sigtimedwait(&watched, NULL, &(struct timespec){0, 0}) > 0)
        ;
    MUST(rmdir("moved"));
    show_signals("removed");
    close(fd);
    show_signals("closed");
}

static void signals(void) {
    fresh_dir("/tmp");
    int fd = (int)MUST(open(".", O_RDONLY));
    MUST(fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
    TRY(fcntl(fd, F_GETOWN) == getpid());
    make("1");
    show_signals("SIGIO");
    MUST(fcntl(fd, F_SETOWN, 0));
    make("2");
    show_signals("nobody");
    MUST(fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
    make("3");
    show_signals("owner again");
    MUST(fcntl(fd, F_SETSIG, SIGIO));
    make("4");
    show_signals("SIGIO with more");
    const int numbers[] = {SIGUSR1, SIGCHLD, SIGSEGV, SIGTRAP, SIGBUS, SIGRTMIN + 3};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        MUST(fcntl(fd, F_SETSIG, numbers[i]));
        make("5");
        show_signals("signal");
        MUST(unlink("5"));
    }
    // One that is already there is told of once, if it is no real-time signal.
    MUST(fcntl(fd, F_SETSIG, SIGRTMIN + 3));
    make("6"), make("7");
    show_signals("two");
    MUST(fcntl(fd, F_SETSIG, 0));
    make("8"), make("9");
    show_signals("one");
}

static void errors(void) {
    int p[2];
    fresh_dir("/tmp");
    int file = (int)MUST(open("f", O_RDWR | O_CREAT, 0600)), path = (int)MUST(open(".", O_PATH));
    int dir = (int)MUST(open(".", O_RDONLY));
    MUST(pipe(p));
    TRY(fcntl(file, F_NOTIFY, DN_CREATE));
    TRY(fcntl(file, F_NOTIFY, 0));
    TRY(fcntl(p[0], F_NOTIFY, DN_CREATE));
    TRY(fcntl(p[0], F_NOTIFY, 0));
    TRY(fcntl(path, F_NOTIFY, DN_CREATE));
    TRY(fcntl(99, F_NOTIFY, DN_CREATE));
    TRY(fcntl(dir, F_NOTIFY, 0x40));
    TRY(syscall(SYS_fcntl, dir, F_NOTIFY, 0x100000000L | DN_CREATE));
    make("g");
    show_signals("the low half counts");
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    sigfillset(&watched);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    if (strcmp(part, "events") == 0)
        events();
    else if (strcmp(part, "ends") == 0)
        ends();
    else if (strcmp(part, "signals") == 0)
        signals();
    else if (strcmp(part, "errors") == 0)
        errors();
    return 0;
}
