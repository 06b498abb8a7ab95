// What inotify tells of every kind of change, in which order.
#include "inotify.h"

#include <sys/xattr.h>
#include <utime.h>

static int fd;
static char bytes[100];

static void files(void) {
    int dir = (int)MUST(inotify_add_watch(fd, ".", IN_ALL_EVENTS));
    CHECK(dir == 1);
    put_file("file", "text");
    show_events(fd, "a file is made");
    int own = (int)MUST(inotify_add_watch(fd, "file", IN_ALL_EVENTS));
    CHECK(own == 2);
    int file = (int)MUST(open("file", O_RDWR));
    show_events(fd, "open");
    MUST(read(file, bytes, 2));
    show_events(fd, "read");
    MUST(read(file, bytes, 20));
    MUST(read(file, bytes, 20));
    show_events(fd, "two reads, of which one is at the end");
    MUST(write(file, "x", 1));
    MUST(pwrite(file, "y", 1, 0));
    show_events(fd, "two writes");
    MUST(write(file, "", 0));
    show_events(fd, "no bytes written");
    MUST(ftruncate(file, 100));
    show_events(fd, "ftruncate");
    MUST(truncate("file", 0));
    show_events(fd, "truncate");
    MUST(fallocate(file, 0, 0, 4096));
    show_events(fd, "fallocate");
    MUST(fchmod(file, 0600));
    MUST(chmod("file", 0640));
    show_events(fd, "chmod twice");
    MUST(chown("file", 1, 1));
    show_events(fd, "chown");
    MUST(chown("file", -1, -1));
    show_events(fd, "chown of nothing");
    MUST(utimensat(AT_FDCWD, "file", NULL, 0));
    show_events(fd, "touch");
    struct timespec times[2] = {{1, 2}, {0, UTIME_OMIT}};
    MUST(utimensat(AT_FDCWD, "file", times, 0));
    show_events(fd, "time of access");
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_nsec = 0;
    MUST(utimensat(AT_FDCWD, "file", times, 0));
    show_events(fd, "time of change");
    MUST(fsetxattr(file, "user.x", "y", 1, 0));
    MUST(fremovexattr(file, "user.x"));
    show_events(fd, "extended attribute");
    int other = (int)MUST(dup(file));
    MUST(close(file));
    show_events(fd, "closed once");
    MUST(close(other));
    show_events(fd, "closed");
    MUST(close((int)MUST(open("file", O_RDONLY))));
    show_events(fd, "opened for reading");
    MUST(close((int)MUST(open("file", O_WRONLY | O_TRUNC))));
    show_events(fd, "opened and cut");
    MUST(close((int)MUST(open("file", O_PATH))));
    struct stat status;
    MUST(stat("file", &status));
    MUST(access("file", R_OK));
    show_events(fd, "looked at");
    MUST(link("file", "second"));
    show_events(fd, "link");
    MUST(rename("second", "third"));
    show_events(fd, "rename");
    MUST(rename("file", "third"));
    show_events(fd, "rename to itself");
    put_file("other", "");
    MUST(rename("other", "third"));
    show_events(fd, "a link is replaced");
    MUST(syscall(SYS_renameat2, AT_FDCWD, "file", AT_FDCWD, "third", 2));
    show_events(fd, "exchange");
    MUST(unlink("file"));
    show_events(fd, "the other is removed");
    file = (int)MUST(open("third", O_RDONLY));
    MUST(unlink("third"));
    show_events(fd, "removed while open");
    MUST(read(file, bytes, 1));
    MUST(fchmod(file, 0600));
    MUST(close(file));
    show_events(fd, "closed at last");
    MUST(symlink("nowhere", "link"));
    MUST(mkfifo("fifo", 0600));
    MUST(mknod("device", S_IFCHR | 0600, 0x103));
    MUST(unlink("link"));
    MUST(unlink("fifo"));
    MUST(unlink("device"));
    show_events(fd, "other kinds");
}

static void folders(void) {
    MUST(mkdir("sub", 0755));
    MUST(mkdir("sub/inner", 0755));
    show_events(fd, "mkdir");
    int sub = (int)MUST(inotify_add_watch(fd, "sub", IN_ALL_EVENTS));
    int inner = (int)MUST(inotify_add_watch(fd, "sub/inner", IN_ALL_EVENTS));
    printf("%d %d\n", sub, inner);
    int folder = (int)MUST(open("sub", O_RDONLY | O_DIRECTORY));
    MUST(syscall(SYS_getdents64, folder, bytes, sizeof bytes));
    MUST(close(folder));
    show_events(fd, "listed");
    MUST(chmod("sub", 0700));
    show_events(fd, "chmod");
    put_file("sub/file", "");
    show_events(fd, "file below");
    MUST(rename("sub/file", "sub/inner/moved"));
    show_events(fd, "file moves");
    MUST(rename("sub/inner", "inner"));
    show_events(fd, "folder moves");
    MUST(unlink("inner/moved"));
    MUST(rmdir("inner"));
    show_events(fd, "folder is removed");
    MUST(mkdir("replacing", 0755));
    show_events(fd, "another");
    MUST(rename("replacing", "sub"));
    show_events(fd, "folder is replaced");
    put_file("sub/file", "");
    show_events(fd, "nobody watches it");
}

static void watches(void) {
    put_file("w", "text");
    show_events(fd, "w");
    int one = (int)MUST(inotify_add_watch(fd, "w", IN_OPEN));
    CHECK(one == inotify_add_watch(fd, "w", IN_CLOSE));
    MUST(close((int)MUST(open("w", O_RDONLY))));
    show_events(fd, "replaced mask");
    CHECK(one == inotify_add_watch(fd, "w", IN_OPEN | IN_MASK_ADD));
    MUST(close((int)MUST(open("w", O_RDONLY))));
    show_events(fd, "added mask");
    TRY(inotify_add_watch(fd, "w", IN_OPEN | IN_MASK_CREATE));
    MUST(link("w", "w2"));
    CHECK(one == inotify_add_watch(fd, "w2", IN_OPEN));
    TRY(inotify_rm_watch(fd, one));
    TRY(inotify_rm_watch(fd, one));
    show_events(fd, "removed watch");
    TRY(inotify_add_watch(fd, "w", IN_OPEN | IN_ONESHOT));
    MUST(close((int)MUST(open("w", O_RDONLY))));
    MUST(close((int)MUST(open("w", O_RDONLY))));
    show_events(fd, "once");
    TRY(inotify_rm_watch(fd, 1));
    MUST(mkdir("ex", 0755));
    put_file("ex/file", "text");
    TRY(inotify_add_watch(fd, "ex", IN_ALL_EVENTS | IN_EXCL_UNLINK));
    int file = (int)MUST(open("ex/file", O_RDWR));
    MUST(unlink("ex/file"));
    MUST(read(file, bytes, 1));
    MUST(write(file, "x", 1));
    MUST(fchmod(file, 0600));
    MUST(close(file));
    show_events(fd, "without unlinked");
    MUST(symlink("ex", "link"));
    TRY(inotify_add_watch(fd, "link", IN_ALL_EVENTS | IN_ONLYDIR));
    TRY(inotify_add_watch(fd, "link", IN_ALL_EVENTS | IN_ONLYDIR | IN_DONT_FOLLOW));
    TRY(inotify_add_watch(fd, "link", IN_ALL_EVENTS | IN_DONT_FOLLOW));
    TRY(inotify_add_watch(fd, "w", IN_ALL_EVENTS | IN_ONLYDIR));
    readlink("link", bytes, sizeof bytes);
    MUST(unlink("link"));
    show_events(fd, "a link");
}

static void errors(void) {
    TRY(inotify_init1(1));
    TRY(inotify_add_watch(fd, "w", 0));
    TRY(inotify_add_watch(fd, "w", 0x1000));
    TRY(inotify_add_watch(fd, "w", IN_MASK_ADD | IN_MASK_CREATE | IN_OPEN));
    TRY(inotify_add_watch(fd, "absent", IN_OPEN));
    TRY(inotify_add_watch(fd, "", IN_OPEN));
    TRY(inotify_add_watch(fd, (char *)8, IN_OPEN));
    TRY(inotify_add_watch(0, "w", IN_OPEN));
    TRY(inotify_add_watch(99, "w", IN_OPEN));
    TRY(inotify_rm_watch(0, 1));
    TRY(inotify_rm_watch(99, 1));
    TRY(inotify_rm_watch(fd, 999));
    TRY(inotify_add_watch(fd, "w", IN_ISDIR));
    MUST(close((int)MUST(open("w", O_RDONLY))));
    show_events(fd, "nothing asked for");
    int own = (int)MUST(inotify_init());
    int watch = (int)MUST(inotify_add_watch(own, ".", IN_CREATE));
    put_file("a name of twenty-two", "");
    put_file("b", "");
    TRY(read(own, bytes, 15));
    TRY(read(own, bytes, 16));
    TRY(read(own, bytes, 47));
    TRY(read(own, bytes, 48 + 31));
    TRY(read(own, (void *)8, 32));
    TRY(write(own, bytes, 1));
    TRY(lseek(own, 0, SEEK_SET));
    TRY(pread(own, bytes, sizeof bytes, 0));
    MUST(inotify_rm_watch(own, watch));
    TRY(read(own, bytes, sizeof bytes));
    MUST(close(own));
    MUST(setresuid(-1, 65534, -1));
    TRY(inotify_add_watch(fd, "secret", IN_OPEN));
    TRY(inotify_add_watch(fd, "w", IN_OPEN));
    MUST(setresuid(-1, 0, -1));
}

static void overflow(void) {
    int own = (int)MUST(inotify_init1(IN_NONBLOCK));
    MUST(inotify_add_watch(own, ".", IN_CREATE | IN_DELETE));
    for (int i = 0; i < 9000; i++) {
        MUST(mkdir("busy", 0755));
        MUST(rmdir("busy"));
    }
    static char buffer[1 << 20];
    long len, events = 0, overflows = 0;
    while ((len = read(own, buffer, sizeof buffer)) > 0)
        for (char *at = buffer; at < buffer + len;) {
            struct inotify_event *event = (void *)at;
            events++;
            if (event->mask & IN_Q_OVERFLOW)
                printf("overflow %d %x %u %u, event %ld\n", event->wd, event->mask, event->cookie, event->len, events), overflows++;
            at += sizeof *event + event->len;
        }
    printf("%ld events, %ld overflows\n", events, overflows);
    MUST(mkdir("busy", 0755));
    show_events(own, "after the overflow");
    MUST(close(own));
}

int main(void) {
    fresh_dir("/dev/shm");
    put_file("secret", "");
    MUST(chmod("secret", 0600));
    fd = (int)MUST(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    printf("%x %x\n", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL));
    char link[64] = "";
    snprintf(bytes, sizeof bytes, "/proc/self/fd/%d", fd);
    MUST(readlink(bytes, link, sizeof link));
    printf("%s\n", link);
    files();
    folders();
    watches();
    errors();
    overflow();
    return 0;
}
