// Access control lists on a tmpfs: values that are taken, modes that go with them, who may do what, and what is handed
// on.
#include "observe.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

struct entry {
    uint16_t tag, permissions;
    uint32_t id;
};

struct list {
    uint32_t version;
    struct entry entries[8];
};

enum { OWNER = 1, USER = 2, OWNING_GROUP = 4, GROUP = 8, MASK = 16, OTHERS = 32 };

static struct list list;

// Reads "u::7,u:5:6,g::5,g:7:4,m::7,o::5"; the answer is its length.
static size_t make(const char *text) {
    size_t count = 0;
    list.version = 2;
    for (const char *at = text; *at;) {
        struct entry *entry = &list.entries[count++];
        char kind = at[0];
        char *end;
        int is_named = at[2] != ':';
        entry->id = is_named ? (uint32_t)strtoul(at + 2, &end, 10) : UINT32_MAX;
        if (!is_named)
            end = (char *)at + 2;
        entry->tag = (uint16_t)(kind == 'u' ? (is_named ? USER : OWNER)
                                : kind == 'g' ? (is_named ? GROUP : OWNING_GROUP)
                                : kind == 'm' ? MASK
                                              : OTHERS);
        entry->permissions = (uint16_t)strtoul(end + 1, &end, 8);
        at = *end == ',' ? end + 1 : end;
    }
    return 4 + 8 * count;
}

static void show(const char *path, const char *name) {
    struct list seen;
    long len = lgetxattr(path, name, &seen, sizeof seen);
    printf("  %s:", name + 17);
    if (len < 0) {
        printf(" %s\n", error_name(errno));
        return;
    }
    for (long i = 0; i < (len - 4) / 8; i++) {
        struct entry *entry = &seen.entries[i];
        printf(" %u:%d:%o", entry->tag, (int)entry->id, entry->permissions);
    }
    printf("\n");
}

static void show_all(const char *path) {
    struct stat attributes;
    MUST(lstat(path, &attributes));
    printf("%s %o\n", path, attributes.st_mode);
    show(path, ACCESS);
    show(path, DEFAULT);
}

static void set(const char *path, const char *name, const char *text) {
    size_t len = make(text);
    printf("%s of %s to %s: %s\n", name + 17, path, text, lsetxattr(path, name, &list, len, 0) ? error_name(errno) : "ok");
}

static void show_list(const char *path) {
    char names[400];
    long len = llistxattr(path, names, sizeof names);
    print_bytes(path, names, len < 0 ? 0 : (size_t)len);
}

static void values(void) {
    put_file("file", "text");
    MUST(chmod("file", 0640));
    show_all("file");
    const char *texts[] = {
        "u::6,g::4,o::0", "u::7,g::5,o::4", "u::6,u:5:7,g::4,m::6,o::1", "u::6,u:7:7,u:5:1,u:5:2,g::4,g:9:1,g:8:2,m::7,o::0",
        "u::6,g::4,m::7,o::0", "u::6,u:5:7,g::4,o::0", "u::6,g::4", "g::4,u::6,o::0", "u::6,g::4,o::10", "u::6,g::4,o::0,m::7",
        "u::6,g:8:7,g::4,m::7,o::0", "u::6,g::4,u:5:7,m::7,o::0", "u::6,u::6,g::4,o::0", "u::6,u:4294967295:7,g::4,m::7,o::0",
        "u::6,g::4,g:4294967295:7,m::7,o::0", "", "u::6,g::4,m::4,o::0,o::0",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        set("file", ACCESS, texts[i]);
        show_all("file");
    }
    size_t len = make("u::6,g::4,o::0");
    for (size_t part = 0; part <= len; part += part < 4 ? 1 : 3)
        printf("%zu bytes: %s\n", part, setxattr("file", ACCESS, &list, part, 0) ? error_name(errno) : "ok");
    list.version = 1;
    TRY(setxattr("file", ACCESS, &list, len, 0));
    make("u::6,g::4,o::0");
    list.entries[1].tag = 3;
    TRY(setxattr("file", ACCESS, &list, len, 0));
    make("u::6,g::4,o::0");
    list.entries[0].id = 77;
    TRY(setxattr("file", ACCESS, &list, len, 0));
    // Whether there is one does not count.
    len = make("u::6,u:5:7,g::4,m::6,o::1");
    TRY(setxattr("file", ACCESS, &list, len, XATTR_REPLACE));
    TRY(setxattr("file", ACCESS, &list, len, XATTR_CREATE));
    TRY(getxattr("file", ACCESS, NULL, 0));
    TRY(getxattr("file", ACCESS, &list, 43));
    MUST(setxattr("file", "user.x", "1", 1, 0));
    show_list("file");
    TRY(removexattr("file", ACCESS));
    TRY(removexattr("file", ACCESS));
    show_all("file");
    TRY(removexattr("file", DEFAULT));
    set("file", DEFAULT, "u::7,g::5,o::5");
    set("file", DEFAULT, "");
    TRY(setxattr("file", "system.posix_acl", &list, len, 0));
    TRY(setxattr("file", ACCESS "x", &list, len, 0));
    TRY(getxattr("file", ACCESS "x", &list, len));
}

static void kinds(void) {
    MUST(symlink("file", "link"));
    MUST(mkfifo("fifo", 0600));
    MUST(mkdir("directory", 0755));
    const char *paths[] = {"link", "fifo", "directory", "/proc/self/status", "/proc/self"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        set(paths[i], ACCESS, "u::6,u:5:7,g::4,m::6,o::1");
        set(paths[i], DEFAULT, "u::6,u:5:7,g::4,m::6,o::1");
        if (i < 3)
            show_all(paths[i]);
        else
            show(paths[i], ACCESS);
        printf("%s\n", lremovexattr(paths[i], ACCESS) ? error_name(errno) : "ok");
    }
    show_list("directory");
    set("directory", ACCESS, "u::7,u:5:7,g::5,m::7,o::5");
    show_list("directory");
    set("directory", DEFAULT, "");
    show_list("directory");
}

static void modes(void) {
    put_file("file", "text");
    set("file", ACCESS, "u::6,u:5:7,g::4,m::6,o::1");
    const int bits[] = {0777, 0700, 06070, 0640, 0};
    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        TRY(chmod("file", (mode_t)bits[i]));
        show_all("file");
    }
    // Set-id bits stay, and so does what the mode says.
    TRY(chmod("file", 06755));
    set("file", ACCESS, "u::6,g::4,o::1");
    show_all("file");
    TRY(chown("file", 8, 9));
    show_all("file");
    struct stat before, after;
    MUST(stat("file", &before));
    usleep(20000);
    set("file", ACCESS, "u::6,u:5:7,g::4,m::6,o::1");
    MUST(stat("file", &after));
    CHECK(memcmp(&before.st_ctim, &after.st_ctim, sizeof before.st_ctim) != 0);
    CHECK(memcmp(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim) == 0);
}

static long may(const char *path, int rights) {
    return syscall(SYS_faccessat2, AT_FDCWD, path, rights, AT_EACCESS);
}

static void show_rights(void) {
    for (int rights = 1; rights < 8; rights++)
        printf(" %s", may("guarded", rights) ? error_name(errno) : "ok");
    printf("\n");
}

// What a user may do, without capabilities.
static void try_as(unsigned uid, unsigned gid, unsigned group) {
    MUST(syscall(SYS_setgroups, 1, &group));
    MUST(syscall(SYS_setresgid, -1, gid, -1));
    MUST(syscall(SYS_setresuid, -1, uid, -1));
    printf("%u %u %u:", uid, gid, group);
    show_rights();
    int fd = open("guarded", O_RDWR);
    printf("  open %s", fd < 0 ? error_name(errno) : "ok");
    close(fd);
    printf(" search %s", may("searched/inside", F_OK) ? error_name(errno) : "ok");
    fd = open("searched/new", O_RDWR | O_CREAT | O_EXCL, 0600);
    printf(" create %s", fd < 0 ? error_name(errno) : "ok");
    if (fd >= 0)
        MUST(unlink("searched/new"));
    close(fd);
    size_t len = make("u::7,g::7,o::7");
    printf(" change %s\n", setxattr("guarded", ACCESS, &list, len, 0) ? error_name(errno) : "ok");
    MUST(syscall(SYS_setresuid, -1, 0, -1));
    MUST(syscall(SYS_setresgid, -1, 0, -1));
}

static void users(void) {
    put_file("guarded", "text");
    MUST(mkdir("searched", 0777));
    put_file("searched/inside", "text");
    MUST(chown("guarded", 100, 200));
    MUST(chown("searched", 100, 200));
    const char *lists[] = {
        "u::6,u:101:7,u:102:2,g::4,g:201:2,g:202:1,m::7,o::0", "u::6,u:101:7,u:102:2,g::4,g:201:2,g:202:1,m::4,o::7",
        "u::6,u:101:0,g::7,m::7,o::7", "u::0,u:100:7,g::0,g:200:7,m::0,o::7", "u::7,g::5,o::1",
    };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        set("guarded", ACCESS, lists[i]);
        set("searched", ACCESS, lists[i]);
        // What the owner changes is undone by what is set next.
        const unsigned who[][3] = {{101, 9, 200}, {102, 9, 9}, {103, 200, 201}, {104, 201, 202}, {105, 201, 202}, {106, 9, 9}};
        for (size_t j = 0; j < ARRAY_LEN(who); j++)
            try_as(who[j][0], who[j][1], who[j][2]);
        printf("root:");
        show_rights();
        try_as(100, 9, 9);
    }
}

static void make_one_of_each(const char *directory, mode_t mode) {
    char path[100];
    const char *names[] = {"file", "directory", "fifo", "link", "unnamed", "socket"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        int fd = -1;
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strcpy(address.sun_path, path);
        switch (i) {
        case 0: fd = (int)MUST(open(path, O_RDWR | O_CREAT | O_EXCL, mode)); break;
        case 1: MUST(mkdir(path, mode)); break;
        case 2: MUST(mknod(path, S_IFIFO | mode, 0)); break;
        case 3: MUST(symlink("file", path)); break;
        case 4: {
            char self[40];
            fd = (int)MUST(open(directory, O_RDWR | O_TMPFILE, mode));
            snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
            MUST(linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW));
            break;
        }
        default:
            fd = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
            MUST(bind(fd, (struct sockaddr *)&address, sizeof address));
        }
        if (fd >= 0)
            close(fd);
        show_all(path);
        if (i == 1) {
            strcat(path, "/below");
            MUST(mkdir(path, mode));
            show_all(path);
            MUST(rmdir(path));
            *strrchr(path, '/') = 0;
            MUST(rmdir(path));
        } else {
            MUST(unlink(path));
        }
    }
}

static void handed_on(void) {
    umask(027);
    MUST(mkdir("parent", 0755));
    const char *lists[] = {"u::7,u:5:7,g::5,m::7,o::5", "u::7,g::5,o::5", "u::5,g::2,g:3:7,m::3,o::1", ""};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        set("parent", DEFAULT, lists[i]);
        make_one_of_each("parent", 0777);
        make_one_of_each("parent", 0600);
    }
    set("parent", DEFAULT, lists[0]);
    MUST(chown("parent", 0, 7));
    MUST(chmod("parent", 02775));
    make_one_of_each("parent", 02770);
    umask(022);
}

int main(void) {
    fresh_dir("/dev/shm");
    MUST(chmod(".", 0755));
    values();
    kinds();
    modes();
    users();
    handed_on();
    return 0;
}
