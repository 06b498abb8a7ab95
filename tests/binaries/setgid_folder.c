// Who owns a new file: the creator, with the group of the creator or of a set-group folder.
#include "observe.h"

static void show(const char *path) {
    struct stat status;
    MUST(lstat(path, &status));
    printf("%s: %d:%d %o\n", path, status.st_uid, status.st_gid, status.st_mode & 07777);
}

int main(void) {
    fresh_dir("/tmp");
    umask(0);
    MUST(chmod(".", 0777));
    MUST(mkdir("shared", 0777));
    MUST(chown("shared", 0, 500));
    MUST(chmod("shared", 02777));
    MUST(setresgid(1000, 1000, 0));
    MUST(setresuid(1000, 1000, 0));
    put_file("plain", "");
    show("plain");
    MUST(mkdir("folder", 0755));
    show("folder");
    put_file("shared/file", "");
    show("shared/file");
    MUST(mkdir("shared/folder", 0755));
    show("shared/folder");
    put_file("shared/folder/file", "");
    show("shared/folder/file");
    MUST(symlink("x", "shared/link"));
    show("shared/link");
    // A set-group file of a group the creator is not in loses the bit.
    MUST(close(MUST(open("shared/set", O_WRONLY | O_CREAT, 02775))));
    show("shared/set");
    MUST(close(MUST(open("shared/locking", O_WRONLY | O_CREAT, 02745))));
    show("shared/locking");
    return 0;
}
