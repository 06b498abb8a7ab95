//@ run: new
//@ run: trees
//@ run: attributes
//@ run: changed
// Mounting step by step: fsopen, fsconfig, fsmount, fspick, open_tree, move_mount, mount_setattr, open_tree_attr.
#include "mounts.h"

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#define AT_RECURSIVE_TREE 0x8000

static const char *base;

static long fs_open(const char *name, unsigned flags) { return syscall(430, name, flags); }
static long fs_config(int fd, unsigned command, const char *key, const void *value, int aux) {
    return syscall(431, fd, command, key, value, aux);
}
static long fs_mount(int fd, unsigned flags, unsigned attributes) { return syscall(432, fd, flags, attributes); }
static long fs_pick(int at, const char *path, unsigned flags) { return syscall(433, at, path, flags); }
static long tree_open(int at, const char *path, unsigned flags) { return syscall(428, at, path, flags); }
static long mount_move(int from, const char *from_path, int to, const char *to_path, unsigned flags) {
    return syscall(429, from, from_path, to, to_path, flags);
}
struct attributes {
    uint64_t set, clear, propagation, user_namespace;
};
static long set_attributes(int at, const char *path, unsigned flags, void *attributes, size_t size) {
    return syscall(442, at, path, flags, attributes, size);
}

// Prints what a call that answers a descriptor answered, and keeps that.
static int try_fd(const char *label, long fd) {
    printf("%s: %s\n", label, fd < 0 ? error_name(errno) : "a descriptor");
    return (int)fd;
}

static void new_one(void) {
    mkdir("m", 0700);
    mkdir("n", 0700);
    try_fd("unknown kind", fs_open("no-such", 0));
    try_fd("flags", fs_open("tmpfs", 2));
    try_fd("no name", fs_open(NULL, 0));
    int fs = try_fd("tmpfs", fs_open("tmpfs", 1));
    TRY(fcntl(fs, F_GETFD));
    TRY(fs_config(-1, 0, "ro", NULL, 0));
    TRY(fs_config(99, 0, "ro", NULL, 0));
    TRY(fs_config(0, 0, "ro", NULL, 0));
    TRY(fs_config(fs, 99, NULL, NULL, 0));
    TRY(fs_config(fs, 0, NULL, NULL, 0));
    TRY(fs_config(fs, 0, "ro", "x", 0));
    TRY(fs_config(fs, 0, "ro", NULL, 1));
    TRY(fs_config(fs, 1, "size", NULL, 0));
    TRY(fs_config(fs, 1, "size", "1m", 1));
    TRY(fs_config(fs, 1, "size", "1m", 0));
    TRY(fs_config(fs, 1, "mode", "0750", 0));
    TRY(fs_config(fs, 1, "source", "a-name", 0));
    TRY(fs_config(fs, 1, "source", "again", 0));
    TRY(fs_config(fs, 6, "x", NULL, 0));
    TRY(fs_config(fs, 7, NULL, NULL, 0));
    try_fd("mounted too early", fs_mount(fs, 0, 0));
    TRY(fs_config(fs, 6, NULL, NULL, 0));
    TRY(fs_config(fs, 6, NULL, NULL, 0));
    TRY(fs_config(fs, 1, "size", "2m", 0));
    try_fd("flags", fs_mount(fs, 2, 0));
    try_fd("attributes", fs_mount(fs, 0, 0x1000));
    try_fd("two times", fs_mount(fs, 0, 0x30));
    try_fd("not a context", fs_mount(0, 0, 0));
    int mount_fd = try_fd("mount", fs_mount(fs, 1, 0x2 | 0x10));
    try_fd("mounted twice", fs_mount(fs, 0, 0));
    TRY((fcntl(mount_fd, F_GETFL) & O_PATH) != 0);
    show_mounts(base);
    // It can be used before it is anywhere.
    int file = (int)TRY(openat(mount_fd, "before", O_RDWR | O_CREAT, 0600) >= 0);
    (void)file;
    TRY(faccessat(mount_fd, "../before", F_OK, 0));
    TRY(mount_move(mount_fd, "", AT_FDCWD, "m", 0));
    TRY(mount_move(mount_fd, "", AT_FDCWD, "m", 0x400));
    TRY(mount_move(mount_fd, "", AT_FDCWD, "absent", 4));
    TRY(mount_move(mount_fd, "", AT_FDCWD, "m", 4));
    TRY(access("m/before", F_OK));
    show_mounts(base);
    // Again: from here to there.
    TRY(mount_move(mount_fd, "", AT_FDCWD, "n", 4));
    TRY(access("m/before", F_OK));
    TRY(access("n/before", F_OK));
    TRY(mount_move(AT_FDCWD, "n/before", AT_FDCWD, "m", 0));
    TRY(mount_move(AT_FDCWD, "n", AT_FDCWD, "m", 0));
    show_mounts(base);
    // Another one that is never put anywhere.
    int other = try_fd("another", fs_open("tmpfs", 0));
    TRY(fs_config(other, 0, "ro", NULL, 0));
    TRY(fs_config(other, 6, NULL, NULL, 0));
    int nowhere = try_fd("mount", fs_mount(other, 0, 0));
    TRY(openat(nowhere, "f", O_WRONLY | O_CREAT, 0600));
    close(nowhere);
    close(other);
    // A change of one that is there.
    try_fd("not a root", fs_pick(AT_FDCWD, "n", 0));
    try_fd("flags", fs_pick(AT_FDCWD, "m", 16));
    int picked = try_fd("picked", fs_pick(AT_FDCWD, "m", 1));
    TRY(fs_config(picked, 6, NULL, NULL, 0));
    TRY(fs_config(picked, 0, "ro", NULL, 0));
    close((int)MUST(dup(mount_fd)));
    for (int fd = 3; fd < 64; fd++)
        if (fd != picked)
            close(fd);
    TRY(fs_config(picked, 7, NULL, NULL, 0));
    TRY(open("m/f", O_WRONLY | O_CREAT, 0600));
    TRY(fs_config(picked, 0, "rw", NULL, 0));
    TRY(fs_config(picked, 7, NULL, NULL, 0));
    TRY(open("m/f", O_WRONLY | O_CREAT, 0600) >= 0);
    // Without the right to.
    MUST(syscall(SYS_setresuid, -1, 1000, -1));
    try_fd("unprivileged", fs_open("tmpfs", 0));
    try_fd("unprivileged", fs_pick(AT_FDCWD, "m", 0));
    TRY(mount_move(AT_FDCWD, "m", AT_FDCWD, "n", 0));
    MUST(syscall(SYS_setresuid, -1, 0, -1));
    TRY(umount2("m", MNT_DETACH));
}

static void trees(void) {
    static const char *const folders[] = {"a", "a/b", "x", "y"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        mkdir(folders[i], 0700);
    TRY(mount("outer", "a", "tmpfs", 0, NULL));
    mkdir("a/b", 0700);
    TRY(mount("inner", "a/b", "tmpfs", 0, NULL));
    put_file("a/f", "text");
    put_file("a/b/g", "deep");
    try_fd("flags", tree_open(AT_FDCWD, "a", 2));
    try_fd("all of it, not copied", tree_open(AT_FDCWD, "a", AT_RECURSIVE_TREE));
    try_fd("absent", tree_open(AT_FDCWD, "absent", 1));
    int plain = try_fd("not copied", tree_open(AT_FDCWD, "a/f", O_CLOEXEC));
    TRY((fcntl(plain, F_GETFL) & O_PATH) != 0);
    TRY(fcntl(plain, F_GETFD));
    int copy = try_fd("copy", tree_open(AT_FDCWD, "a", 1));
    TRY(faccessat(copy, "f", F_OK, 0));
    TRY(faccessat(copy, "b/g", F_OK, 0));
    show_mounts(base);
    int all = try_fd("all of it", tree_open(AT_FDCWD, "a", 1 | AT_RECURSIVE_TREE));
    TRY(faccessat(all, "b/g", F_OK, 0));
    TRY(mount_move(all, "", AT_FDCWD, "x", 4));
    TRY(mount_move(copy, "", AT_FDCWD, "y", 4));
    show_mounts(base);
    close(copy);
    close(all);
    TRY(access("x/b/g", F_OK));
    TRY(access("y/b/g", F_OK));
    // A file, and a copy that goes without having been anywhere.
    int file = try_fd("file", tree_open(AT_FDCWD, "a/f", 1));
    put_file("target", "");
    TRY(mount_move(file, "", AT_FDCWD, "x/b", 4));
    TRY(mount_move(file, "", AT_FDCWD, "target", 4));
    show_file("target");
    all = try_fd("all of it", tree_open(AT_FDCWD, "a", 1 | AT_RECURSIVE_TREE));
    close(all);
    TRY(umount2("a/b", 0));
    TRY(umount2("target", 0));
    close(file);
    close(plain);
    TRY(umount2("y", 0));
    TRY(umount2("x", MNT_DETACH));
    TRY(umount2("a", 0));
    show_mounts(base);
}

static void attributes(void) {
    struct attributes change = {0};
    char longer[64] = {0};
    mkdir("m", 0700);
    TRY(mount("outer", "m", "tmpfs", 0, NULL));
    mkdir("m/in", 0700);
    mkdir("m/plain", 0700);
    TRY(mount("inner", "m/in", "tmpfs", 0, NULL));
#define CHANGE(flags, ...) (change = (struct attributes){__VA_ARGS__}, set_attributes(AT_FDCWD, "m", flags, &change, sizeof change))
    TRY(CHANGE(0, 0));
    TRY(CHANGE(1, .set = 1));
    TRY(set_attributes(AT_FDCWD, "m", 0, &change, 31));
    TRY(set_attributes(AT_FDCWD, "m", 0, &change, 5000));
    TRY(set_attributes(AT_FDCWD, "m", 0, NULL, 32));
    memcpy(longer, &change, sizeof change);
    TRY(set_attributes(AT_FDCWD, "m/plain", 0, longer, sizeof longer));
    longer[63] = 1;
    TRY(set_attributes(AT_FDCWD, "m", 0, longer, sizeof longer));
    TRY(CHANGE(0, .set = 0x1000));
    TRY(CHANGE(0, .set = 0x10));
    TRY(CHANGE(0, .clear = 0x10));
    TRY(CHANGE(0, .set = 0x30, .clear = 0x70));
    TRY(CHANGE(0, .propagation = 1));
    TRY(CHANGE(0, .propagation = MS_PRIVATE | MS_UNBINDABLE));
    TRY(CHANGE(0, .set = 0x2 | 0x8));
    show_mounts(base);
    TRY(CHANGE(0, .set = 0x10, .clear = 0x70 | 0x2));
    show_mounts(base);
    TRY(CHANGE(AT_RECURSIVE_TREE, .set = 0x1 | 0x80));
    show_mounts(base);
    TRY(open("m/in/f", O_WRONLY | O_CREAT, 0600));
    TRY(CHANGE(AT_RECURSIVE_TREE, .clear = 0x1 | 0x80 | 0x8 | 0x70));
    show_mounts(base);
    // All or none.
    int fd = (int)MUST(open("m/in/f", O_WRONLY | O_CREAT, 0600));
    TRY(CHANGE(AT_RECURSIVE_TREE, .set = 0x1 | 0x4));
    show_mounts(base);
    TRY(CHANGE(0, .set = 0x1));
    close(fd);
    TRY(CHANGE(AT_RECURSIVE_TREE, .set = 0x1, .propagation = MS_UNBINDABLE));
    show_mounts(base);
    TRY(CHANGE(AT_RECURSIVE_TREE, .propagation = MS_PRIVATE));
    show_mounts(base);
    TRY(set_attributes(AT_FDCWD, "m/plain", 0, &change, sizeof change));
    TRY(umount2("m", MNT_DETACH));
}

// Trees that are opened with other attributes.
static void changed(void) {
    struct attributes change = {0};
    char longer[64] = {0};
    mkdir("m", 0700);
    mkdir("n", 0700);
    MUST(mount("outer", "m", "tmpfs", MS_NOSUID, NULL));
    mkdir("m/in", 0700);
    mkdir("m/plain", 0700);
    MUST(mount("inner", "m/in", "tmpfs", 0, NULL));
#define OPEN(path, flags, ...)                                                                                         \
    (change = (struct attributes){__VA_ARGS__}, syscall(467, AT_FDCWD, path, flags, &change, sizeof change))
    int fd = try_fd("a copy", OPEN("m", 1 | O_CLOEXEC, .set = 1));
    TRY(fcntl(fd, F_GETFD));
    TRY(openat(fd, "f", O_WRONLY | O_CREAT, 0600));
    TRY(access("m/in", W_OK));
    TRY(mount_move(fd, "", AT_FDCWD, "n", 4));
    show_mounts(base);
    close(fd);
    MUST(umount("n"));
    fd = try_fd("all of it", OPEN("m", 1 | AT_RECURSIVE_TREE, .set = 0x8 | 0x80, .clear = 0x2));
    TRY(mount_move(fd, "", AT_FDCWD, "n", 4));
    show_mounts(base);
    close(fd);
    MUST(umount2("n", MNT_DETACH));
    fd = try_fd("a part", OPEN("m/plain", 1, .set = 0x10, .clear = 0x70, .propagation = MS_SHARED));
    TRY(mount_move(fd, "", AT_FDCWD, "n", 4));
    close(fd);
    MUST(umount("n"));
    close(try_fd("no copy", OPEN("m", 0, .set = 4)));
    show_mounts(base);
    close(try_fd("no copy, no mount", OPEN("m/plain", 0, .set = 4)));
    close(try_fd("no change", OPEN("m/plain", 0, 0)));
    close(try_fd("no attributes", syscall(467, AT_FDCWD, "m", 0, NULL, 0)));
    close(try_fd("no attributes of a length", syscall(467, AT_FDCWD, "m", 0, NULL, 32)));
    close(try_fd("too short", syscall(467, AT_FDCWD, "m", 0, &change, 31)));
    close(try_fd("too long", syscall(467, AT_FDCWD, "m", 0, &change, 5000)));
    close(try_fd("longer", syscall(467, AT_FDCWD, "m", 1, longer, sizeof longer)));
    longer[63] = 1;
    close(try_fd("longer, with something", syscall(467, AT_FDCWD, "m", 1, longer, sizeof longer)));
    close(try_fd("bad pointer", syscall(467, AT_FDCWD, "m", 1, 8, 32)));
    close(try_fd("bad pointer, no such place", syscall(467, AT_FDCWD, "nowhere", 1, 8, 32)));
    close(try_fd("unknown attribute", OPEN("m", 1, .set = 0x1000)));
    close(try_fd("unknown flag", OPEN("m", 2, .set = 1)));
    close(try_fd("all of it, but no copy", OPEN("m", AT_RECURSIVE_TREE, .set = 1)));
    MUST(chmod(".", 0755));
    MUST(setuid(1000));
    close(try_fd("without rights", OPEN(".", 1, .set = 1)));
    close(try_fd("no copy, without rights", OPEN(".", 0, .set = 1)));
    close(try_fd("no change, without rights", OPEN(".", 0, 0)));
    close(try_fd("no attributes, without rights", syscall(467, AT_FDCWD, ".", 0, NULL, 0)));
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    own_mounts();
    base = fresh_dir("/tmp");
    if (strcmp(part, "new") == 0)
        new_one();
    else if (strcmp(part, "trees") == 0)
        trees();
    else if (strcmp(part, "attributes") == 0)
        attributes();
    else if (strcmp(part, "changed") == 0)
        changed();
    return 0;
}
