// statx: what is asked for and what is answered; attributes; how to synchronise.
#include "observe.h"

struct moment {
    int64_t seconds;
    uint32_t nanoseconds, spare;
};
struct extended {
    uint32_t mask, block_size;
    uint64_t attributes;
    uint32_t links, uid, gid;
    uint16_t mode, spare;
    uint64_t inode, size, blocks, attributes_mask;
    struct moment access, birth, change, modify;
    uint32_t device_major, device_minor, on_major, on_minor;
    uint64_t mount_id;
    uint32_t direct_memory_align, direct_offset_align;
    uint64_t subvolume;
    uint32_t atomic_min, atomic_max, atomic_segments, direct_read_align, atomic_max_opt, spare2;
    uint64_t rest[8];
};

static struct extended status;

static void ask(const char *path, int flags, unsigned mask) {
    memset(&status, 0xee, sizeof status);
    long result = syscall(SYS_statx, AT_FDCWD, path, flags, mask, &status);
    if (result != 0) {
        printf("%s %x %x: %s\n", path, flags, mask, error_name(errno));
        return;
    }
    printf("%s %x %x: mask %x attributes %llx of %llx mode %o links %u size %lld\n", path, flags, mask,
           // More than was asked for is a file system's choice, but for the number of the mount.
           status.mask & (mask | 0x1000),
           (unsigned long long)status.attributes, (unsigned long long)(status.attributes_mask & 0x203000), status.mode, status.links,
           (long long)status.size);
}

int main(void) {
    fresh_dir("/dev/shm");
    put_file("file", "text");
    MUST(chmod("file", 0640));
    MUST(symlink("file", "link"));
    MUST(mkfifo("fifo", 0600));
    for (int bit = 0; bit < 32; bit++)
        ask("file", 0, 1u << bit);
    static const unsigned masks[] = {0, 0x7ff, 0xfff, 0x1fff, 0x5fff, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < ARRAY_LEN(masks); i++)
        ask("file", 0, masks[i]);
    static const int flags[] = {0x100, 0x800, 0x1000, 0x2000, 0x4000, 0x6000, 0x2100, 0x200, 0x400, 0x8000, 0x10000};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        ask("file", flags[i], 0x7ff);
        ask("link", flags[i], 0x7ff);
    }
    ask(".", 0, 0xfff);
    ask("fifo", 0, 0xfff);
    ask("absent", 0, 0xfff);
    ask("", 0, 0xfff);
    ask("", AT_EMPTY_PATH, 0xfff);
    ask("/dev/null", 0, 0xfff);
    printf("device %u:%u\n", status.device_major, status.device_minor);
    ask("/proc/self/status", 0, 0x7ff);
    int fd = (int)MUST(open("file", O_RDONLY));
    TRY(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0x7ff, &status));
    TRY(syscall(SYS_statx, fd, NULL, AT_EMPTY_PATH, 0x7ff, &status));
    TRY(syscall(SYS_statx, fd, NULL, 0, 0x7ff, &status));
    TRY(syscall(SYS_statx, AT_FDCWD, NULL, AT_EMPTY_PATH, 0x7ff, &status));
    TRY(syscall(SYS_statx, 99, "", AT_EMPTY_PATH, 0x7ff, &status));
    TRY(syscall(SYS_statx, 99, NULL, AT_EMPTY_PATH, 0x7ff, &status));
    TRY(syscall(SYS_statx, fd, "x", 0, 0x7ff, &status));
    TRY(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0x7ff, 16));
    TRY(syscall(SYS_newfstatat, fd, NULL, &status, AT_EMPTY_PATH));
    TRY(syscall(SYS_newfstatat, fd, NULL, &status, 0));
    TRY(syscall(SYS_newfstatat, AT_FDCWD, NULL, &status, AT_EMPTY_PATH));
    TRY(syscall(SYS_newfstatat, fd, "", 16, AT_EMPTY_PATH));
    // What is not answered is zero, and the file's own numbers agree with stat.
    struct stat old;
    MUST(fstat(fd, &old));
    MUST(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0xfff, &status));
    CHECK(status.inode == old.st_ino);
    CHECK(status.blocks == (uint64_t)old.st_blocks);
    CHECK(status.block_size == (uint32_t)old.st_blksize);
    CHECK(status.birth.seconds <= status.change.seconds && status.birth.seconds > 0);
    CHECK(status.modify.nanoseconds == (uint32_t)old.st_mtim.tv_nsec);
    CHECK(status.spare == 0 && status.rest[0] == 0 && status.rest[7] == 0);
    return 0;
}
