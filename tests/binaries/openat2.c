// openat2: strict flags and restricted path walks.
#include "observe.h"

struct how {
    uint64_t flags, mode, resolve;
};
enum { NO_XDEV = 1, NO_MAGICLINKS = 2, NO_SYMLINKS = 4, BENEATH = 8, IN_ROOT = 16, CACHED = 32 };

static long openat2(int folder, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct how how = {flags, mode, resolve};
    return syscall(SYS_openat2, folder, path, &how, sizeof how);
}

int main(void) {
    fresh_dir("/tmp");
    MUST(mkdir("root", 0755));
    MUST(mkdir("root/sub", 0755));
    put_file("root/file", "inside");
    put_file("file", "outside");
    MUST(symlink("../file", "root/up"));
    MUST(symlink("/file", "root/absolute"));
    MUST(symlink("file", "root/near"));
    int root = MUST(open("root", O_PATH | O_DIRECTORY));
    TRY(openat2(AT_FDCWD, "file", O_RDONLY, 0, 0));
    TRY(openat2(AT_FDCWD, "new", O_RDWR | O_CREAT, 0600, 0));
    TRY(openat2(AT_FDCWD, "file", O_RDONLY, 0600, 0));
    TRY(openat2(AT_FDCWD, "file", 1ull << 40, 0, 0));
    TRY(openat2(AT_FDCWD, "file", O_RDONLY, 0, 1ull << 20));
    TRY(openat2(AT_FDCWD, "file", O_RDWR | O_CREAT, 0200000, 0));
    TRY(openat2(root, "up", O_RDONLY, 0, 0));
    TRY(openat2(root, "up", O_RDONLY, 0, BENEATH));
    TRY(openat2(root, "../file", O_RDONLY, 0, BENEATH));
    TRY(openat2(root, "/file", O_RDONLY, 0, BENEATH));
    TRY(openat2(root, "sub/../file", O_RDONLY, 0, BENEATH));
    TRY(openat2(root, "near", O_RDONLY, 0, BENEATH));
    TRY(openat2(root, "near", O_RDONLY, 0, NO_SYMLINKS));
    TRY(openat2(root, "up", O_RDONLY, 0, IN_ROOT));
    TRY(openat2(root, "absolute", O_RDONLY, 0, IN_ROOT));
    TRY(openat2(root, "../../../file", O_RDONLY, 0, IN_ROOT));
    TRY(openat2(root, "file", O_RDONLY, 0, IN_ROOT | BENEATH));
    TRY(openat2(AT_FDCWD, "/proc/self/fd/0", O_PATH, 0, NO_MAGICLINKS));
    TRY(openat2(AT_FDCWD, "/proc/self/status", O_RDONLY, 0, NO_XDEV));
    // What was found before is cached, a name nobody asked for is not; and nothing is made or cut.
    TRY(openat2(AT_FDCWD, "file", O_RDONLY, 0, CACHED));
    TRY(openat2(root, "file", O_RDWR, 0, CACHED | BENEATH));
    TRY(openat2(root, "sub/../file", O_RDONLY, 0, CACHED));
    TRY(openat2(root, "file/more", O_RDONLY, 0, CACHED));
    TRY(openat2(root, "sub", O_RDWR, 0, CACHED));
    TRY(openat2(root, "nobody-asked-for-this", O_RDONLY, 0, CACHED));
    TRY(openat2(root, "nobody-asked/for-this", O_RDONLY, 0, CACHED));
    TRY(openat2(root, "file", O_RDWR | O_CREAT, 0600, CACHED));
    TRY(openat2(root, "file", O_RDWR | O_TRUNC, 0, CACHED));
    TRY(openat2(root, "sub", O_RDWR | O_TMPFILE, 0600, CACHED));
    struct {
        struct how how;
        uint64_t more;
    } longer = {{O_RDONLY, 0, 0}, 0};
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", &longer, sizeof longer));
    longer.more = 1;
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", &longer, sizeof longer));
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", &longer, 8));
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", &longer, 100000));
    TRY(syscall(SYS_openat2, AT_FDCWD, "file", NULL, sizeof(struct how)));
    return 0;
}
