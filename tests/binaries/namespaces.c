// /proc/PID/ns: links that lead to the namespaces a process is in, what is said of those, and entering the same ones again.
#include "mounts.h"
#include <sys/ioctl.h>

#define NS_GET_USERNS 0xb701
#define NS_GET_PARENT 0xb702
#define NS_GET_NSTYPE 0xb703
#define NS_GET_OWNER_UID 0xb704
#define NS_GET_MNTNS_ID 0x8008b705u
#define NS_MNT_GET_INFO 0x8010b70au

static const char *const names[] = {"cgroup", "ipc",  "mnt",  "net",  "pid", "pid_for_children",
                                    "time",   "time_for_children", "user", "uts"};

// What is told of the mounts of a namespace.
static void tell_mounts(int fd) {
    struct {
        unsigned size, mounts;
        unsigned long id, more;
    } info = {0}, after = {0};
    unsigned long id = 0;
    TRY(ioctl(fd, NS_MNT_GET_INFO, &info));
    MUST(ioctl(fd, NS_GET_MNTNS_ID, &id));
    CHECK(info.size == 16 && info.id == id && info.mounts > 0);
    MUST(mount("none", "/tmp", "tmpfs", 0, NULL));
    TRY(ioctl(fd, NS_MNT_GET_INFO + (8 << 16), &after));
    CHECK(after.mounts == info.mounts + 1 && after.more == 0);
    MUST(umount("/tmp"));
    TRY(ioctl(fd, NS_MNT_GET_INFO, &after));
    CHECK(after.mounts == info.mounts);
    TRY(ioctl(fd, NS_MNT_GET_INFO, NULL));
    TRY(ioctl(fd, NS_MNT_GET_INFO, 8));
    TRY(ioctl(fd, NS_MNT_GET_INFO - (8 << 16), &info));
    TRY(ioctl(fd, NS_MNT_GET_INFO & 0xffff, &info));
    TRY(ioctl(fd, NS_GET_NSTYPE + (8 << 16), &info));
    int other = MUST(open("/proc/self/ns/uts", O_RDONLY));
    for (int command = 0; command < 3; command++)
        TRY(ioctl(other, NS_MNT_GET_INFO + command, &info));
    close(other);
}

int main(void) {
    own_mounts();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[64], text[64], other[64];
        struct stat at_path, at_fd;
        snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
        printf("-- %s\n", names[i]);
        ssize_t len = MUST(readlink(path, text, sizeof text - 1));
        text[len] = 0;
        int fd = MUST(open(path, O_RDONLY | O_CLOEXEC));
        MUST(stat(path, &at_path));
        MUST(fstat(fd, &at_fd));
        CHECK(at_path.st_ino == at_fd.st_ino && at_path.st_dev == at_fd.st_dev);
        printf("mode %o links %lu size %ld\n", at_fd.st_mode, (unsigned long)at_fd.st_nlink, (long)at_fd.st_size);
        CHECK(strtoul(strchr(text, '[') + 1, NULL, 10) == at_fd.st_ino);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        len = MUST(readlink(path, other, sizeof other - 1));
        other[len] = 0;
        CHECK(strcmp(text, other) == 0);
        char byte;
        TRY(read(fd, &byte, 1));
        TRY(write(fd, &byte, 1));
        printf("kind %x\n", ioctl(fd, NS_GET_NSTYPE));
        TRY(ioctl(fd, NS_GET_PARENT));
        TRY(ioctl(fd, 0xb7ff));
        uid_t owner = 1;
        if (TRY(ioctl(fd, NS_GET_OWNER_UID, &owner)) == 0)
            CHECK(owner == 0);
        int users = ioctl(fd, NS_GET_USERNS);
        if (users >= 0) {
            printf("owner's kind %x\n", ioctl(users, NS_GET_NSTYPE));
            CHECK(fcntl(users, F_GETFD) == FD_CLOEXEC);
            close(users);
        } else {
            printf("owner: %s\n", error_name(errno));
        }
        TRY(setns(fd, 0));
        TRY(setns(fd, CLONE_NEWUTS));
        TRY(setns(fd, CLONE_NEWNS));
        TRY(setns(fd, CLONE_VM));
        close(fd);
    }
    char place[PATH_MAX];
    MUST(chdir("/proc"));
    int mounts = MUST(open("/proc/self/ns/mnt", O_RDONLY));
    tell_mounts(mounts);
    TRY(setns(mounts, CLONE_NEWNS));
    printf("%s\n", getcwd(place, sizeof place));
    TRY(setns(-1, 0));
    TRY(setns(MUST(open("/dev/null", O_RDONLY)), 0));
    TRY(chdir("/proc/self/ns/uts"));
    TRY(open("/proc/self/ns/none", O_RDONLY));
    TRY(open("/proc/self/ns/uts", O_RDONLY | O_DIRECTORY));
    TRY(open("/proc/self/ns/uts", O_RDONLY | O_NOFOLLOW));
    int host = MUST(open("/proc/self/ns/uts", O_RDONLY)), users = MUST(open("/proc/self/ns/user", O_RDONLY));
    MUST(setresuid(1000, 1000, 1000));
    TRY(setns(host, 0));
    TRY(setns(mounts, 0));
    TRY(setns(users, 0));
    return 0;
}
