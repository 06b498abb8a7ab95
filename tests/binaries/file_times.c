// Which calls move which of a file's times.
#include "observe.h"
#include <time.h>

static struct stat before;

static void settle(const char *path) {
    // Set the clock of the file far back; ctime moves to now, so wait until now is over.
    struct timespec old[2] = {{1000, 0}, {1000, 0}}, pause = {0, 30000000};
    MUST(utimensat(AT_FDCWD, path, old, AT_SYMLINK_NOFOLLOW));
    MUST(lstat(path, &before));
    nanosleep(&pause, NULL);
}

static int same(struct timespec a, struct timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void show(const char *what, const char *path) {
    struct stat after;
    MUST(lstat(path, &after));
    printf("%s: %s%s\n", what, same(before.st_mtim, after.st_mtim) ? "" : "modified ",
           same(before.st_ctim, after.st_ctim) ? "" : "changed");
}

int main(void) {
    fresh_dir("/dev/shm");
    char buffer[8];
    put_file("file", "0123456789");
    put_file("victim", "");
    MUST(mkdir("folder", 0755));
    int fd = MUST(open("file", O_RDWR));
    settle("file"), MUST(read(fd, buffer, 4)), show("read", "file");
    settle("file"), MUST(write(fd, "x", 1)), show("write", "file");
    settle("file"), MUST(write(fd, "", 0)), show("write of nothing", "file");
    settle("file"), MUST(ftruncate(fd, 10)), show("truncate to the same size", "file");
    settle("file"), MUST(ftruncate(fd, 5)), show("truncate", "file");
    settle("file"), MUST(chmod("file", 0600)), show("chmod", "file");
    settle("file"), MUST(chown("file", 0, 0)), show("chown", "file");
    settle("file"), MUST(link("file", "hard")), show("link", "file");
    settle("file"), MUST(unlink("hard")), show("unlink of another name", "file");
    settle("file"), MUST(rename("file", "renamed")), show("rename", "renamed");
    settle("renamed"), MUST(close(MUST(open("renamed", O_WRONLY | O_TRUNC)))), show("open with O_TRUNC", "renamed");
    settle("renamed"), MUST(close(MUST(open("renamed", O_RDONLY)))), show("open", "renamed");
    settle("folder"), put_file("folder/a", ""), show("create inside", "folder");
    settle("folder"), put_file("folder/a", "text"), show("write inside", "folder");
    settle("folder"), MUST(rename("folder/a", "folder/b")), show("rename inside", "folder");
    settle("folder"), MUST(rename("folder/b", "moved")), show("rename out", "folder");
    settle("folder"), MUST(mkdir("folder/sub", 0755)), show("mkdir inside", "folder");
    settle("folder"), MUST(rmdir("folder/sub")), show("rmdir inside", "folder");
    settle("folder"), MUST(symlink("x", "folder/link")), show("symlink inside", "folder");
    settle("folder"), MUST(unlink("folder/link")), show("unlink inside", "folder");
    settle("folder"), MUST(link("victim", "folder/linked")), show("link inside", "folder");
    // A new file's times are all equal and now.
    struct timespec now;
    struct stat status;
    clock_gettime(CLOCK_REALTIME, &now);
    put_file("new", "");
    MUST(stat("new", &status));
    CHECK(same(status.st_mtim, status.st_ctim) && same(status.st_atim, status.st_ctim));
    CHECK(status.st_mtim.tv_sec - now.tv_sec >= -1 && status.st_mtim.tv_sec - now.tv_sec <= 5);
    return 0;
}
