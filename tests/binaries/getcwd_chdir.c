// The working folder: chdir, fchdir and getcwd, also when the folder is gone.
#include "observe.h"

int main(void) {
    const char *base = fresh_dir("/tmp");
    char buffer[PATH_MAX];
    CHECK(strcmp(getcwd(buffer, sizeof buffer), base) == 0);
    MUST(mkdir("folder", 0755));
    MUST(mkdir("folder/sub", 0755));
    MUST(symlink("folder/sub", "link"));
    put_file("file", "");
    TRY(chdir("link"));
    puts(getcwd(buffer, sizeof buffer) + strlen(base));
    // ".." is the parent of where the link led, not of the link.
    TRY(chdir(".."));
    puts(getcwd(buffer, sizeof buffer) + strlen(base));
    TRY(chdir(base));
    TRY(chdir("file"));
    TRY(chdir("absent"));
    TRY(chdir(""));
    TRY(chdir("file/"));
    TRY(chdir((char *)1));
    int folder = MUST(open("folder", O_PATH)), file = MUST(open("file", O_RDONLY));
    TRY(fchdir(folder));
    TRY(fchdir(file));
    TRY(fchdir(99));
    TRY(syscall(SYS_getcwd, buffer, sizeof buffer) == (long)strlen(buffer) + 1);
    TRY(syscall(SYS_getcwd, buffer, 3));
    TRY(syscall(SYS_getcwd, buffer, 0));
    TRY(syscall(SYS_getcwd, 16, 4096));
    // Renamed, the working folder goes along.
    MUST(chdir("sub"));
    MUST(rename("../../folder", "../../renamed"));
    puts(getcwd(buffer, sizeof buffer) + strlen(base));
    // Removed, it is still a folder, without a path.
    TRY(rmdir("../sub"));
    TRY(syscall(SYS_getcwd, buffer, sizeof buffer));
    TRY(open("new", O_RDWR | O_CREAT, 0600));
    TRY(mkdir("new", 0700));
    TRY(open(".", O_RDONLY) >= 0);
    TRY(chdir("."));
    TRY(chdir(".."));
    puts(getcwd(buffer, sizeof buffer) + strlen(base));
    return 0;
}
