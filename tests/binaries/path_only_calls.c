// O_PATH descriptors: which calls take them and which say EBADF.
#include "observe.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>

int main(void) {
    fresh_dir("/dev/shm");
    put_file("file", "text");
    MUST(mkdir("folder", 0700));
    char data[64] = "x";
    struct stat status;
    struct statfs filesystem;
    struct iovec vector = {data, 1};
    struct flock lock = {.l_type = F_RDLCK};
    struct epoll_event event = {.events = EPOLLIN};
    struct pollfd waited = {.events = POLLIN | POLLOUT};
    int real = (int)MUST(open("file", O_RDWR));
    int fd = (int)MUST(open("file", O_PATH));
    int folder = (int)MUST(open("folder", O_PATH));
    int pipes[2];
    MUST(pipe(pipes));
    TRY(pread(fd, data, 1, 0));
    TRY(pwrite(fd, data, 1, 0));
    TRY(readv(fd, &vector, 1));
    TRY(writev(fd, &vector, 1));
    TRY(read(fd, data, 0));
    TRY(write(fd, data, 0));
    TRY(readv(fd, &vector, 0));
    TRY(ioctl(fd, FIONREAD, data));
    TRY(ioctl(fd, FIOCLEX));
    TRY(fcntl(fd, F_GETFD));
    TRY(fcntl(fd, F_SETFD, FD_CLOEXEC));
    TRY(fcntl(fd, F_GETFD));
    TRY(fcntl(fd, F_GETFL));
    TRY(fcntl(fd, F_SETFL, O_NONBLOCK));
    TRY(fcntl(fd, F_DUPFD, 30));
    TRY(fcntl(fd, F_DUPFD_CLOEXEC, 40));
    TRY(fcntl(fd, F_GETLK, &lock));
    TRY(fcntl(fd, F_SETLK, &lock));
    TRY(fcntl(fd, F_OFD_SETLK, &lock));
    TRY(fcntl(fd, F_GETOWN));
    TRY(fcntl(fd, F_SETOWN, 1));
    TRY(fcntl(fd, F_GETLEASE));
    TRY(fcntl(fd, F_SETLEASE, F_RDLCK));
    TRY(fcntl(fd, F_GETPIPE_SZ));
    TRY(fcntl(fd, F_GET_SEALS));
    TRY(fcntl(fd, 1036, data));
    TRY(fcntl(fd, 9999, 0));
    TRY(flock(fd, LOCK_SH));
    TRY(fdatasync(fd));
    TRY(syncfs(fd));
    TRY(sync_file_range(fd, 0, 0, 0));
    TRY(fallocate(fd, 0, 0, 1));
    TRY(posix_fadvise(fd, 0, 0, 0));
    TRY(readahead(fd, 0, 1));
    TRY(sendfile(real, fd, NULL, 1));
    TRY(sendfile(fd, real, NULL, 1));
    TRY(splice(fd, NULL, pipes[1], NULL, 1, 0));
    TRY(splice(pipes[0], NULL, fd, NULL, 1, 0));
    TRY(tee(fd, pipes[1], 1, 0));
    TRY(vmsplice(fd, &vector, 1, 0));
    TRY(copy_file_range(fd, NULL, real, NULL, 1, 0));
    TRY(copy_file_range(real, NULL, fd, NULL, 1, 0));
    TRY(fgetxattr(fd, "user.a", data, 1));
    TRY(fsetxattr(fd, "trusted.a", data, 1, 0));
    TRY(flistxattr(fd, data, 1));
    TRY(fremovexattr(fd, "user.a"));
    TRY(fstatfs(fd, &filesystem));
    TRY(fstat(fd, &status));
    TRY(fstatat(fd, "", &status, AT_EMPTY_PATH));
    TRY(syscall(SYS_fchmod, fd, 0600));
    TRY(syscall(SYS_fchmodat, fd, "", 0600));
    TRY(syscall(SYS_fchown, fd, 0, 0));
    TRY(fchownat(fd, "", 0, 0, AT_EMPTY_PATH));
    TRY(fchdir(fd));
    TRY(syscall(SYS_futimesat, fd, NULL, NULL));
    TRY(ftruncate(fd, -1));
    int epoll = (int)MUST(epoll_create1(0));
    TRY(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    waited.fd = fd;
    TRY(poll(&waited, 1, 0));
    printf("revents %x\n", waited.revents);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    TRY(select(fd + 1, &set, NULL, NULL, &(struct timeval){0, 0}));
    int watcher = (int)MUST(inotify_init1(0));
    TRY(inotify_rm_watch(fd, 1));
    TRY(inotify_add_watch(fd, ".", IN_ACCESS));
    close(watcher);
    TRY_ADDRESS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0));
    TRY(syscall(SYS_fsconfig, fd, 0, "x", NULL, 0));
    TRY(syscall(SYS_getdents64, folder, data, sizeof data));
    TRY(mkdirat(folder, "in", 0700));
    TRY(renameat(folder, "in", folder, "out"));
    TRY(unlinkat(folder, "out", AT_REMOVEDIR));
    TRY(symlinkat("x", folder, "link"));
    TRY(readlinkat(folder, "link", data, sizeof data));
    TRY(readlinkat(folder, "", data, sizeof data));
    TRY(readlinkat(fd, "", data, sizeof data));
    TRY(unlinkat(folder, "link", 0));
    TRY(openat(fd, "x", O_RDONLY));
    TRY(openat(fd, "", O_RDONLY));
    TRY(faccessat(fd, "", R_OK, AT_EMPTY_PATH));
    // Which flags of open remain.
    TRY(fcntl((int)MUST(open("folder", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)), F_GETFL));
    TRY(fcntl((int)MUST(open("folder", O_PATH | O_APPEND | O_NONBLOCK | O_EXCL | O_NOATIME | O_SYNC)), F_GETFL));
    TRY(open("file", O_PATH | O_TMPFILE, 0600));
    TRY(open("file", O_PATH | O_CREAT | O_EXCL, 0600) >= 0);
    return 0;
}
