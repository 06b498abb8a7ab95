// Vectors of buffers: readv, writev, preadv, pwritev.
#include "observe.h"
#include <sys/uio.h>

int main(void) {
    fresh_dir("/tmp");
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    char one[4] = "one", two[8] = "two two", three[6] = "three";
    struct iovec parts[3] = {{one, 3}, {two, 7}, {three, 5}};
    TRY(writev(fd, parts, 3));
    show_file("file");
    memset(one, 0, sizeof one), memset(two, 0, sizeof two), memset(three, 0, sizeof three);
    MUST(lseek(fd, 0, SEEK_SET));
    parts[1].iov_len = 0;
    TRY(readv(fd, parts, 3));
    printf("[%s] [%s] [%s]\n", one, two, three);
    TRY(preadv(fd, parts, 3, 12));
    printf("[%s] [%s] [%s]\n", one, two, three);
    TRY(pwritev(fd, parts, 1, 100));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(preadv(fd, parts, 1, -1));
    TRY(syscall(SYS_writev, fd, parts, 0));
    TRY(syscall(SYS_writev, fd, NULL, 0));
    TRY(syscall(SYS_writev, fd, parts, -1));
    static struct iovec many[1025];
    for (int i = 0; i < 1025; i++)
        many[i] = (struct iovec){"m", 1};
    TRY(writev(fd, many, 1024));
    TRY(syscall(SYS_writev, fd, many, 1025));
    TRY(writev(fd, NULL, 1));
    parts[1].iov_len = (size_t)-1;
    TRY(writev(fd, parts, 3));
    parts[1].iov_len = SSIZE_MAX;
    TRY(readv(99, parts, 3));
    parts[1] = (struct iovec){(void *)16, 4};
    MUST(ftruncate(fd, 0));
    MUST(lseek(fd, 0, SEEK_SET));
    TRY(writev(fd, parts, 3));
    show_file("file");
    MUST(lseek(fd, 0, SEEK_SET));
    TRY(readv(fd, parts + 1, 1));
    int pipes[2];
    MUST(pipe(pipes));
    parts[1] = (struct iovec){two, 7};
    TRY(writev(pipes[1], parts, 2));
    TRY(readv(pipes[0], parts, 2));
    TRY(preadv(pipes[0], parts, 2, 0));
    TRY(readv(pipes[1], parts, 2));
    return 0;
}
