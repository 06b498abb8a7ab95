// stat, lstat and fstat: what they say about each kind of file.
#include "observe.h"
#include <sys/sysmacros.h>

static void show(const char *label, int result, const struct stat *status) {
    if (result != 0) {
        printf("%s: %s\n", label, error_name(errno));
        return;
    }
    printf("%s: mode %o links %ld owner %d:%d size %ld rdev %d:%d block size is a power of two: %d\n", label,
           status->st_mode, (long)status->st_nlink, status->st_uid, status->st_gid,
           S_ISDIR(status->st_mode) ? -1 : (long)status->st_size, (int)major(status->st_rdev),
           (int)minor(status->st_rdev), (status->st_blksize & (status->st_blksize - 1)) == 0);
}

#define STAT(path) show("stat " path, stat(path, &status), &status)
#define LSTAT(path) show("lstat " path, lstat(path, &status), &status)

int main(void) {
    fresh_dir("/tmp");
    umask(022);
    struct stat status, other;
    put_file("file", "0123456789");
    MUST(mkdir("folder", 0750));
    MUST(mkdir("folder/sub", 0700));
    MUST(symlink("file", "link"));
    MUST(symlink("absent", "dangling"));
    MUST(link("file", "hard"));
    STAT("file");
    STAT("folder");
    STAT("folder/sub");
    STAT("link");
    LSTAT("link");
    STAT("dangling");
    LSTAT("dangling");
    LSTAT("link/");
    STAT("folder/");
    STAT("/dev/null");
    STAT("/dev/zero");
    STAT("/dev/full");
    STAT("/dev/random");
    STAT("/dev/urandom");
    STAT("absent");
    STAT("");
    STAT("file/");
    STAT("file/x");
    show("stat NULL", stat(NULL, &status), &status);
    show("fstat 99", fstat(99, &status), &status);
    // musl copies what the kernel wrote; the kernel itself refuses a bad buffer.
    TRY(syscall(SYS_stat, "file", 16));
    MUST(stat("file", &status));
    MUST(stat("hard", &other));
    CHECK(status.st_ino == other.st_ino && status.st_dev == other.st_dev);
    MUST(stat("folder", &other));
    CHECK(status.st_ino != other.st_ino);
    int pipes[2];
    MUST(pipe(pipes));
    show("pipe", fstat(pipes[0], &status), &status);
    int fd = MUST(open("link", O_PATH | O_NOFOLLOW));
    show("descriptor of a link", fstat(fd, &status), &status);
    return 0;
}
