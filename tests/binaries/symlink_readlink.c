// Symbolic links.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    char buffer[PATH_MAX + 1], longest[PATH_MAX + 1];
    struct stat status;
    put_file("file", "text");
    TRY(symlink("file", "link"));
    TRY(readlink("link", buffer, sizeof buffer));
    memset(buffer, '#', sizeof buffer);
    TRY(readlink("link", buffer, 2));
    print_bytes("cut", buffer, 4);
    TRY(readlink("link", buffer, 0));
    TRY(readlink("link", buffer, -1));
    TRY(readlink("link", NULL, 10));
    TRY(readlink("file", buffer, sizeof buffer));
    TRY(readlink("absent", buffer, sizeof buffer));
    TRY(readlink(".", buffer, sizeof buffer));
    TRY(readlink("", buffer, sizeof buffer));
    TRY(readlink("link/", buffer, sizeof buffer));
    TRY(symlink("x", "link"));
    TRY(symlink("x", "file"));
    TRY(symlink("", "new"));
    TRY(symlink("x", ""));
    TRY(symlink("x", "absent/new"));
    TRY(symlink("x", "file/new"));
    TRY(symlink("x", "new/"));
    memset(longest, 'l', sizeof longest);
    longest[PATH_MAX - 1] = 0;
    TRY(symlink(longest, "long"));
    TRY(readlink("long", buffer, sizeof buffer));
    TRY(open("long", O_RDONLY));
    longest[PATH_MAX - 1] = 'l';
    longest[PATH_MAX] = 0;
    TRY(symlink(longest, "longer"));
    MUST(lstat("link", &status));
    printf("mode %o, size %ld\n", status.st_mode, (long)status.st_size);
    int fd = MUST(open("link", O_PATH | O_NOFOLLOW));
    TRY(readlinkat(fd, "", buffer, sizeof buffer));
    fd = MUST(open("file", O_PATH));
    TRY(readlinkat(fd, "", buffer, sizeof buffer));
    TRY(readlinkat(99, "link", buffer, sizeof buffer));
    return 0;
}
