// statfs and fstatfs: which file system, and whether its numbers make sense.
#include "observe.h"
#include <sys/statfs.h>

static struct statfs s;

static void show(const char *path) {
    if (statfs(path, &s) != 0) {
        printf("%s: %s\n", path, error_name(errno));
        return;
    }
    printf("%s: type %lx, names %ld, block %ld, sound %d\n", path, (long)s.f_type, (long)s.f_namelen, (long)s.f_bsize,
           s.f_bfree <= s.f_blocks && s.f_bavail <= s.f_bfree && s.f_ffree <= s.f_files);
}

int main(void) {
    show("/dev/shm");
    show("/proc");
    show("/proc/self/status");
    show("/absent");
    show("");
    show("/proc/version/x");
    fresh_dir("/dev/shm");
    put_file("file", "x");
    int fd = MUST(open("file", O_RDWR)), path = MUST(open("file", O_PATH));
    TRY(fstatfs(fd, &s));
    printf("type %lx\n", (long)s.f_type);
    TRY(fstatfs(path, &s));
    TRY(fstatfs(99, &s));
    TRY(syscall(SYS_statfs, ".", 16));
    TRY(syscall(SYS_fstatfs, fd, 16));
    TRY(syscall(SYS_statfs, 1, &s));
    // What a file takes is missing from what is free.
    MUST(fstatfs(fd, &s));
    long free_before = (long)s.f_bfree;
    static char data[64 * 4096];
    memset(data, 1, sizeof data);
    MUST(write(fd, data, sizeof data));
    MUST(fstatfs(fd, &s));
    printf("64 pages took at least 60 blocks: %d\n", free_before - (long)s.f_bfree >= 60);
    int pipes[2];
    MUST(pipe(pipes));
    TRY(fstatfs(pipes[0], &s));
    printf("type %lx\n", (long)s.f_type);
    return 0;
}
