//@ run: which
//@ run: protect
//@ run: rights
//@ run: inherit
// The flags of chattr on a tmpfs: which there are, who sets them, what they do and who inherits them.
#include "mounts.h"
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/xattr.h>

#define GET 0x80086601
#define SET 0x40086602
#define APPEND 0x20
#define IMMUTABLE 0x10
#define NODUMP 0x40
#define NOATIME 0x80

static void show(const char *path) {
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    unsigned flags = 0;
    long result = ioctl(fd, GET, &flags);
    printf("  %s: %s %x", path, result < 0 ? error_name(errno) : "has", flags);
    struct {
        uint32_t mask, block_size;
        uint64_t attributes;
        char others[40], mask_of_attributes[8], rest[192];
    } status;
    memset(&status, 0, sizeof status);
    syscall(SYS_statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0x7ff, &status);
    uint64_t told;
    memcpy(&told, (char *)&status + 0x38, 8);
    printf(", told %llx of %llx\n", (unsigned long long)status.attributes & 0xfff, (unsigned long long)told & 0xfff);
    close(fd);
}

static long set(const char *path, unsigned flags) {
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    long result = ioctl(fd, SET, &flags);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

static long make(const char *path) {
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0644);
    if (fd >= 0)
        close(fd);
    return fd;
}

static long open_close(const char *path, int flags) {
    int fd = open(path, flags);
    if (fd >= 0)
        close(fd);
    return fd;
}

static long accessed(const char *path) {
    char byte;
    struct stat status;
    struct timespec old[2] = {{1000, 0}, {500, 0}};
    utimensat(AT_FDCWD, path, old, 0);
    int fd = open(path, O_RDONLY);
    read(fd, &byte, 1);
    close(fd);
    stat(path, &status);
    return status.st_atime != 1000;
}

static void which(void) {
    TRY(make("file"));
    TRY(mkdir("folder", 0755));
    TRY(mkfifo("fifo", 0644));
    TRY(symlink("file", "link"));
    show("file"), show("folder"), show("fifo"), show("link");
    for (int bit = 0; bit < 32; bit++) {
        long result = set("file", 1u << bit);
        printf("%x: %s\n", 1u << bit, result < 0 ? error_name(errno) : "set");
        if (result >= 0)
            show("file");
    }
    TRY(set("file", 0));
    TRY(set("fifo", 0));
    TRY(set("folder", APPEND | IMMUTABLE | NODUMP | NOATIME));
    show("folder");
    TRY(set("folder", 0));
    int fd = open("file", O_RDONLY);
    TRY(ioctl(fd, GET, (void *)8));
    TRY(ioctl(fd, SET, (void *)8));
    close(fd);
    fd = open("file", O_PATH);
    TRY(ioctl(fd, GET, &fd));
    close(fd);
    fd = memfd_create("x", 0);
    unsigned flags = NODUMP;
    TRY(ioctl(fd, SET, &flags));
    flags = 0;
    TRY(ioctl(fd, GET, &flags));
    printf("%x\n", flags);
    close(fd);
}

static void protect(void) {
    char bytes[4] = "abc";
    TRY(make("file"));
    TRY(mkdir("folder", 0755));
    TRY(make("folder/inside"));
    int fd = open("file", O_RDWR);
    write(fd, bytes, 3);
    TRY(set("file", IMMUTABLE));
    TRY(open_close("file", O_WRONLY));
    TRY(open_close("file", O_WRONLY | O_APPEND));
    TRY(write(fd, bytes, 3));
    TRY(ftruncate(fd, 1));
    TRY(fallocate(fd, 0, 0, 100));
    TRY(fchmod(fd, 0600));
    TRY(fchown(fd, 1, 1));
    TRY(futimens(fd, NULL));
    TRY(truncate("file", 0));
    TRY(unlink("file"));
    TRY(rename("file", "other"));
    TRY(link("file", "other"));
    TRY(setxattr("file", "user.x", "1", 1, 0));
    TRY(set("file", APPEND));
    TRY(open_close("file", O_WRONLY));
    TRY(open_close("file", O_WRONLY | O_APPEND | O_TRUNC));
    TRY(open_close("file", O_WRONLY | O_APPEND));
    TRY(ftruncate(fd, 1));
    TRY(fallocate(fd, 0, 0, 200));
    TRY(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 100));
    TRY(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    TRY(unlink("file"));
    close(fd);
    TRY(set("folder", APPEND));
    TRY(make("folder/new"));
    TRY(unlink("folder/inside"));
    TRY(rename("folder/inside", "folder/moved"));
    TRY(set("folder", IMMUTABLE));
    TRY(make("folder/newer"));
    TRY(unlink("folder/inside"));
    TRY(rmdir("folder"));
    int inside = open("folder/inside", O_RDWR);
    TRY(write(inside, bytes, 3));
    close(inside);
    TRY(set("folder", 0));
    TRY(set("file", 0));
    TRY(unlink("folder/inside"));
    TRY(unlink("file"));
}

static void rights(void) {
    TRY(make("file"));
    TRY(make("own"));
    TRY(chown("own", 1000, 1000));
    TRY(set("own", APPEND));
    TRY(syscall(SYS_setresuid, 1000, 1000, 1000));
    TRY(set("file", NODUMP));
    TRY(set("file", 0));
    TRY(set("own", 0));
    TRY(set("own", APPEND | NODUMP));
    show("own");
    TRY(set("own", APPEND | 1));
}

static void inherit(void) {
    TRY(mkdir("folder", 0755));
    TRY(set("folder", NODUMP | NOATIME | APPEND));
    TRY(make("folder/file"));
    TRY(mkdir("folder/folder", 0755));
    TRY(mkfifo("folder/fifo", 0644));
    show("folder/file"), show("folder/folder"), show("folder/fifo");
    TRY(make("folder/folder/file"));
    show("folder/folder/file");
    TRY(make("file"));
    printf("an access: %ld %ld\n", accessed("file"), accessed("folder/file"));
    TRY(set("folder/file", 0));
    printf("an access: %ld\n", accessed("folder/file"));
    int fd = open("folder", O_TMPFILE | O_RDWR, 0644);
    unsigned flags = 0;
    TRY(ioctl(fd, GET, &flags));
    printf("%x\n", flags);
    close(fd);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    own_mounts();
    umask(0);
    TRY(mkdir("m", 0777));
    TRY(mount("x", "m", "tmpfs", 0, "mode=777"));
    if (argc < 2 || chdir("m"))
        return 1;
    if (strcmp(argv[1], "which") == 0)
        which();
    if (strcmp(argv[1], "protect") == 0)
        protect();
    if (strcmp(argv[1], "rights") == 0)
        rights();
    if (strcmp(argv[1], "inherit") == 0)
        inherit();
    return 0;
}
