// mkdir and rmdir.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    umask(022);
    struct stat status;
    TRY(mkdir("folder", 0777));
    MUST(stat("folder", &status));
    printf("mode %o, links %ld\n", status.st_mode, (long)status.st_nlink);
    TRY(mkdir("special", 07777));
    MUST(stat("special", &status));
    printf("mode %o\n", status.st_mode);
    TRY(mkdir("folder", 0777));
    TRY(mkdir("folder/", 0777));
    TRY(mkdir("folder/a/", 0777));
    TRY(mkdir("folder/b", 0777));
    MUST(stat("folder", &status));
    printf("links %ld\n", (long)status.st_nlink);
    TRY(mkdir("absent/a", 0777));
    TRY(mkdir("", 0777));
    TRY(mkdir(".", 0777));
    TRY(mkdir("/", 0777));
    put_file("file", "");
    MUST(symlink("absent", "dangling"));
    MUST(symlink("folder", "link"));
    TRY(mkdir("file", 0777));
    TRY(mkdir("file/a", 0777));
    TRY(mkdir("dangling", 0777));
    TRY(mkdir("dangling/", 0777));
    TRY(mkdir((char *)1, 0777));
    TRY(rmdir("folder"));
    TRY(rmdir("folder/."));
    TRY(rmdir("folder/a/.."));
    TRY(rmdir("file"));
    TRY(rmdir("absent"));
    TRY(rmdir("link"));
    TRY(rmdir("link/"));
    TRY(rmdir("link/a"));
    TRY(rmdir("folder/b/"));
    TRY(rmdir("."));
    TRY(rmdir("folder"));
    TRY(rmdir("/"));
    TRY(rmdir("/proc/self"));
    TRY(rmdir(""));
    return 0;
}
