// O_TMPFILE: a file without a name, which linkat can give one.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    TRY(open(".", O_TMPFILE | O_RDONLY, 0600));
    TRY(open("absent", O_TMPFILE | O_RDWR, 0600));
    put_file("file", "");
    TRY(open("file", O_TMPFILE | O_RDWR, 0600));
    umask(022);
    int fd = TRY(open(".", O_TMPFILE | O_RDWR, 0666));
    TRY(write(fd, "hidden", 6));
    struct stat status;
    MUST(fstat(fd, &status));
    printf("mode %o, links %ld, size %ld\n", status.st_mode, (long)status.st_nlink, (long)status.st_size);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    TRY(linkat(AT_FDCWD, path, AT_FDCWD, "file", AT_SYMLINK_FOLLOW));
    TRY(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    show_file("named");
    MUST(fstat(fd, &status));
    printf("links %ld\n", (long)status.st_nlink);
    int never = TRY(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
    snprintf(path, sizeof path, "/proc/self/fd/%d", never);
    TRY(linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
    TRY(linkat(fd, "", AT_FDCWD, "by descriptor", AT_EMPTY_PATH));
    show_file("by descriptor");
    return 0;
}
