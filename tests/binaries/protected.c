// fs.protected_*: links and files of others in folders that everybody may write to.
#include "observe.h"

static const char *const names[] = {"hardlinks", "symlinks", "fifos", "regular"};
static int settings[4];
static char old[4][16];

static void become(int user);

static void set(int which, const char *value) {
    become(0);
    printf("%s = %s: ", names[which], value);
    long count = pwrite(settings[which], value, strlen(value), 0);
    printf("%s\n", count < 0 ? error_name(errno) : "set");
}

static void restore(void) {
    for (int i = 0; i < 4; i++)
        pwrite(settings[i], old[i], strlen(old[i]), 0);
}

static void become(int user) {
    MUST(syscall(SYS_setresuid, -1, 0, -1));
    MUST(syscall(SYS_setresgid, -1, user, -1));
    MUST(syscall(SYS_setresuid, -1, user, -1));
}

static void give(const char *path, int user, int mode) {
    MUST(lchown(path, user, user));
    if (mode >= 0)
        MUST(chmod(path, mode));
}

// Opens and closes; says whether that went.
static void try_open(const char *path, int flags) {
    int fd = open(path, flags | O_NONBLOCK, 0600);
    printf("  %s: %s\n", path, fd < 0 ? error_name(errno) : "open");
    if (fd >= 0)
        close(fd);
}

static void links(void) {
    static const char *const paths[] = {"mine", "readable", "writable", "setuid", "setgid", "folder", "fifo"};
    become(0);
    mkdir("hard", 0777);
    chmod("hard", 0777);
    for (size_t i = 0; i < ARRAY_LEN(paths) - 2; i++)
        put_file(paths[i], "");
    mkdir("folder", 0777);
    mkfifo("fifo", 0666);
    give("mine", 1000, 0600);
    give("readable", 2000, 0644);
    give("writable", 2000, 0666);
    give("setuid", 2000, 04666);
    give("setgid", 2000, 02676);
    give("fifo", 2000, 0666);
    become(1000);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char to[64];
        snprintf(to, sizeof to, "hard/%s", paths[i]);
        long result = link(paths[i], to);
        printf("  link %s: %s\n", paths[i], result ? error_name(errno) : "made");
        unlink(to);
    }
    put_file("hard/there", "");
    printf("  link on another: %s\n", link("readable", "hard/there") ? error_name(errno) : "made");
    become(0);
    printf("  by root: %s\n", link("readable", "hard/root") ? error_name(errno) : "made");
    unlink("hard/root");
    unlink("hard/there");
}

static void follow(const char *folder) {
    char path[64], nested[80];
    struct stat status;
    for (int user = 1000; user <= 3000; user += 1000) {
        snprintf(path, sizeof path, "%s/of-%d", folder, user);
        become(user);
        printf("  own %s: %s\n", path, stat(path, &status) ? error_name(errno) : "followed");
        become(1000);
        printf("  by 1000 %s: %s\n", path, stat(path, &status) ? error_name(errno) : "followed");
        become(0);
        printf("  by root %s: %s\n", path, stat(path, &status) ? error_name(errno) : "followed");
        snprintf(nested, sizeof nested, "%s/inside", path);
        become(1000);
        printf("  through %s: %s\n", path, stat(nested, &status) ? error_name(errno) : "followed");
        snprintf(nested, sizeof nested, "%s/", path);
        printf("  with a slash %s: %s\n", path, stat(nested, &status) ? error_name(errno) : "followed");
        printf("  lstat %s: %s\n", path, lstat(path, &status) ? error_name(errno) : "seen");
        become(0);
    }
}

int main(void) {
    char path[128];
    fresh_dir("/tmp");
    MUST(chmod(".", 0777));
    umask(0);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "/proc/sys/fs/protected_%s", names[i]);
        settings[i] = (int)MUST(open(path, O_RDWR));
        MUST(read(settings[i], old[i], sizeof old[i] - 1));
        printf("%s: %s", names[i], old[i]);
    }
    atexit(restore);
    set(0, "2");
    set(1, "2");
    set(2, "3");
    set(3, "-1");
    for (int on = 0; on < 2; on++) {
        set(0, on ? "1" : "0");
        links();
    }
    // Links.
    mkdir("target", 0777);
    put_file("target/inside", "");
    static const char *const folders[] = {"plain", "sticky", "sticky-own", "sticky-group"};
    static const int modes[] = {0777, 01777, 01777, 01775};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        mkdir(folders[i], 0777);
        for (int user = 1000; user <= 3000; user += 1000) {
            snprintf(path, sizeof path, "%s/of-%d", folders[i], user);
            MUST(symlink("../target", path));
            give(path, user, -1);
            snprintf(path, sizeof path, "%s/file-%d", folders[i], user);
            put_file(path, "");
            give(path, user, 0666);
            snprintf(path, sizeof path, "%s/fifo-%d", folders[i], user);
            mkfifo(path, 0666);
            give(path, user, 0666);
        }
        MUST(chown(folders[i], i == 2 ? 3000 : 0, 1000));
        MUST(chmod(folders[i], modes[i]));
    }
    for (int on = 0; on < 2; on++) {
        set(1, on ? "1" : "0");
        for (size_t i = 0; i < ARRAY_LEN(folders); i++)
            follow(folders[i]);
    }
    set(1, "0");
    for (int level = 0; level < 3; level++) {
        char value[2] = {(char)('0' + level), 0};
        set(2, value);
        set(3, value);
        for (size_t i = 0; i < ARRAY_LEN(folders); i++)
            for (int user = 1000; user <= 3000; user += 1000)
                for (int by = 0; by <= 1000; by += 1000) {
                    become(by);
                    printf(" by %d\n", by);
                    snprintf(path, sizeof path, "%s/file-%d", folders[i], user);
                    try_open(path, O_RDWR | O_CREAT);
                    try_open(path, O_RDWR);
                    snprintf(path, sizeof path, "%s/fifo-%d", folders[i], user);
                    try_open(path, O_RDWR | O_CREAT);
                }
    }
    become(0);
    return 0;
}
