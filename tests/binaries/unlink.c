// unlink: names go, open files stay.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    put_file("file", "still here");
    int fd = MUST(open("file", O_RDWR));
    struct stat status;
    char buffer[32];
    TRY(unlink("file"));
    TRY(unlink("file"));
    TRY(open("file", O_RDONLY));
    MUST(fstat(fd, &status));
    printf("links %ld, size %ld\n", (long)status.st_nlink, (long)status.st_size);
    TRY(pwrite(fd, "STILL", 5, 0));
    TRY(pread(fd, buffer, sizeof buffer, 0));
    print_bytes("unlinked", buffer, 10);
    // A new file of the same name is another file.
    put_file("file", "new");
    TRY(pread(fd, buffer, sizeof buffer, 0));
    show_file("file");
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    show_file(path);
    MUST(mkdir("folder", 0700));
    MUST(symlink("file", "link"));
    MUST(symlink("folder", "folder link"));
    TRY(unlink("folder"));
    TRY(unlink("file/"));
    TRY(unlink("file/x"));
    TRY(unlink("absent"));
    TRY(unlink("absent/x"));
    TRY(unlink("link"));
    TRY(unlink("folder link/"));
    TRY(unlink("folder link"));
    TRY(unlink(""));
    TRY(unlink("."));
    TRY(unlink((char *)1));
    TRY(access("file", F_OK));
    TRY(unlinkat(AT_FDCWD, "file", AT_REMOVEDIR));
    TRY(unlinkat(AT_FDCWD, "folder", AT_REMOVEDIR));
    TRY(unlinkat(99, "file", 0));
    MUST(link("file", "second"));
    TRY(unlink("file"));
    show_file("second");
    return 0;
}
