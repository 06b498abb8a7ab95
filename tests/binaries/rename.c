// rename and its many rules.
#include "observe.h"

static long sys_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    return syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

static void reset(void) {
    static int round;
    char name[16];
    MUST(chdir(fresh_dir_path));
    snprintf(name, sizeof name, "round %d", round++);
    MUST(mkdir(name, 0755));
    MUST(chdir(name));
    put_file("file", "file");
    put_file("other", "other");
    MUST(mkdir("empty", 0755));
    MUST(mkdir("full", 0755));
    MUST(mkdir("full/sub", 0755));
    put_file("full/file", "inside");
    MUST(symlink("file", "link"));
    MUST(link("file", "hard"));
}

int main(void) {
    fresh_dir("/tmp");
    struct stat before, after;
    reset();
    MUST(stat("file", &before));
    TRY(rename("file", "new"));
    MUST(stat("new", &after));
    CHECK(before.st_ino == after.st_ino);
    TRY(access("file", F_OK));
    TRY(rename("new", "other"));
    show_file("other");
    TRY(rename("other", "full/moved"));
    show_file("full/moved");

    reset();
    TRY(rename("absent", "x"));
    TRY(rename("file", "absent/x"));
    TRY(rename("file", "empty"));
    TRY(rename("empty", "file"));
    TRY(rename("empty", "full"));
    TRY(rename("full", "empty"));
    show_file("empty/file");
    TRY(rename("empty", "empty/sub/deeper"));
    TRY(rename("empty", "empty"));
    TRY(rename("empty/sub", "empty"));
    TRY(rename("file", "other/x"));
    TRY(rename("file/", "x"));
    TRY(rename("file", "x/"));
    TRY(rename("empty/", "x/"));
    TRY(rename("x", "empty"));
    TRY(rename(".", "x"));
    TRY(rename("empty/.", "x"));
    TRY(rename("file", "."));
    TRY(rename("file", ".."));
    TRY(rename("", "x"));
    TRY(rename("file", ""));
    TRY(rename((char *)1, "x"));
    // Two names of one file: nothing happens, both stay.
    TRY(rename("file", "hard"));
    TRY(access("file", F_OK));
    TRY(access("hard", F_OK));
    // A link is renamed itself.
    TRY(rename("link", "moved link"));
    TRY(readlink("moved link", (char[16]){0}, 16));
    TRY(rename("other", "moved link"));
    MUST(lstat("moved link", &after));
    CHECK(S_ISREG(after.st_mode));

    reset();
    enum { NOREPLACE = 1, EXCHANGE = 2 };
    TRY(sys_rename(AT_FDCWD, "file", AT_FDCWD, "other", NOREPLACE));
    TRY(sys_rename(AT_FDCWD, "file", AT_FDCWD, "new", NOREPLACE));
    TRY(sys_rename(AT_FDCWD, "new", AT_FDCWD, "other", EXCHANGE));
    show_file("new");
    show_file("other");
    TRY(sys_rename(AT_FDCWD, "new", AT_FDCWD, "full", EXCHANGE));
    show_file("full");
    show_file("new/file");
    TRY(sys_rename(AT_FDCWD, "new", AT_FDCWD, "absent", EXCHANGE));
    TRY(sys_rename(AT_FDCWD, "new", AT_FDCWD, "new/sub", EXCHANGE));
    TRY(sys_rename(AT_FDCWD, "new/sub", AT_FDCWD, "new", EXCHANGE));
    TRY(sys_rename(AT_FDCWD, "other", AT_FDCWD, "x", NOREPLACE | EXCHANGE));
    TRY(sys_rename(AT_FDCWD, "other", AT_FDCWD, "x", 64));
    TRY(rename("new", "/proc/x"));

    // What is left behind of a name. On a tmpfs, as other file systems may not know of it.
    remove_fresh_dir();
    fresh_dir("/dev/shm");
    reset();
    enum { WHITEOUT = 4 };
    TRY(sys_rename(AT_FDCWD, "file", AT_FDCWD, "new", WHITEOUT));
    MUST(lstat("file", &after));
    printf("mode %o device %lu links %lu\n", after.st_mode, (unsigned long)after.st_rdev, (unsigned long)after.st_nlink);
    show_file("new");
    TRY(sys_rename(AT_FDCWD, "other", AT_FDCWD, "full/file", WHITEOUT));
    MUST(lstat("other", &after));
    printf("mode %o\n", after.st_mode);
    show_file("full/file");
    TRY(sys_rename(AT_FDCWD, "full", AT_FDCWD, "moved", WHITEOUT | NOREPLACE));
    MUST(lstat("full", &after));
    printf("mode %o\n", after.st_mode);
    TRY(sys_rename(AT_FDCWD, "moved", AT_FDCWD, "empty", WHITEOUT | EXCHANGE));
    TRY(sys_rename(AT_FDCWD, "absent", AT_FDCWD, "empty", WHITEOUT));
    TRY(unlink("file"));
    TRY(unlink("full"));
    MUST(chmod(".", 0777));
    MUST(setresuid(-1, 65534, -1));
    TRY(mknod("white", S_IFCHR, 0));
    TRY(mknod("device", S_IFCHR, 0x103));
    TRY(mknod("block", S_IFBLK, 0));
    TRY(sys_rename(AT_FDCWD, "white", AT_FDCWD, "white2", WHITEOUT));
    MUST(setresuid(-1, 0, -1));
    return 0;
}
