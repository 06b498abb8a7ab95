// chmod, fchmod and fchmodat.
#include "observe.h"

static void show(const char *path) {
    struct stat status;
    MUST(lstat(path, &status));
    printf("%s: %o\n", path, status.st_mode);
}

int main(void) {
    fresh_dir("/tmp");
    put_file("file", "");
    MUST(mkdir("folder", 0755));
    MUST(symlink("file", "link"));
    MUST(symlink("absent", "dangling"));
    TRY(chmod("file", 0));
    show("file");
    TRY(chmod("file", 07777));
    show("file");
    TRY(chmod("link", 0640));
    show("file");
    show("link");
    TRY(chmod("folder", 01700));
    show("folder");
    TRY(chmod("file", 0170644));
    show("file");
    TRY(chmod("dangling", 0600));
    TRY(chmod("absent", 0600));
    TRY(chmod("file/", 0600));
    TRY(chmod("", 0600));
    int fd = MUST(open("file", O_RDONLY)), path = MUST(open("file", O_PATH));
    TRY(fchmod(fd, 0611));
    show("file");
    TRY(fchmod(path, 0600));
    TRY(fchmod(99, 0600));
    TRY(syscall(SYS_fchmodat, AT_FDCWD, "link", 0622));
    show("file");
    TRY(syscall(SYS_fchmodat, 99, "file", 0600));
    TRY(syscall(SYS_fchmodat, fd, "file", 0600));
    // Set-user and set-group bits go when somebody without the right writes; as root they stay.
    MUST(chown("file", 1000, 1000));
    MUST(chmod("file", 06755));
    fd = MUST(open("file", O_WRONLY));
    MUST(write(fd, "x", 1));
    show("file");
    MUST(chmod(".", 0755));
    MUST(setresgid(1000, 1000, 0));
    MUST(setresuid(1000, 1000, 0));
    fd = MUST(open("file", O_WRONLY));
    MUST(write(fd, "x", 1));
    show("file");
    MUST(chmod("file", 06755));
    MUST(truncate("file", 0));
    show("file");
    MUST(setresuid(0, 0, 0));
    MUST(setresgid(0, 0, 0));
    // Somebody outside a file's group cannot make it set-group.
    MUST(chown("file", 1000, 3000));
    MUST(setresgid(1000, 1000, 0));
    MUST(setresuid(1000, 1000, 0));
    TRY(chmod("file", 02755));
    show("file");
    return 0;
}
