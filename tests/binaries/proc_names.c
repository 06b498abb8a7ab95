// Names cannot be made, removed or moved where the kernel makes them up.
#include "observe.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void) {
    static const char *const names[] = {"/proc/self/fd/0", "/proc/self/fd/777", "/proc/self/fdinfo/0", "/proc/self/x",
                                        "/proc/self/task/x", "/proc/self/maps"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        printf("%s\n", names[i]);
        CHECK(mkdir(names[i], 0777) < 0);
        CHECK(mknod(names[i], S_IFREG | 0600, 0) < 0);
        CHECK(symlink("x", names[i]) < 0);
        CHECK(rmdir(names[i]) < 0);
        CHECK(rename(names[i], "/proc/self/fd/y") < 0);
        CHECK(rename(names[i], "/proc/self/z") < 0);
    }
    return 0;
}
