// newfstatat: its flags.
#include "observe.h"

static struct stat status;

#define SHOW(call) (TRY(call) == 0 ? (void)printf("    mode %o size %ld\n", status.st_mode, S_ISDIR(status.st_mode) ? 0 : (long)status.st_size) : (void)0)

int main(void) {
    fresh_dir("/tmp");
    umask(022);
    put_file("file", "0123456789");
    MUST(symlink("file", "link"));
    MUST(mkdir("folder", 0700));
    int folder = MUST(open("folder", O_RDONLY)), file = MUST(open("file", O_RDONLY));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, "link", &status, 0));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, "link", &status, AT_SYMLINK_NOFOLLOW));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, "link", &status, AT_NO_AUTOMOUNT));
    SHOW(syscall(SYS_newfstatat, file, "", &status, AT_EMPTY_PATH));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, "", &status, AT_EMPTY_PATH));
    SHOW(syscall(SYS_newfstatat, folder, "../file", &status, 0));
    SHOW(syscall(SYS_newfstatat, file, "", &status, 0));
    SHOW(syscall(SYS_newfstatat, file, "x", &status, 0));
    SHOW(syscall(SYS_newfstatat, 99, "x", &status, 0));
    SHOW(syscall(SYS_newfstatat, 99, "", &status, AT_EMPTY_PATH));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, "file", &status, 0x40000000));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, "file", &status, AT_SYMLINK_FOLLOW));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, "file", NULL, 0));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, (char *)1, &status, 0));
    return 0;
}
