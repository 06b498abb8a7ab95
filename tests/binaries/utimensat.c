// utimensat: setting times, one by one or not at all.
#include "observe.h"
#include <time.h>

static void show(const char *path) {
    struct stat status;
    MUST(lstat(path, &status));
    printf("%s: access %ld.%09ld modify %ld.%09ld\n", path, (long)status.st_atim.tv_sec, status.st_atim.tv_nsec,
           (long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}


int main(void) {
    fresh_dir("/dev/shm");
    put_file("file", "");
    MUST(symlink("file", "link"));
    struct timespec times[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    TRY(utimensat(AT_FDCWD, "file", times, 0));
    show("file");
    times[0] = (struct timespec){0, UTIME_OMIT};
    times[1] = (struct timespec){1200000000, 0};
    TRY(utimensat(AT_FDCWD, "file", times, 0));
    show("file");
    times[1] = (struct timespec){0, UTIME_OMIT};
    TRY(utimensat(AT_FDCWD, "file", times, 0));
    show("file");
    TRY(utimensat(AT_FDCWD, "absent", times, 0));
    times[0] = (struct timespec){0, UTIME_NOW};
    TRY(utimensat(AT_FDCWD, "file", times, 0));
    struct stat status;
    struct timespec now;
    MUST(stat("file", &status));
    clock_gettime(CLOCK_REALTIME, &now);
    CHECK(status.st_atim.tv_sec >= now.tv_sec - 5 && status.st_atim.tv_sec <= now.tv_sec);
    CHECK(status.st_mtim.tv_sec == 1200000000);
    times[0] = (struct timespec){1, 2};
    times[1] = (struct timespec){3, 4};
    TRY(utimensat(AT_FDCWD, "link", times, AT_SYMLINK_NOFOLLOW));
    show("link");
    TRY(utimensat(AT_FDCWD, "link", times, 0));
    show("file");
    times[0].tv_sec = -1000;
    TRY(utimensat(AT_FDCWD, "file", times, 0));
    show("file");
    times[0].tv_nsec = 1000000000;
    TRY(utimensat(AT_FDCWD, "file", times, 0));
    times[0].tv_nsec = -1;
    TRY(utimensat(AT_FDCWD, "file", times, 0));
    TRY(utimensat(AT_FDCWD, "file", NULL, 0x4000));
    int fd = MUST(open("file", O_RDONLY));
    times[0] = times[1] = (struct timespec){77, 88};
    TRY(futimens(fd, times));
    show("file");
    TRY(syscall(SYS_utimensat, fd, NULL, NULL, 0));
    TRY(syscall(SYS_utimensat, fd, "", NULL, AT_EMPTY_PATH));
    TRY(syscall(SYS_utimensat, 99, NULL, NULL, 0));
    TRY(syscall(SYS_utimensat, AT_FDCWD, NULL, NULL, 0));
    TRY(syscall(SYS_utimensat, AT_FDCWD, "file", 16, 0));
    MUST(stat("file", &status));
    CHECK(status.st_mtim.tv_sec >= now.tv_sec);
    return 0;
}
