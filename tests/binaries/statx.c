// statx says what stat says, and refuses what it does not know.
#include "observe.h"

struct timestamp {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t unused;
};

struct extended {
    uint32_t mask, block_size;
    uint64_t attributes;
    uint32_t links, uid, gid;
    uint16_t mode, unused;
    uint64_t inode, size, blocks, attributes_mask;
    struct timestamp access, birth, change, modify;
    uint32_t device_major, device_minor, on_major, on_minor;
    uint64_t more[14];
};
_Static_assert(sizeof(struct extended) == 256, "the kernel writes 256 bytes");

static struct extended x;

static long extended(int fd, const char *path, int flags, unsigned mask) {
    memset(&x, 0x55, sizeof x);
    return syscall(SYS_statx, fd, path, flags, mask, &x);
}

int main(void) {
    fresh_dir("/tmp");
    put_file("file", "0123456789");
    MUST(symlink("file", "link"));
    struct stat status;
    MUST(stat("file", &status));
    TRY(extended(AT_FDCWD, "file", 0, 0x7ff));
    CHECK((x.mask & 0x7ff) == 0x7ff);
    CHECK(x.mode == status.st_mode && x.uid == status.st_uid && x.gid == status.st_gid);
    CHECK(x.size == 10 && x.links == status.st_nlink && x.inode == status.st_ino);
    CHECK(x.block_size == status.st_blksize && x.blocks == (uint64_t)status.st_blocks);
    CHECK(x.modify.seconds == status.st_mtim.tv_sec && x.modify.nanoseconds == status.st_mtim.tv_nsec);
    CHECK(x.change.seconds == status.st_ctim.tv_sec && x.change.nanoseconds == status.st_ctim.tv_nsec);
    CHECK((uint64_t)(((x.on_major & 0xfff) << 8) | (x.on_minor & 0xff)) == status.st_dev);
    TRY(extended(AT_FDCWD, "link", 0, 0x7ff));
    CHECK(S_ISREG(x.mode));
    TRY(extended(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, 0x7ff));
    CHECK(S_ISLNK(x.mode) && x.size == 4);
    int fd = MUST(open("file", O_RDONLY));
    TRY(extended(fd, "", AT_EMPTY_PATH, 0x7ff));
    CHECK(x.inode == status.st_ino);
    TRY(extended(fd, "", AT_EMPTY_PATH, 0));
    TRY(extended(AT_FDCWD, "/dev/zero", 0, 0x7ff));
    printf("device %u:%u\n", x.device_major, x.device_minor);
    TRY(extended(AT_FDCWD, "file", 0x2000, 0x7ff));
    TRY(extended(AT_FDCWD, "file", 0x4000, 0x7ff));
    TRY(extended(AT_FDCWD, "file", 0x6000, 0x7ff));
    TRY(extended(AT_FDCWD, "file", 0x10, 0x7ff));
    TRY(extended(AT_FDCWD, "file", 0, 0x80000000));
    TRY(extended(AT_FDCWD, "absent", 0, 0x7ff));
    TRY(extended(AT_FDCWD, "", 0, 0x7ff));
    TRY(extended(99, "file", 0, 0x7ff));
    TRY(syscall(SYS_statx, AT_FDCWD, "file", 0, 0x7ff, 16));
    return 0;
}
