// When the set-user-id and set-group-id bits of a file go.
#include "observe.h"
#include <sys/sendfile.h>

#define OTHER 1000

static const char *user;

static void as(uid_t uid) {
    MUST(syscall(SYS_setresuid, -1, 0, -1));
    MUST(syscall(SYS_setresgid, -1, uid, -1));
    MUST(syscall(SYS_setresuid, -1, uid, -1));
    user = uid ? "other" : "root";
}

static mode_t mode_now(void) {
    struct stat status;
    MUST(stat("file", &status));
    return status.st_mode & 07777;
}

// A file of `OTHER` with this mode, at which the caller works then.
static void prepare_file(mode_t mode) {
    uid_t uid = geteuid();
    as(0);
    unlink("file");
    put_file("file", "0123456789");
    MUST(chown("file", OTHER, OTHER));
    MUST(chmod("file", mode));
    as(uid);
}

#define AFTER(call)                                                                                                     \
    do {                                                                                                                \
        prepare_file(mode);                                                                                             \
        int fd = open("file", O_RDWR);                                                                                  \
        long result = (long)(call);                                                                                     \
        int error = errno;                                                                                              \
        close(fd);                                                                                                      \
        printf("%s %04o %s: %s, %04o\n", user, mode, #call, result < 0 ? error_name(error) : "done", mode_now());       \
    } while (0)

static void try_all(mode_t mode) {
    AFTER(write(fd, "x", 1));
    AFTER(write(fd, "x", 0));
    AFTER(pwrite(fd, "x", 1, 3));
    AFTER(ftruncate(fd, 3));
    AFTER(ftruncate(fd, 10));
    AFTER(truncate("file", 20));
    AFTER(open("file", O_WRONLY | O_TRUNC));
    AFTER(fallocate(fd, 0, 0, 10));
    AFTER(fallocate(fd, 3, 0, 5));
    AFTER(chown("file", OTHER, OTHER));
    AFTER(chown("file", -1, -1));
    AFTER(chown("file", OTHER, -1));
    AFTER(chown("file", -1, OTHER));
    AFTER(chmod("file", mode));
    AFTER(chmod("file", mode | 07000));
    AFTER(copy_file_range(fd, &(off_t){0}, fd, &(off_t){5}, 5, 0));
    AFTER(link("file", "other"));
    unlink("other");
    AFTER(utimensat(AT_FDCWD, "file", NULL, 0));
    AFTER(ftruncate(fd, -1));
    void *memory;
    AFTER((memory = mmap(NULL, 10, PROT_WRITE, MAP_SHARED, fd, 0), *(char *)memory = 'x', munmap(memory, 10)));
}

int main(void) {
    static const mode_t modes[] = {06777, 06766, 04644, 02755, 02644, 01777};
    fresh_dir("/dev/shm");
    MUST(chmod(".", 0777));
    as(0);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        try_all(modes[i]);
    as(OTHER);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        try_all(modes[i]);
    // Of a group that the owner is not in.
    as(0);
    put_file("group", "");
    MUST(chown("group", OTHER, 50));
    as(OTHER);
    struct stat status;
    TRY(chmod("group", 02755));
    MUST(stat("group", &status));
    printf("%o\n", status.st_mode);
    as(0);
    MUST(chmod("group", 02755));
    TRY(chown("group", 0, 0));
    MUST(stat("group", &status));
    printf("%o\n", status.st_mode);
    // Folders keep them.
    MUST(mkdir("folder", 0777));
    MUST(chmod("folder", 06777));
    TRY(chown("folder", OTHER, OTHER));
    MUST(stat("folder", &status));
    printf("%o\n", status.st_mode);
    return 0;
}
