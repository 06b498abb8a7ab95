// User and group ids: real, effective, saved, and who may change them to what.
#include "observe.h"
#include <grp.h>
#include <sys/fsuid.h>

static void show(void) {
    int r, e, s;
    getresuid((uid_t *)&r, (uid_t *)&e, (uid_t *)&s);
    printf("    uid %d %d %d", r, e, s);
    getresgid((gid_t *)&r, (gid_t *)&e, (gid_t *)&s);
    printf(", gid %d %d %d, calls %d %d %d %d\n", r, e, s, getuid(), geteuid(), getgid(), getegid());
}

#define SHOW(call) (TRY(call), show())

int main(void) {
    gid_t groups[64];
    show();
    SHOW(syscall(SYS_setresgid, 10, 20, 30));
    SHOW(syscall(SYS_setresgid, -1, 21, -1));
    SHOW(syscall(SYS_setregid, -1, 10));
    SHOW(syscall(SYS_setgid, 5));
    TRY(setgroups(3, (gid_t[]){7, 8, 9}));
    TRY(getgroups(0, NULL));
    TRY(getgroups(64, groups));
    printf("%d %d %d\n", groups[0], groups[1], groups[2]);
    TRY(getgroups(2, groups));
    TRY(syscall(SYS_getgroups, -1, groups));
    TRY(syscall(SYS_setgroups, 65537, groups));
    TRY(syscall(SYS_setgroups, 3, 16));
    SHOW(syscall(SYS_setresuid, 100, 200, 0));
    TRY(setgroups(0, NULL));
    SHOW(syscall(SYS_setresuid, -1, 300, -1));
    SHOW(syscall(SYS_setresuid, -1, 100, -1));
    SHOW(syscall(SYS_setresgid, -1, 77, -1));
    SHOW(syscall(SYS_setgid, 5));
    SHOW(syscall(SYS_setgid, 6));
    SHOW(syscall(SYS_setuid, 0));
    SHOW(syscall(SYS_setreuid, 300, -1));
    SHOW(syscall(SYS_setresuid, 0, 0, 0));
    SHOW(syscall(SYS_setreuid, 1000, 2000));
    SHOW(syscall(SYS_setuid, 1000));
    SHOW(syscall(SYS_setuid, 0));
    SHOW(syscall(SYS_setresuid, -1, 2000, -1));
    SHOW(syscall(SYS_setuid, 3000));
    TRY(setfsuid(1000));
    TRY(setfsuid(-1));
    // The file system's id goes by the effective one, unless nothing was said of that.
    TRY(syscall(SYS_setresuid, -1, -1, -1));
    TRY(setfsuid(-1));
    TRY(syscall(SYS_setresuid, -1, -1, 1000));
    TRY(setfsuid(-1));
    TRY(setfsuid(1000));
    TRY(syscall(SYS_setresuid, -1, 2000, -1));
    TRY(setfsuid(-1));
    TRY(setfsgid(12345));
    TRY(setfsgid(-1));
    TRY(kill(getpid(), 0));
    TRY(syscall(SYS_setresuid, 0, -1, -1));
    return 0;
}
