// Hard links.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    struct stat status;
    put_file("file", "shared");
    TRY(link("file", "second"));
    TRY(link("second", "third"));
    MUST(stat("file", &status));
    printf("links %ld\n", (long)status.st_nlink);
    put_file("third", "through the third");
    show_file("file");
    MUST(unlink("file"));
    MUST(stat("second", &status));
    printf("links %ld\n", (long)status.st_nlink);
    MUST(mkdir("folder", 0755));
    MUST(symlink("second", "soft"));
    MUST(symlink("absent", "dangling"));
    TRY(link("folder", "x"));
    TRY(link("absent", "x"));
    TRY(link("second", "third"));
    TRY(link("second", "soft"));
    TRY(link("second", "absent/x"));
    TRY(link("second/", "x"));
    TRY(link("second", "x/"));
    TRY(link("", "x"));
    TRY(link("second", ""));
    TRY(link("second", "/dev/shm/observe-link"));
    TRY(link("/proc/self/status", "x"));
    TRY(link((char *)1, "x"));
    // Without AT_SYMLINK_FOLLOW a link to the symbolic link itself is made.
    TRY(link("soft", "soft too"));
    MUST(lstat("soft too", &status));
    printf("mode %o, links %ld\n", status.st_mode, (long)status.st_nlink);
    TRY(linkat(AT_FDCWD, "soft", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
    MUST(lstat("followed", &status));
    printf("mode %o, links %ld\n", status.st_mode, (long)status.st_nlink);
    TRY(linkat(AT_FDCWD, "dangling", AT_FDCWD, "x", AT_SYMLINK_FOLLOW));
    TRY(linkat(AT_FDCWD, "second", AT_FDCWD, "x", 0x10));
    TRY(linkat(99, "second", AT_FDCWD, "x", 0));
    return 0;
}
