//@ cflags: -pthread
//@ run: set
//@ run: broken
//@ run: forced
// Leases: who may have one, and how they are broken.
#include "lease.h"
#include <pthread.h>
#include <time.h>

static sigset_t watched;

static void set(void) {
    put_file("f", "text");
    int reader = (int)MUST(open("f", O_RDONLY));
    show_lease(reader);
    TRY(fcntl(reader, F_SETLEASE, F_UNLCK));
    TRY(fcntl(reader, F_SETLEASE, F_RDLCK));
    show_lease(reader);
    TRY(fcntl(reader, F_SETLEASE, F_RDLCK));
    TRY(fcntl(reader, F_SETLEASE, F_WRLCK));
    show_lease(reader);
    TRY(fcntl(reader, F_SETLEASE, F_RDLCK));
    int other = (int)MUST(open("f", O_RDONLY | O_NONBLOCK));
    TRY(fcntl(reader, F_SETLEASE, F_WRLCK));
    TRY(fcntl(other, F_SETLEASE, F_RDLCK));
    TRY(fcntl(other, F_SETLEASE, F_WRLCK));
    TRY(fcntl(other, F_SETLEASE, 7));
    close(other);
    TRY(fcntl(reader, F_SETLEASE, F_UNLCK));
    show_lease(reader);
    int writer = (int)MUST(open("f", O_RDWR));
    TRY(fcntl(writer, F_SETLEASE, F_RDLCK));
    TRY(fcntl(reader, F_SETLEASE, F_RDLCK));
    TRY(fcntl(writer, F_SETLEASE, F_WRLCK));
    close(reader);
    TRY(fcntl(writer, F_SETLEASE, F_WRLCK));
    show_lease(writer);
    int folder = (int)MUST(open(".", O_RDONLY)), path = (int)MUST(open("f", O_PATH)), p[2];
    MUST(pipe(p));
    TRY(fcntl(folder, F_SETLEASE, F_RDLCK));
    TRY(fcntl(path, F_SETLEASE, F_RDLCK));
    TRY(fcntl(path, F_GETLEASE));
    TRY(fcntl(p[0], F_SETLEASE, F_RDLCK));
    show_lease(p[0]);
    // Others.
    close(writer);
    reader = (int)MUST(open("f", O_RDONLY));
    MUST(fchmod(reader, 0644));
    MUST(syscall(SYS_setresuid, -1, 1234, -1));
    TRY(fcntl(reader, F_SETLEASE, F_RDLCK));
    MUST(syscall(SYS_setresuid, -1, 0, -1));
}

static void *open_it(void *flags) {
    int fd = open("f", (int)(intptr_t)flags);
    return (void *)(intptr_t)(fd < 0 ? -errno : (close(fd), 0));
}

static void *cut_it(void *unused) {
    (void)unused;
    return (void *)(intptr_t)(truncate("f", 2) ? -errno : 0);
}

static void await_break(int fd) {
    siginfo_t info;
    int signal = sigtimedwait(&watched, &info, &(struct timespec){10, 0});
    if (signal == SIGIO)
        printf("  SIGIO code %d\n", info.si_code);
    else
        printf("  %s code %d band %lx, %s\n", signal > 0 ? "RT" : "nothing", info.si_code, (unsigned long)info.si_band,
               info.si_fd == fd ? "the descriptor" : "another");
}

static void end(pthread_t thread) {
    void *result;
    pthread_join(thread, &result);
    printf("  opened: %s\n", result ? error_name(-(int)(intptr_t)result) : "yes");
}

static void broken(void) {
    pthread_t thread;
    put_file("f", "text");
    int fd = (int)MUST(open("f", O_RDWR));
    // Without waiting.
    TRY(fcntl(fd, F_SETLEASE, F_WRLCK));
    TRY(open("f", O_RDONLY | O_NONBLOCK));
    await_break(fd);
    show_lease(fd);
    TRY(open("f", O_WRONLY | O_NONBLOCK));
    await_break(fd);
    show_lease(fd);
    TRY(open("f", O_WRONLY | O_NONBLOCK | O_TRUNC));
    TRY(fcntl(fd, F_SETLEASE, F_RDLCK));
    TRY(fcntl(fd, F_SETLEASE, F_UNLCK));
    show_lease(fd);
    struct stat status;
    MUST(fstat(fd, &status));
    printf("%ld bytes\n", (long)status.st_size);
    // Given up.
    MUST(fcntl(fd, F_SETSIG, SIGRTMIN + 3));
    TRY(fcntl(fd, F_SETLEASE, F_WRLCK));
    MUST(pthread_create(&thread, NULL, open_it, (void *)(intptr_t)O_WRONLY));
    await_break(fd);
    show_lease(fd);
    TRY(fcntl(fd, F_SETLEASE, F_UNLCK));
    end(thread);
    // Weakened.
    close(fd);
    fd = (int)MUST(open("f", O_RDONLY));
    MUST(fcntl(fd, F_SETSIG, SIGRTMIN + 3));
    TRY(fcntl(fd, F_SETLEASE, F_WRLCK));
    MUST(pthread_create(&thread, NULL, open_it, (void *)(intptr_t)O_RDONLY));
    await_break(fd);
    show_lease(fd);
    TRY(fcntl(fd, F_SETLEASE, F_RDLCK));
    end(thread);
    show_lease(fd);
    // Reading goes with it, writing does not.
    int other = (int)TRY(open("f", O_RDONLY));
    close(other);
    TRY(access("f", W_OK));
    TRY(chmod("f", 0600));
    TRY(rename("f", "g"));
    TRY(rename("g", "f"));
    other = (int)TRY(open("f", O_PATH));
    close(other);
    MUST(pthread_create(&thread, NULL, cut_it, NULL));
    await_break(fd);
    show_lease(fd);
    // Closing gives it up.
    close(fd);
    end(thread);
    MUST(stat("f", &status));
    printf("%ld bytes\n", (long)status.st_size);
}

static void forced(void) {
    TRY(pwrite(break_time, "1", 1, 0));
    put_file("f", "text");
    int fd = (int)MUST(open("f", O_RDONLY));
    MUST(fcntl(fd, F_SETLEASE, F_WRLCK));
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, open_it, (void *)(intptr_t)O_RDONLY));
    end(thread);
    await_break(fd);
    show_lease(fd);
    MUST(pthread_create(&thread, NULL, open_it, (void *)(intptr_t)O_WRONLY));
    end(thread);
    await_break(fd);
    show_lease(fd);
    close(fd);
    // Looking at it is enough, nobody need wait.
    fd = (int)MUST(open("f", O_RDONLY));
    MUST(fcntl(fd, F_SETLEASE, F_WRLCK));
    TRY(open("f", O_RDONLY | O_NONBLOCK));
    nanosleep(&(struct timespec){1, 200000000}, NULL);
    show_lease(fd);
    int other = (int)TRY(open("f", O_RDONLY | O_NONBLOCK));
    close(other);
    MUST(fcntl(fd, F_SETLEASE, F_WRLCK));
    TRY(open("f", O_WRONLY | O_NONBLOCK));
    nanosleep(&(struct timespec){1, 200000000}, NULL);
    show_lease(fd);
    TRY(fcntl(fd, F_SETLEASE, F_UNLCK));
    // No end.
    TRY(pwrite(break_time, "0", 1, 0));
    MUST(fcntl(fd, F_SETLEASE, F_RDLCK));
    TRY(open("f", O_WRONLY | O_NONBLOCK));
    TRY(open("f", O_WRONLY | O_NONBLOCK));
    show_lease(fd);
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    sigemptyset(&watched);
    sigaddset(&watched, SIGIO);
    sigaddset(&watched, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    hold_break_time(strcmp(part, "forced") == 0);
    fresh_dir("/tmp");
    if (strcmp(part, "set") == 0)
        set();
    else if (strcmp(part, "broken") == 0)
        broken();
    else if (strcmp(part, "forced") == 0)
        forced();
    return 0;
}
