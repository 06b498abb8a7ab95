//@ cflags: -pthread
// linkat with AT_EMPTY_PATH: without rights, only what was opened by who the caller is still.
#include "observe.h"
#include <pthread.h>

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

// A number of its own for each link.
static long link_of(int fd, const char *path, int flags) {
    static int count;
    char name[16];
    snprintf(name, sizeof name, "l%d", ++count);
    return linkat(fd, path, AT_FDCWD, name, flags);
}

static int by_thread;

static void *open_it(void *unused) {
    (void)unused;
    by_thread = open("f", O_RDONLY);
    return NULL;
}

int main(void) {
    struct {
        unsigned version;
        int pid;
    } header = {0x20080522, 0};
    unsigned none[6] = {0};
    pthread_t thread;
    fresh_dir("/tmp");
    MUST(chmod(".", 0777));
    int before = (int)MUST(open("f", O_CREAT | O_RDWR, 0666)), place = (int)MUST(open("f", O_PATH));
    MUST(fchown(before, 1000, 1000));
    MUST(chmod("f", 0666));
    int folder = (int)MUST(open(".", O_RDONLY));
    TRY(link_of(before, "", AT_EMPTY_PATH));
    TRY(link_of(place, "", AT_EMPTY_PATH));
    MUST(syscall(SYS_setresuid, 1000, 1000, 1000));
    MUST(syscall(SYS_capset, &header, none));
    TRY(link_of(before, "", AT_EMPTY_PATH));
    TRY(link_of(place, "", AT_EMPTY_PATH));
    TRY(link_of(folder, "f", AT_EMPTY_PATH));
    TRY(link_of(folder, "f", 0));
    TRY(link_of(AT_FDCWD, "f", AT_EMPTY_PATH));
    TRY(link_of(AT_FDCWD, "", AT_EMPTY_PATH));
    TRY(link_of(folder, "", AT_EMPTY_PATH));
    int own = (int)MUST(open("f", O_RDWR)), own_place = (int)MUST(open("f", O_PATH));
    TRY(link_of(own, "", AT_EMPTY_PATH));
    TRY(link_of(own_place, "", AT_EMPTY_PATH));
    TRY(link_of(own, "", 0));
    TRY(link_of((int)MUST(open(".", O_TMPFILE | O_RDWR, 0600)), "", AT_EMPTY_PATH));
    TRY(link_of(99, "", AT_EMPTY_PATH));
    TRY(link_of(own, NULL, AT_EMPTY_PATH));
    TRY(link_of(own, (char *)8, AT_EMPTY_PATH));
    pthread_create(&thread, NULL, open_it, NULL);
    pthread_join(thread, NULL);
    TRY(link_of(by_thread, "", AT_EMPTY_PATH));
    // A call that changes nothing makes the same user another caller, unless it is setresuid.
    MUST(syscall(SYS_setresuid, 1000, -1, 1000));
    TRY(link_of(own, "", AT_EMPTY_PATH));
    MUST(syscall(SYS_setuid, 1000));
    TRY(link_of(own, "", AT_EMPTY_PATH));
    return 0;
}
