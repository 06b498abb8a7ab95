// open: what each flag does and which errors it brings.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    TRY(open("absent", O_RDONLY));
    TRY(open("", O_RDONLY));
    TRY(open("absent/below", O_RDWR | O_CREAT, 0600));
    int fd = TRY(open("file", O_RDWR | O_CREAT | O_EXCL, 0600));
    TRY(write(fd, "0123456789", 10));
    TRY(open("file", O_RDWR | O_CREAT | O_EXCL, 0600));
    TRY(open("file", O_RDONLY | O_DIRECTORY));
    TRY(open("file/", O_RDONLY));
    TRY(open("file/below", O_RDONLY));
    TRY(open(".", O_WRONLY));
    TRY(open(".", O_RDWR));
    TRY(open(".", O_RDONLY | O_CREAT, 0600));
    TRY(open("new/", O_RDWR | O_CREAT, 0600));
    TRY(open(".", O_RDONLY | O_DIRECTORY));

    MUST(symlink("file", "link"));
    MUST(symlink("target", "dangling"));
    MUST(symlink("loop", "loop"));
    TRY(open("link", O_RDONLY | O_NOFOLLOW));
    TRY(open("link", O_RDONLY));
    TRY(open("loop", O_RDONLY));
    TRY(open("dangling", O_RDONLY));
    TRY(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0600));
    TRY(open("dangling", O_RDWR | O_CREAT, 0600));
    CHECK(access("target", F_OK) == 0);
    TRY(open("link", O_PATH | O_NOFOLLOW));
    TRY(open("link", O_DIRECTORY | O_NOFOLLOW));

    int truncating = TRY(open("file", O_WRONLY | O_TRUNC));
    struct stat status;
    MUST(fstat(truncating, &status));
    CHECK(status.st_size == 0);
    int appending = TRY(open("file", O_WRONLY | O_APPEND));
    MUST(write(truncating, "abc", 3));
    TRY(write(appending, "def", 3));
    TRY(lseek(appending, 0, SEEK_CUR));
    show_file("file");

    printf("flags %o\n", fcntl(appending, F_GETFL) & ~O_LARGEFILE);
    printf("flags %o\n", fcntl(fd, F_GETFL) & ~O_LARGEFILE);
    int cloexec = TRY(open("file", O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    printf("fd flags %d, flags %o\n", fcntl(cloexec, F_GETFD), fcntl(cloexec, F_GETFL) & ~O_LARGEFILE);
    // The access mode 3 allows neither reading nor writing.
    int neither = TRY(open("file", 3));
    TRY(read(neither, &status, 1));
    TRY(write(neither, &status, 1));
    TRY(open((char *)1, O_RDONLY));
    return 0;
}
