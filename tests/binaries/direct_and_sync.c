// O_DIRECT on what takes it and what does not (on a tmpfs as Linux since 6.6), and writes that are to be on the disk before they
// return. What happens to a disk is tested elsewhere; here all of it is memory.
#include "observe.h"

#include <sys/uio.h>

static long pwritev2_flags(int fd, const char *text, off_t at, int flags) {
    struct iovec vector = {(char *)text, strlen(text)};
    return syscall(SYS_pwritev2, fd, &vector, 1, at, 0, flags);
}

int main(void) {
    char bytes[16] = "";
    fresh_dir("/dev/shm");
    MUST(mkdir("dir", 0755));
    MUST(mkfifo("fifo", 0644));
    put_file("plain", "plain");
    TRY(open("dir", O_RDONLY | O_DIRECT));
    TRY(open("fifo", O_RDWR | O_DIRECT));
    TRY(open("/proc/self/status", O_RDONLY | O_DIRECT));
    TRY(open("/dev/null", O_RDWR | O_DIRECT));
    int fd = (int)TRY(open("file", O_RDWR | O_CREAT | O_DIRECT, 0644));
    TRY(write(fd, "abc", 3));
    TRY(pread(fd, bytes, 16, 1));
    printf("%o\n", fcntl(fd, F_GETFL));
    TRY(fcntl(fd, F_SETFL, 0));
    TRY(fcntl(fd, F_SETFL, O_DIRECT));
    int other = (int)MUST(open("/proc/self/status", O_RDONLY));
    TRY(fcntl(other, F_SETFL, O_DIRECT));
    other = (int)MUST(open("/dev/null", O_RDWR));
    TRY(fcntl(other, F_SETFL, O_DIRECT));
    other = (int)MUST(open("dir", O_RDONLY));
    TRY(fcntl(other, F_SETFL, O_DIRECT));
    other = (int)MUST(open("fifo", O_RDWR));
    TRY(fcntl(other, F_SETFL, O_DIRECT));

    int sync = (int)MUST(open("file", O_RDWR | O_SYNC)), dsync = (int)MUST(open("file", O_RDWR | O_DSYNC));
    printf("%o %o\n", fcntl(sync, F_GETFL), fcntl(dsync, F_GETFL));
    TRY(pwrite(sync, "sync", 4, 0));
    TRY(pwrite(dsync, "dsync", 5, 4));
    TRY(fcntl(sync, F_SETFL, O_APPEND));
    printf("%o\n", fcntl(sync, F_GETFL));
    TRY(pwritev2_flags(fd, "rwf", 9, 2));
    TRY(pwritev2_flags(fd, "rwf", 12, 4));
    TRY(pwritev2_flags(fd, "rwf", 0, 0x10));
    TRY(pwritev2_flags(fd, "rwf", 0, 0x1000));
    show_file("file");
    other = (int)MUST(open("fifo", O_RDWR | O_SYNC));
    TRY(write(other, "x", 1));
    other = (int)MUST(open("/dev/null", O_RDWR | O_SYNC));
    TRY(write(other, "x", 1));
    TRY(syscall(SYS_sync_file_range, fd, 0, 0, 2));
    TRY(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    TRY(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
    show_file("file");
    return 0;
}
