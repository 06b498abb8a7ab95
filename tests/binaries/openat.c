// openat and the other *at calls: paths relative to a folder's descriptor.
#include "observe.h"

int main(void) {
    const char *base = fresh_dir("/tmp");
    MUST(mkdir("folder", 0755));
    put_file("folder/file", "inside");
    put_file("file", "outside");
    int folder = MUST(open("folder", O_RDONLY | O_DIRECTORY));
    int file = MUST(open("file", O_RDONLY));
    char buffer[16] = "", absolute[128];
    int fd = TRY(openat(folder, "file", O_RDONLY));
    TRY(read(fd, buffer, sizeof buffer));
    puts(buffer);
    fd = TRY(openat(folder, "../file", O_RDONLY));
    TRY(read(fd, buffer, sizeof buffer));
    puts(buffer);
    snprintf(absolute, sizeof absolute, "%s/file", base);
    fd = TRY(openat(-5, absolute, O_RDONLY));
    TRY(openat(-5, "file", O_RDONLY));
    TRY(openat(file, "file", O_RDONLY));
    TRY(openat(folder, "", O_RDONLY));
    TRY(mkdirat(folder, "sub", 0700));
    TRY(mkdirat(file, "sub", 0700));
    TRY(symlinkat("file", folder, "link"));
    TRY(readlinkat(folder, "link", buffer, sizeof buffer));
    TRY(linkat(folder, "file", folder, "hard", 0));
    TRY(renameat(folder, "hard", AT_FDCWD, "moved"));
    TRY(unlinkat(folder, "sub", 0));
    TRY(unlinkat(folder, "sub", AT_REMOVEDIR));
    TRY(unlinkat(folder, "link", 0));
    TRY(unlinkat(folder, "file", 0x4000));
    TRY(fchmodat(folder, "file", 0600, 0));
    TRY(faccessat(folder, "file", R_OK, 0));
    // A removed folder still has a descriptor but takes no new entries.
    MUST(unlink("folder/file"));
    MUST(rmdir("folder"));
    TRY(openat(folder, "new", O_RDWR | O_CREAT, 0600));
    TRY(openat(folder, ".", O_RDONLY));
    TRY(openat(folder, "..", O_RDONLY) >= 0);
    return 0;
}
