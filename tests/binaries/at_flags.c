// Flags of the calls that take a folder and a name: which are known where, and what they do.
#include "observe.h"
#include <sys/stat.h>

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static int fd, folder;

// Each bit, and no more of the answers than differ.
#define EACH_BIT(call)                                                                                                  \
    do {                                                                                                                \
        printf("%s:", #call);                                                                                           \
        for (int bit = 0; bit < 32; bit++) {                                                                            \
            unsigned flags = 1u << bit;                                                                                 \
            long result = (long)(call);                                                                                 \
            if (result >= 0 || errno != EINVAL)                                                                         \
                printf(" %x=%s", flags, result < 0 ? error_name(errno) : "done");                                       \
            clean();                                                                                                    \
        }                                                                                                               \
        printf("\n");                                                                                                   \
    } while (0)

static void clean(void) {
    unlink("new");
    rmdir("new");
    if (access("file", F_OK) != 0)
        put_file("file", "");
    mkdir("folder", 0700);
}

static struct {
    uint32_t mask, block_size;
    uint64_t attributes;
    uint32_t links, uid, gid;
    uint16_t mode;
    uint64_t rest[40];
} extended;

int main(void) {
    fresh_dir("/dev/shm");
    MUST(chmod(".", 0777));
    clean();
    MUST(symlink("file", "link"));
    MUST(symlink("absent", "dangling"));
    fd = (int)MUST(open("file", O_RDONLY));
    folder = (int)MUST(open("folder", O_PATH));
    struct stat status;
    EACH_BIT(syscall(SYS_newfstatat, AT_FDCWD, "file", &status, flags));
    EACH_BIT(syscall(SYS_newfstatat, fd, "", &status, flags));
    EACH_BIT(syscall(SYS_statx, AT_FDCWD, "file", flags, 0x7ff, &extended));
    EACH_BIT(syscall(SYS_faccessat2, AT_FDCWD, "file", R_OK, flags));
    EACH_BIT(syscall(SYS_faccessat2, AT_FDCWD, "file", flags, 0));
    EACH_BIT(syscall(SYS_access, "file", flags));
    EACH_BIT(syscall(SYS_fchmodat2, AT_FDCWD, "file", 0600, flags));
    EACH_BIT(syscall(SYS_fchmodat2, fd, "", 0600, flags));
    EACH_BIT(syscall(SYS_fchownat, AT_FDCWD, "file", 0, 0, flags));
    EACH_BIT(syscall(SYS_fchownat, fd, "", 0, 0, flags));
    EACH_BIT(syscall(SYS_linkat, AT_FDCWD, "file", AT_FDCWD, "new", flags));
    EACH_BIT(syscall(SYS_unlinkat, AT_FDCWD, "folder", flags));
    EACH_BIT(syscall(SYS_unlinkat, AT_FDCWD, "file", flags));
    EACH_BIT(syscall(SYS_utimensat, AT_FDCWD, "file", NULL, flags));
    EACH_BIT(syscall(SYS_renameat2, AT_FDCWD, "file", AT_FDCWD, "new", flags));
    EACH_BIT(syscall(SYS_renameat2, AT_FDCWD, "file", AT_FDCWD, "folder", flags));
    // What chmod does with links.
    TRY(syscall(SYS_fchmodat2, AT_FDCWD, "link", 0640, AT_SYMLINK_NOFOLLOW));
    TRY(syscall(SYS_fchmodat2, AT_FDCWD, "link", 0640, 0));
    TRY(syscall(SYS_fchmodat2, AT_FDCWD, "dangling", 0640, 0));
    TRY(syscall(SYS_fchmodat2, folder, "", 0750, AT_EMPTY_PATH));
    TRY(syscall(SYS_fchmodat2, folder, "", 0750, 0));
    TRY(syscall(SYS_fchmodat2, 99, "", 0750, AT_EMPTY_PATH));
    TRY(syscall(SYS_fchmodat2, AT_FDCWD, "", 0777, AT_EMPTY_PATH));
    int link_fd = (int)MUST(open("link", O_PATH | O_NOFOLLOW));
    TRY(syscall(SYS_fchmodat2, link_fd, "", 0600, AT_EMPTY_PATH));
    TRY(syscall(SYS_fchmodat2, AT_FDCWD, "file", 0170644, 0));
    MUST(stat("file", &status));
    printf("%o\n", status.st_mode);
    MUST(lstat("link", &status));
    printf("%o\n", status.st_mode);
    // access of links, of descriptors, and by real or effective ids.
    TRY(syscall(SYS_faccessat2, AT_FDCWD, "dangling", F_OK, 0));
    TRY(syscall(SYS_faccessat2, AT_FDCWD, "dangling", F_OK, AT_SYMLINK_NOFOLLOW));
    TRY(syscall(SYS_faccessat2, AT_FDCWD, "dangling", R_OK | W_OK | X_OK, AT_SYMLINK_NOFOLLOW));
    TRY(syscall(SYS_faccessat2, link_fd, "", F_OK, AT_EMPTY_PATH));
    TRY(syscall(SYS_faccessat2, fd, "", X_OK, AT_EMPTY_PATH));
    TRY(syscall(SYS_faccessat2, 99, "", F_OK, AT_EMPTY_PATH));
    TRY(syscall(SYS_faccessat2, 99, "/absent", F_OK, 0));
    TRY(syscall(SYS_faccessat2, fd, "x", F_OK, 0));
    MUST(chmod("file", 0600));
    MUST(syscall(SYS_setresuid, 1000, 0, 0));
    TRY(syscall(SYS_faccessat2, AT_FDCWD, "file", R_OK, 0));
    TRY(syscall(SYS_faccessat2, AT_FDCWD, "file", R_OK, AT_EACCESS));
    TRY(syscall(SYS_faccessat2, fd, "", R_OK, AT_EMPTY_PATH));
    TRY(syscall(SYS_faccessat2, fd, "", R_OK, AT_EMPTY_PATH | AT_EACCESS));
    MUST(syscall(SYS_setresuid, 0, 1000, 0));
    TRY(syscall(SYS_faccessat2, AT_FDCWD, "file", R_OK, 0));
    TRY(syscall(SYS_faccessat2, AT_FDCWD, "file", R_OK, AT_EACCESS));
    TRY(syscall(SYS_fchmodat2, AT_FDCWD, "file", 0666, 0));
    TRY(syscall(SYS_fchownat, AT_FDCWD, "file", 1000, -1, 0));
    TRY(syscall(SYS_fchownat, AT_FDCWD, "file", -1, -1, 0));
    MUST(syscall(SYS_setresuid, 0, 0, 0));
    return 0;
}
