// utimensat: who may set which times, and how a file is named.
#include "observe.h"

#define OTHER 1000

static struct timespec times[2];

static struct timespec *both(long first_ns, long second_ns) {
    times[0] = (struct timespec){1000, first_ns};
    times[1] = (struct timespec){2000, second_ns};
    return times;
}

static void as(uid_t user) {
    MUST(syscall(SYS_setresuid, -1, 0, -1));
    MUST(syscall(SYS_setresuid, -1, user, -1));
}

static void try_all(const char *path) {
    printf("%s:\n", path);
    TRY(utimensat(AT_FDCWD, path, NULL, 0));
    TRY(utimensat(AT_FDCWD, path, both(UTIME_NOW, UTIME_NOW), 0));
    TRY(utimensat(AT_FDCWD, path, both(UTIME_OMIT, UTIME_OMIT), 0));
    TRY(utimensat(AT_FDCWD, path, both(UTIME_NOW, UTIME_OMIT), 0));
    TRY(utimensat(AT_FDCWD, path, both(UTIME_OMIT, UTIME_NOW), 0));
    TRY(utimensat(AT_FDCWD, path, both(5, UTIME_OMIT), 0));
    TRY(utimensat(AT_FDCWD, path, both(UTIME_NOW, 5), 0));
    TRY(utimensat(AT_FDCWD, path, both(5, 5), 0));
    TRY(utimensat(AT_FDCWD, path, both(1000000000, 5), 0));
    TRY(utimensat(AT_FDCWD, path, both(1000000000, UTIME_OMIT), 0));
    TRY(utimensat(AT_FDCWD, path, both(UTIME_OMIT, 1000000000), 0));
    TRY(utimensat(AT_FDCWD, path, both(-5, 0), 0));
}

int main(void) {
    fresh_dir("/dev/shm");
    MUST(chmod(".", 0777));
    static const struct {
        const char *name;
        uid_t owner;
        mode_t mode;
    } files[] = {{"own", OTHER, 0}, {"open", 0, 0666}, {"closed", 0, 0644}, {"absent-not", 0, 0222}};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        put_file(files[i].name, "");
        MUST(chown(files[i].name, files[i].owner, 0));
        MUST(chmod(files[i].name, files[i].mode));
    }
    try_all("own");
    try_all("absent");
    as(OTHER);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        try_all(files[i].name);
    as(0);
    mkdir("hidden", 0700);
    put_file("hidden/file", "");
    MUST(chmod("hidden/file", 0666));
    int path_fd = (int)MUST(open("own", O_PATH));
    int reading = (int)MUST(open("closed", O_RDONLY));
    int folder = (int)MUST(open("hidden", O_PATH));
    as(OTHER);
    try_all("hidden/file");
    TRY(syscall(SYS_utimensat, folder, "file", NULL, 0));
    TRY(syscall(SYS_utimensat, reading, NULL, NULL, 0));
    TRY(syscall(SYS_utimensat, reading, NULL, both(UTIME_OMIT, UTIME_OMIT), 0));
    as(0);
    // The name.
    TRY(syscall(SYS_utimensat, path_fd, NULL, NULL, 0));
    TRY(syscall(SYS_utimensat, path_fd, "", NULL, AT_EMPTY_PATH));
    TRY(syscall(SYS_utimensat, path_fd, "", NULL, 0));
    TRY(syscall(SYS_utimensat, path_fd, NULL, NULL, AT_EMPTY_PATH));
    TRY(syscall(SYS_utimensat, path_fd, NULL, NULL, AT_SYMLINK_NOFOLLOW));
    TRY(syscall(SYS_utimensat, reading, NULL, NULL, AT_EMPTY_PATH));
    TRY(syscall(SYS_utimensat, reading, NULL, NULL, AT_SYMLINK_NOFOLLOW));
    TRY(syscall(SYS_utimensat, reading, NULL, NULL, 1));
    TRY(syscall(SYS_utimensat, reading, "", NULL, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
    TRY(syscall(SYS_utimensat, reading, "", NULL, AT_EMPTY_PATH | 1));
    TRY(syscall(SYS_utimensat, reading, "own", NULL, 0));
    TRY(syscall(SYS_utimensat, AT_FDCWD, "", NULL, AT_EMPTY_PATH));
    TRY(syscall(SYS_utimensat, AT_FDCWD, NULL, NULL, AT_EMPTY_PATH));
    TRY(syscall(SYS_utimensat, AT_FDCWD, 16, NULL, 0));
    TRY(syscall(SYS_utimensat, AT_FDCWD, "absent", 16, 0));
    // Nothing to set: nothing is looked at.
    TRY(syscall(SYS_utimensat, 99, "absent", both(UTIME_OMIT, UTIME_OMIT), 0));
    TRY(syscall(SYS_utimensat, 99, "absent", both(UTIME_OMIT, UTIME_OMIT), 1));
    TRY(syscall(SYS_utimensat, 99, NULL, both(1000000000, 0), 0));
    int pipes[2];
    MUST(pipe(pipes));
    TRY(syscall(SYS_utimensat, pipes[0], NULL, both(5, 6), 0));
    // Older calls.
    struct timeval old[2] = {{1, 1}, {2, 2}};
    TRY(syscall(SYS_futimesat, AT_FDCWD, "own", old));
    TRY(syscall(SYS_futimesat, reading, NULL, old));
    old[0].tv_usec = 1000000;
    TRY(syscall(SYS_utimes, "own", old));
    old[0].tv_usec = -1;
    TRY(syscall(SYS_futimesat, AT_FDCWD, "own", old));
    long seconds[2] = {7, 8};
    TRY(syscall(SYS_utime, "own", seconds));
    TRY(syscall(SYS_utime, "absent", seconds));
    struct stat status;
    MUST(stat("own", &status));
    printf("%ld.%09ld %ld.%09ld\n", (long)status.st_atim.tv_sec, status.st_atim.tv_nsec, (long)status.st_mtim.tv_sec,
           status.st_mtim.tv_nsec);
    return 0;
}
