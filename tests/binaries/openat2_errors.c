// openat2: sizes of its argument, and flags that do not go together.
#include "observe.h"

struct how {
    uint64_t flags, mode, resolve;
};

static long open_how(const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct how how = {flags, mode, resolve};
    long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    int error = errno;
    if (fd >= 0)
        close((int)fd);
    errno = error;
    return fd < 0 ? -1 : 0;
}

int main(void) {
    fresh_dir("/dev/shm");
    put_file("file", "");
    MUST(mkdir("folder", 0700));
    char longer[8192] = {0};
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", NULL, 24) >= 0);
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", NULL, 24));
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", longer, 0));
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", longer, 23));
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", longer, 25) >= 0);
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", longer, 4096) >= 0);
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", longer, 4097));
    longer[24] = 1;
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", longer, 25));
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", longer, 24) >= 0);
    TRY(syscall(SYS_openat2, 99, "file", longer, 24));
    TRY(syscall(SYS_openat2, AT_FDCWD, NULL, longer, 24));
    for (int bit = 0; bit < 64; bit++) {
        long result = open_how("file", 1ull << bit, 0, 0);
        printf("flag %llx: %s;", 1ull << bit, result < 0 ? error_name(errno) : "done");
        result = open_how("new", O_CREAT | O_RDWR, 1ull << bit, 0);
        printf(" mode: %s;", result < 0 ? error_name(errno) : "done");
        unlink("new");
        result = open_how("folder/../file", O_RDONLY, 0, 1ull << bit);
        printf(" resolve: %s;", result < 0 ? error_name(errno) : "done");
        result = open_how("folder", O_PATH | 1ull << bit, 0, 0);
        printf(" place: %s\n", result < 0 ? error_name(errno) : "done");
    }
    TRY(open_how("file", O_RDONLY, 0600, 0));
    TRY(open_how("file", O_PATH, 0600, 0));
    TRY(open_how(".", O_TMPFILE | O_RDWR, 0600, 0));
    TRY(open_how(".", O_TMPFILE | O_RDONLY, 0600, 0));
    TRY(open_how(".", O_TMPFILE | O_RDWR | O_CREAT, 0600, 0));
    TRY(open_how("file", O_CREAT | O_DIRECTORY, 0600, 0));
    TRY(open_how("folder", O_CREAT | O_DIRECTORY, 0600, 0));
    TRY(open("folder", O_CREAT | O_DIRECTORY, 0600));
    TRY(open("absent", O_CREAT | O_DIRECTORY, 0600));
    TRY(open_how("folder", O_CREAT, 0600, 0));
    TRY(open_how("file", O_ACCMODE, 0, 0));
    TRY(open_how("file", O_WRONLY | O_TRUNC, 0, 0x20));
    TRY(open_how("new", O_RDWR | O_CREAT, 0600, 0x20));
    TRY(open_how("file", O_RDONLY, 0, 0x18));
    TRY(open_how("/dev/null", O_RDONLY, 0, 0x8));
    TRY(open_how("..", O_RDONLY, 0, 0x8));
    TRY(open_how("..", O_RDONLY, 0, 0x10));
    TRY(open_how("/file", O_RDONLY, 0, 0x10));
    TRY(open_how("/proc/self/fd/0", O_RDONLY, 0, 0x2));
    TRY(open_how("/proc/self/fd/0", O_RDONLY, 0, 0x4));
    TRY(open_how("/proc/self/status", O_RDONLY, 0, 0x1));
    TRY(open_how("", O_RDONLY, 0, 0));
    return 0;
}
