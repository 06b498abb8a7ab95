// Extended attributes on a tmpfs, which on Linux keeps those of users since 6.6.
#include "observe.h"

#include <sys/xattr.h>

#define NOBODY 65534

static char big[70000];

static void show(const char *path, const char *name) {
    char value[64];
    long len = lgetxattr(path, name, value, sizeof value);
    if (len < 0)
        printf("%s %s: %s\n", path, name, error_name(errno));
    else
        print_bytes(name, value, (size_t)len);
}

static void show_list(const char *path) {
    char names[4096];
    long len = llistxattr(path, names, sizeof names);
    if (len < 0)
        printf("list of %s: %s\n", path, error_name(errno));
    else
        print_bytes(path, names, (size_t)len);
}

static void basics(void) {
    int fd = (int)MUST(open("file", O_RDWR | O_CREAT, 0644));
    show_list("file");
    show("file", "user.one");
    TRY(setxattr("file", "user.one", "1", 1, 0));
    TRY(setxattr("file", "user.two", "twotwo", 6, XATTR_CREATE));
    TRY(setxattr("file", "user.two", "again", 5, XATTR_CREATE));
    TRY(setxattr("file", "user.two", "again", 5, XATTR_REPLACE));
    TRY(setxattr("file", "user.three", "x", 1, XATTR_REPLACE));
    TRY(setxattr("file", "user.three", "x", 1, XATTR_REPLACE | XATTR_CREATE));
    TRY(setxattr("file", "user.two", "x", 1, XATTR_REPLACE | XATTR_CREATE));
    TRY(setxattr("file", "user.three", "x", 1, 4));
    TRY(fsetxattr(fd, "user.empty", NULL, 0, 0));
    TRY(fsetxattr(fd, "user.a", "\0zero", 5, 0));
    show("file", "user.one");
    show("file", "user.two");
    show("file", "user.empty");
    show("file", "user.a");
    show_list("file");
    TRY(fgetxattr(fd, "user.two", NULL, 0));
    TRY(fgetxattr(fd, "user.two", big, 4));
    TRY(fgetxattr(fd, "user.two", big, 5));
    TRY(fgetxattr(fd, "user.two", (void *)8, 5));
    TRY(fgetxattr(fd, "user.two", (void *)8, 4));
    TRY(flistxattr(fd, NULL, 0));
    TRY(flistxattr(fd, big, 3));
    TRY(flistxattr(fd, (void *)8, 4000));
    TRY(fremovexattr(fd, "user.one"));
    TRY(fremovexattr(fd, "user.one"));
    show_list("file");
    struct stat before, after;
    MUST(fstat(fd, &before));
    usleep(20000);
    TRY(fsetxattr(fd, "user.two", "!", 1, 0));
    MUST(fstat(fd, &after));
    CHECK(memcmp(&before.st_ctim, &after.st_ctim, sizeof before.st_ctim) != 0);
    CHECK(memcmp(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim) == 0);
    close(fd);
}

static void names_and_sizes(void) {
    char name[300];
    memset(name, 'n', sizeof name);
    memcpy(name, "user.", 5);
    name[255] = 0;
    TRY(setxattr("file", name, "long", 4, 0));
    show("file", name);
    TRY(removexattr("file", name));
    name[255] = 'n';
    name[256] = 0;
    TRY(setxattr("file", name, "long", 4, 0));
    TRY(getxattr("file", name, big, 4));
    TRY(removexattr("file", name));
    const char *odd[] = {"", "user", "user.", "trusted.", "security.", "system.", "system.x", "other.name", "User.x", "usr.x", "."};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        printf("\"%s\": ", odd[i]);
        printf("set %s, ", setxattr("file", odd[i], "v", 1, 0) ? error_name(errno) : "ok");
        printf("get %s, ", getxattr("file", odd[i], big, 9) < 0 ? error_name(errno) : "ok");
        printf("remove %s\n", removexattr("file", odd[i]) ? error_name(errno) : "ok");
    }
    memset(big, 'b', sizeof big);
    TRY(setxattr("file", "user.big", big, 65536, 0));
    TRY(getxattr("file", "user.big", NULL, 0));
    TRY(getxattr("file", "user.big", big, sizeof big));
    TRY(getxattr("file", "user.big", big, 65535));
    TRY(setxattr("file", "user.big", big, 65537, 0));
    TRY(removexattr("file", "user.big"));
    TRY(setxattr("file", (char *)8, "v", 1, 0));
    TRY(setxattr("file", "user.v", (char *)8, 1, 0));
    TRY(setxattr("file", "user.v", (char *)8, 0, 0));
    TRY(setxattr("absent", "user.v", (char *)8, 1, 0));
    TRY(setxattr("absent", "user.v", "v", 1, 0));
    TRY(setxattr("absent", "", "v", 1, 0));
    TRY(setxattr("absent", "user.v", "v", 1, 4));
    TRY(listxattr("absent", NULL, 0));
}

static void kinds(void) {
    MUST(mkdir("dir", 0755));
    MUST(mkfifo("fifo", 0644));
    MUST(symlink("file", "link"));
    MUST(symlink("absent", "dangling"));
    const char *paths[] = {"dir", "fifo", "link", "dangling"};
    const char *names[] = {"user.x", "trusted.x", "security.x"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        for (size_t j = 0; j < ARRAY_LEN(names); j++) {
            printf("%s %s: ", paths[i], names[j]);
            printf("get %s, ", lgetxattr(paths[i], names[j], big, 9) < 0 ? error_name(errno) : "ok");
            printf("set %s, ", lsetxattr(paths[i], names[j], "v", 1, 0) ? error_name(errno) : "ok");
            printf("remove %s\n", lremovexattr(paths[i], names[j]) ? error_name(errno) : "ok");
        }
    TRY(setxattr("link", "user.through", "link", 4, 0));
    show("file", "user.through");
    TRY(lsetxattr("link", "trusted.link", "own", 3, 0));
    show_list("link");
    TRY(setxattr("dangling", "user.x", "v", 1, 0));
    int path_only = (int)MUST(open("file", O_PATH));
    TRY(fgetxattr(path_only, "user.through", big, 9));
    TRY(fsetxattr(path_only, "user.through", "v", 1, 0));
    TRY(flistxattr(path_only, NULL, 0));
    int reader = (int)MUST(open("file", O_RDONLY));
    TRY(fsetxattr(reader, "user.reader", "may write", 9, 0));
    int pipes[2];
    MUST(pipe(pipes));
    TRY(fgetxattr(pipes[0], "user.x", big, 9));
    TRY(fsetxattr(pipes[0], "user.x", "v", 1, 0));
    TRY(fsetxattr(pipes[0], "trusted.x", "v", 1, 0));
    TRY(flistxattr(pipes[0], NULL, 0));
    TRY(fgetxattr(99, "user.x", big, 9));
    // They belong to the file, not to its name.
    MUST(link("file", "hard"));
    MUST(rename("file", "moved"));
    show_list("hard");
    show_list("moved");
    MUST(rename("moved", "file"));
}

static void capabilities(void) {
    unsigned char second[20] = {0, 0, 0, 2, 0, 4}, third[24] = {0, 0, 0, 3};
    TRY(setxattr("file", "security.capability", "x", 1, 0));
    TRY(setxattr("file", "security.capability", "x", 0, 0));
    TRY(setxattr("file", "security.capability", third, 20, 0));
    TRY(setxattr("file", "security.capability", second, 20, 0));
    TRY(getxattr("file", "security.capability", NULL, 0));
    TRY(removexattr("file", "security.capability"));
}

static void as_somebody(void) {
    MUST(setxattr("file", "trusted.secret", "s", 1, 0));
    MUST(setxattr("file", "security.label", "l", 1, 0));
    MUST(mkdir("sticky", 0));
    MUST(chmod("sticky", 01777));
    MUST(mkdir("open", 0));
    MUST(chmod("open", 0777));
    put_file("own", "");
    MUST(chown("own", NOBODY, NOBODY));
    MUST(setxattr("own", "user.seen", "yes", 3, 0));
    MUST(chmod(".", 0755));
    MUST(syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY));
    MUST(syscall(SYS_setresuid, -1, NOBODY, -1));
    show_list("file");
    show("file", "user.through");
    show("file", "trusted.secret");
    show("file", "security.label");
    TRY(setxattr("file", "user.x", "v", 1, 0));
    TRY(setxattr("file", "trusted.x", "v", 1, 0));
    TRY(setxattr("file", "security.x", "v", 1, 0));
    TRY(setxattr("file", "system.x", "v", 1, 0));
    TRY(setxattr("file", "other.x", "v", 1, 0));
    TRY(removexattr("file", "security.label"));
    TRY(removexattr("file", "security.capability"));
    TRY(setxattr("own", "user.x", "v", 1, 0));
    TRY(chmod("own", 0000));
    TRY(getxattr("own", "user.x", big, 9));
    TRY(setxattr("own", "user.x", "v", 1, 0));
    show_list("own");
    TRY(setxattr("own", "trusted.x", "v", 1, 0));
    TRY(setxattr("own", "security.x", "v", 1, 0));
    TRY(setxattr("own", "security.capability", "v", 1, 0));
    TRY(setxattr("sticky", "user.x", "v", 1, 0));
    TRY(setxattr("open", "user.x", "v", 1, 0));
    TRY(listxattr("/proc/self/status", NULL, 0));
    TRY(getxattr("/proc/self/status", "user.x", NULL, 0));
}

// More names than one call gives.
static void too_many(void) {
    char name[256] = "trusted.";
    long set = 0;
    put_file("long", "");
    memset(name + 8, 'n', 240);
    for (int i = 0; i < 300; i++) {
        snprintf(name + 240, 12, "%03d", i);
        set += setxattr("long", name, "", 0, 0) == 0;
    }
    printf("%ld names\n", set);
    TRY(listxattr("long", NULL, 0));
    TRY(listxattr("long", big, 65535));
    TRY(listxattr("long", big, 65536));
    TRY(listxattr("long", big, 70000));
    TRY(listxattr("long", big, -1));
    for (int i = 0; i < 40; i++) {
        snprintf(name + 240, 12, "%03d", i);
        MUST(removexattr("long", name));
    }
    TRY(listxattr("long", big, 70000));
    TRY(listxattr("long", big, 100));
}

int main(void) {
    fresh_dir("/dev/shm");
    too_many();
    basics();
    names_and_sizes();
    kinds();
    capabilities();
    as_somebody();
    return 0;
}
