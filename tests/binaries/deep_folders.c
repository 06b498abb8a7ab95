// Folders nested deeper than a path can name.
#include "observe.h"

int main(void) {
    const char *base = fresh_dir("/tmp");
    char buffer[2 * PATH_MAX];
    int depth = 0;
    for (; depth < 300; depth++) {
        MUST(mkdir("a folder of some length", 0755));
        MUST(chdir("a folder of some length"));
    }
    put_file("bottom", "reached");
    long len = syscall(SYS_getcwd, buffer, sizeof buffer);
    printf("%s\n", len > 0 ? "a long path" : error_name(errno));
    show_file("bottom");
    TRY(access("../../../a folder of some length", F_OK));
    // Back up by "..", removing on the way.
    MUST(unlink("bottom"));
    while (depth-- > 0) {
        MUST(chdir(".."));
        MUST(rmdir("a folder of some length"));
    }
    CHECK(strcmp(getcwd(buffer, sizeof buffer), base) == 0);
    return 0;
}
