// setxattrat and its relatives, which Linux has since 6.13.
#include "observe.h"

struct arguments {
    uint64_t value;
    uint32_t size;
    uint32_t flags;
};

static long set_at(int fd, const char *path, unsigned at, const char *name, const void *value, unsigned size, unsigned flags, size_t usize) {
    struct { struct arguments known; uint64_t rest[2]; } arguments = {{(uintptr_t)value, size, flags}, {0, 0}};
    return syscall(463, fd, path, at, name, &arguments, usize);
}

static long get_at(int fd, const char *path, unsigned at, const char *name, void *value, unsigned size, unsigned flags) {
    struct arguments arguments = {(uintptr_t)value, size, flags};
    return syscall(464, fd, path, at, name, &arguments, sizeof arguments);
}

static long list_at(int fd, const char *path, unsigned at, void *list, size_t size) {
    return syscall(465, fd, path, at, list, size);
}

static long remove_at(int fd, const char *path, unsigned at, const char *name) {
    return syscall(466, fd, path, at, name);
}

int main(void) {
    char buffer[64];
    fresh_dir("/dev/shm");
    put_file("file", "");
    MUST(mkdir("dir", 0755));
    put_file("dir/file", "");
    MUST(symlink("file", "dir/link"));
    int dir = (int)MUST(open("dir", O_RDONLY)), file = (int)MUST(open("file", O_RDONLY));
    int path_only = (int)MUST(open("file", O_PATH));
    TRY(set_at(dir, "file", 0, "user.x", "v", 1, 0, 16));
    TRY(set_at(dir, "link", 0, "user.y", "vv", 2, 1, 16));
    TRY(set_at(dir, "link", AT_SYMLINK_NOFOLLOW, "user.y", "vv", 2, 1, 16));
    TRY(set_at(dir, "link", AT_SYMLINK_NOFOLLOW, "trusted.y", "vv", 2, 1, 16));
    TRY(set_at(dir, "", 0, "user.d", "vvv", 3, 0, 16));
    TRY(set_at(dir, "", AT_EMPTY_PATH, "user.d", "vvv", 3, 0, 16));
    TRY(set_at(file, "", AT_EMPTY_PATH, "user.f", "vvvv", 4, 0, 16));
    TRY(set_at(file, NULL, AT_EMPTY_PATH, "user.n", "vvvv", 4, 0, 16));
    TRY(set_at(path_only, "", AT_EMPTY_PATH, "user.p", "p", 1, 0, 16));
    TRY(set_at(dir, "file", 0, "user.x", "v", 1, 8, 16));
    TRY(set_at(dir, "file", AT_REMOVEDIR, "user.x", "v", 1, 0, 16));
    TRY(set_at(dir, "file", 0, "user.x", "v", 1, 0, 15));
    TRY(set_at(dir, "file", 0, "user.x", "v", 1, 0, 24));
    TRY(set_at(dir, "file", 0, "user.x", "v", 1, 0, 5000));
    TRY(get_at(dir, "file", 0, "user.x", buffer, 64, 0));
    TRY(get_at(dir, "file", 0, "user.x", buffer, 64, 1));
    TRY(get_at(AT_FDCWD, "file", 0, "user.f", buffer, 3, 0));
    TRY(get_at(AT_FDCWD, "file", 0, "user.f", buffer, 4, 0));
    TRY(list_at(AT_FDCWD, "file", 0, buffer, 64));
    TRY(list_at(dir, "", AT_EMPTY_PATH, buffer, 64));
    TRY(list_at(dir, "link", AT_SYMLINK_NOFOLLOW, buffer, 64));
    TRY(list_at(99, "link", AT_SYMLINK_NOFOLLOW, buffer, 64));
    TRY(remove_at(dir, "file", 0, "user.x"));
    TRY(remove_at(dir, "file", 0, "user.x"));
    TRY(remove_at(dir, "link", AT_SYMLINK_NOFOLLOW, "trusted.y"));
    TRY(remove_at(dir, "", AT_EMPTY_PATH, "user.d"));
    return 0;
}
