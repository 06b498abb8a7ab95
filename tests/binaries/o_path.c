// O_PATH: a descriptor that only names a place.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    put_file("file", "text");
    MUST(chmod("file", 0));
    MUST(mkdir("folder", 0700));
    MUST(symlink("file", "link"));
    struct stat status;
    char buffer[16];
    int fd = TRY(open("file", O_PATH | O_RDWR | O_TRUNC | O_CREAT, 0600));
    printf("flags %o\n", fcntl(fd, F_GETFL));
    TRY(read(fd, buffer, 1));
    TRY(write(fd, buffer, 1));
    TRY(lseek(fd, 0, SEEK_SET));
    TRY(ftruncate(fd, 0));
    TRY(fstat(fd, &status));
    printf("size %ld\n", (long)status.st_size);
    TRY(syscall(SYS_fchmod, fd, 0600));
    TRY(syscall(SYS_fchown, fd, 0, 0));
    TRY(fsync(fd));
    TRY_ADDRESS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0));
    TRY(syscall(SYS_getdents64, fd, buffer, sizeof buffer));
    TRY(dup(fd) >= 0);
    snprintf(buffer, sizeof buffer, "/proc/self/fd/%d", fd);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int real = TRY(open(path, O_RDONLY));
    TRY(read(real, buffer, sizeof buffer));
    int folder = TRY(open("folder", O_PATH | O_DIRECTORY));
    TRY(syscall(SYS_getdents64, folder, buffer, sizeof buffer));
    TRY(openat(folder, "../file", O_RDONLY) >= 0);
    TRY(fchdir(folder));
    TRY(chdir(".."));
    int link_fd = TRY(open("link", O_PATH | O_NOFOLLOW));
    TRY(fstat(link_fd, &status));
    printf("mode %o\n", status.st_mode);
    TRY(readlinkat(link_fd, "", buffer, sizeof buffer));
    TRY(open("file", O_PATH | O_DIRECTORY));
    TRY(open("absent", O_PATH | O_CREAT, 0600));
    return 0;
}
