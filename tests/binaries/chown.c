// chown, lchown, fchown and fchownat.
#include "observe.h"

static void show(const char *path) {
    struct stat status;
    MUST(lstat(path, &status));
    printf("%s: %d:%d %o\n", path, status.st_uid, status.st_gid, status.st_mode & 07777);
}

int main(void) {
    fresh_dir("/tmp");
    umask(022);
    put_file("file", "");
    MUST(symlink("file", "link"));
    TRY(chown("file", 1, 2));
    show("file");
    TRY(chown("file", -1, 3));
    show("file");
    TRY(chown("file", 4, -1));
    show("file");
    TRY(chown("file", -1, -1));
    show("file");
    TRY(chown("link", 5, 5));
    show("file");
    show("link");
    TRY(lchown("link", 6, 6));
    show("file");
    show("link");
    int fd = MUST(open("file", O_RDONLY)), path = MUST(open("file", O_PATH));
    TRY(fchown(fd, 7, 7));
    show("file");
    TRY(fchown(path, 8, 8));
    TRY(fchown(99, 8, 8));
    TRY(fchownat(AT_FDCWD, "link", 9, 9, AT_SYMLINK_NOFOLLOW));
    show("link");
    TRY(fchownat(path, "", 10, 10, AT_EMPTY_PATH));
    show("file");
    TRY(fchownat(AT_FDCWD, "file", 9, 9, 0x4000));
    TRY(fchownat(99, "file", 9, 9, 0));
    TRY(chown("absent", 0, 0));
    TRY(chown("", 0, 0));
    TRY(chown("file/x", 0, 0));
    TRY(chown((char *)1, 0, 0));
    // A new owner means no set-user bit, even when root does it; set-group stays where it means locking.
    MUST(chmod("file", 06755));
    TRY(chown("file", 11, 11));
    show("file");
    MUST(chmod("file", 06744));
    TRY(chown("file", 12, 12));
    show("file");
    MUST(mkdir("folder", 0755));
    MUST(chmod("folder", 06755));
    TRY(chown("folder", 11, 11));
    show("folder");
    TRY(chown("file", 0x7fffffff, 0xfffffffe));
    struct stat status;
    MUST(stat("file", &status));
    printf("%u:%u\n", status.st_uid, status.st_gid);
    return 0;
}
