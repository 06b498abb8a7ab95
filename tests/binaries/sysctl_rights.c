// Settings below /proc/sys: who may write them, and what is taken.
#include "observe.h"

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd < 0) {
        printf("%s: open: %s\n", path, error_name(errno));
        return;
    }
    long result = write(fd, text, strlen(text));
    printf("%s \"%s\": %s\n", path, text, result < 0 ? error_name(errno) : "done");
    close(fd);
}

int main(void) {
    struct stat status;
    static const char *const settings[] = {"/proc/sys/kernel/hostname", "/proc/sys/fs/pipe-max-size", "/proc/sys/vm/overcommit_memory",
                                           "/proc/sys/fs/file-max", "/proc/sys/kernel/ostype", "/proc/sys/kernel/osrelease",
                                           "/proc/sys/fs/lease-break-time", "/proc/sys/fs/protected_hardlinks"};
    MUST(syscall(SYS_setresuid, -1, 1000, -1));
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (stat(settings[i], &status) != 0) {
            printf("%s: %s\n", settings[i], error_name(errno));
            continue;
        }
        printf("%s: mode %o owner %u\n", settings[i], status.st_mode, status.st_uid);
        put(settings[i], "1\n");
        TRY(syscall(SYS_faccessat2, AT_FDCWD, settings[i], W_OK, AT_EACCESS));
    }
    TRY(chmod("/proc/sys/kernel/hostname", 0666));
    MUST(syscall(SYS_setresuid, -1, 0, -1));
    put("/proc/sys/vm/overcommit_memory", "x");
    put("/proc/sys/vm/overcommit_memory", "3");
    put("/proc/sys/vm/overcommit_memory", "-1");
    put("/proc/sys/fs/lease-break-time", "x");
    return 0;
}
