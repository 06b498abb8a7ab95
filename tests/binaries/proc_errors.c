// What is refused in /proc and below /proc/sys, where permissions count for everybody, and what settings make of text. No setting gets another value.
#include "observe.h"

#define SETTING "/proc/sys/kernel/threads-max"

static long put(const char *path, const char *text, off_t at) {
    int fd = open(path, O_WRONLY);
    if (fd < 0)
        return -1;
    long result = at ? pwrite(fd, text, strlen(text), at) : write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

static long get(const char *path) {
    char text[64] = "";
    int fd = (int)MUST(open(path, O_RDONLY));
    MUST(read(fd, text, sizeof text - 1));
    close(fd);
    return atol(text);
}

// The value that is there, written in some way.
static void same(const char *format) {
    char text[64];
    long before = get(SETTING);
    snprintf(text, sizeof text, format, before);
    long result = put(SETTING, text, 0);
    printf("\"%s\": %s, the same: %d\n", format, result == (long)strlen(text) ? "taken" : result < 0 ? error_name(errno) : "other",
           get(SETTING) == before);
}

static void below_sys(void) {
    TRY(open("/proc/sys/kernel/osrelease", O_WRONLY));
    TRY(open("/proc/sys/kernel/osrelease", O_RDWR));
    TRY(access("/proc/sys/kernel/osrelease", W_OK));
    TRY(access("/proc/sys/kernel/osrelease", X_OK));
    TRY(access(SETTING, W_OK));
    TRY(access(SETTING, X_OK));
    TRY(access("/proc/sys/kernel", W_OK));
    TRY(access("/proc/sys/kernel", X_OK));
    TRY(open("/proc/sys/new", O_CREAT | O_WRONLY, 0644));
    TRY(open("/proc/sys/kernel/new", O_CREAT | O_WRONLY, 0644));
    TRY(open(SETTING, O_CREAT | O_EXCL | O_WRONLY, 0644));
    TRY(mkdir("/proc/sys/kernel/new", 0755));
    TRY(mknod("/proc/sys/kernel/new", S_IFIFO | 0644, 0));
    TRY(symlink("x", "/proc/sys/kernel/new"));
    TRY(link(SETTING, "/proc/sys/kernel/new"));
    TRY(unlink(SETTING));
    TRY(unlink("/proc/sys/kernel/absent"));
    TRY(rmdir("/proc/sys/kernel"));
    TRY(rmdir("/proc/sys/kernel/absent"));
    TRY(rename(SETTING, "/proc/sys/kernel/new"));
    TRY(rename("/proc/sys/kernel/absent", "/proc/sys/kernel/new"));
    TRY(chmod(SETTING, 0600));
    TRY(chown(SETTING, 1, 1));
    TRY(chown(SETTING, -1, -1));
    TRY(truncate(SETTING, 0));
    TRY(truncate("/proc/sys/kernel/osrelease", 0));
    TRY(truncate("/proc/sys/kernel", 0));
    TRY(utimensat(AT_FDCWD, SETTING, NULL, 0));
    TRY(open("/proc/sys/kernel/absent", O_RDONLY));
    TRY(open("/proc/sys/kernel", O_WRONLY));
    TRY(open(SETTING "/x", O_RDONLY));
}

static void texts(void) {
    static const char *const formats[] = {"%ld", "%ld\n", "  %ld \n\n", "0x%lx", "0%lo", "%ldx", "x%ld", "+%ld"};
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        same(formats[i]);
    TRY(put(SETTING, "", 0));
    TRY(put(SETTING, "\n", 0));
    TRY(put(SETTING, "-1", 0));
    TRY(put(SETTING, "99999999999999999999", 0));
    long before = get(SETTING);
    TRY(put(SETTING, "1", 1));
    TRY(put(SETTING, "abc", 5));
    CHECK(get(SETTING) == before);
    TRY(put("/proc/sys/net/core/somaxconn", "-1", 0));
    TRY(put("/proc/sys/net/core/somaxconn", "70000000000", 0));
    TRY(put("/proc/sys/net/ipv4/ip_local_port_range", "60999 32768", 0));
    TRY(put("/proc/sys/net/ipv4/ip_local_port_range", "1 70000", 0));
}

static void open_files(void) {
    int fd = (int)MUST(open(SETTING, O_RDWR | O_TRUNC));
    struct stat found;
    TRY(lseek(fd, 2, SEEK_SET));
    TRY(lseek(fd, -1, SEEK_SET));
    TRY(pwrite(fd, (char *)1, 3, 0));
    TRY(ftruncate(fd, 10));
    MUST(fstat(fd, &found));
    printf("%o %ld\n", found.st_mode, (long)found.st_size);
    TRY((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0));
    TRY(fallocate(fd, 0, 0, 10));
    TRY(fsync(fd));
    close(fd);
}

static void elsewhere(void) {
    TRY(open("/proc/new", O_CREAT | O_WRONLY, 0644));
    TRY(unlink("/proc/version"));
    TRY(mkdir("/proc/new", 0755));
    TRY(rename("/proc/version", "/proc/new"));
    TRY(rename("/proc/version", "/proc/uptime"));
    TRY(truncate("/proc/version", 0));
    TRY(open("/proc/self/new", O_CREAT | O_WRONLY, 0644));
    TRY(unlink("/proc/self/maps"));
    TRY(mkdir("/proc/self/new", 0755));
    TRY(rmdir("/proc/self/fd"));
    TRY(chmod("/proc/self/maps", 0600));
    TRY(put("/proc/self/maps", "x", 0));
}

int main(void) {
    below_sys();
    texts();
    open_files();
    elsewhere();
    return 0;
}
