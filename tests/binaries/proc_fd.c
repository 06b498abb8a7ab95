// /proc/self/fd: links that name what a descriptor is open on, and open it again.
#include "observe.h"

static void show(const char *what, int fd, size_t skip) {
    char path[64], target[PATH_MAX];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(path, target, sizeof target - 1);
    target[len < 0 ? 0 : len] = 0;
    // Names like pipe:[123] carry a number that differs.
    char *bracket = strchr(target, '[');
    if (bracket)
        strcpy(bracket, "[number]");
    printf("%s: %s\n", what, target + skip);
}

int main(void) {
    size_t skip = strlen(fresh_dir("/tmp"));
    char path[64], buffer[16];
    struct stat one, two;
    put_file("file", "0123456789");
    MUST(mkdir("folder", 0755));
    int fd = MUST(open("file", O_RDONLY)), folder = MUST(open("folder", O_RDONLY)), p[2];
    MUST(pipe(p));
    show("file", fd, skip);
    show("folder", folder, skip);
    show("pipe", p[0], 0);
    show("device", MUST(open("/dev/null", O_RDONLY)), 0);
    show("proc", MUST(open("/proc/version", O_RDONLY)), 0);
    MUST(rename("file", "renamed"));
    show("renamed", fd, skip);
    MUST(rename("folder", "moved"));
    show("moved folder", folder, skip);
    MUST(link("renamed", "second"));
    MUST(unlink("renamed"));
    show("unlinked", fd, skip);
    MUST(unlink("second"));
    show("unlinked for good", fd, skip);
    
    // Opening the link opens the file anew, even without a name.
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    MUST(lseek(fd, 5, SEEK_SET));
    int again = TRY(open(path, O_RDWR));
    TRY(read(again, buffer, 3));
    print_bytes("again", buffer, 3);
    MUST(stat(path, &one));
    MUST(fstat(fd, &two));
    CHECK(one.st_ino == two.st_ino);
    MUST(lstat(path, &one));
    printf("the link itself: %o\n", one.st_mode);
    snprintf(path, sizeof path, "/proc/self/fd/%d/..", folder);
    MUST(stat(path, &one));
    MUST(stat(".", &two));
    CHECK(one.st_ino == two.st_ino);
    snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
    int reader = TRY(open(path, O_RDONLY | O_NONBLOCK));
    MUST(write(p[1], "pipe", 4));
    TRY(read(reader, buffer, 4));
    TRY(open("/proc/self/fd/99", O_RDONLY));
    TRY(open("/proc/self/fd/x", O_RDONLY));
    TRY(open("/proc/self/fd/0x1", O_RDONLY));
    TRY(open("/proc/self/fd/01", O_RDONLY));
    TRY(open("/proc/self/fd/-1", O_RDONLY));
    TRY(unlink("/proc/self/fd/0"));
    return 0;
}
