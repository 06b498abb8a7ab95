// access, faccessat and faccessat2, as root and as somebody else.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    MUST(chmod(".", 0755));
    put_file("plain", "");
    MUST(chmod("plain", 0644));
    put_file("secret", "");
    MUST(chmod("secret", 0));
    put_file("program", "");
    MUST(chmod("program", 0711));
    MUST(mkdir("folder", 0700));
    MUST(symlink("absent", "dangling"));
    for (int user = 0; user <= 1000; user += 1000) {
        printf("as user %d\n", user);
        MUST(setresuid(user, user, 0));
        TRY(access("plain", F_OK));
        TRY(access("plain", R_OK | W_OK));
        TRY(access("plain", X_OK));
        TRY(access("secret", R_OK | W_OK));
        TRY(access("secret", F_OK));
        TRY(access("program", X_OK));
        TRY(access("program", R_OK));
        TRY(access("folder", X_OK));
        TRY(access("folder/x", F_OK));
        TRY(access("absent", F_OK));
        TRY(access("dangling", F_OK));
        TRY(access("plain/x", F_OK));
        TRY(access("plain", 8));
        TRY(access("", F_OK));
        TRY(access((char *)1, F_OK));
        TRY(syscall(SYS_faccessat2, AT_FDCWD, "dangling", F_OK, AT_SYMLINK_NOFOLLOW));
        TRY(syscall(SYS_faccessat2, AT_FDCWD, "plain", W_OK, AT_EACCESS));
        TRY(syscall(SYS_faccessat2, AT_FDCWD, "plain", W_OK, 0x4000));
        TRY(syscall(SYS_faccessat2, 99, "plain", W_OK, 0));
        TRY(syscall(SYS_faccessat2, 1, "", R_OK, AT_EMPTY_PATH));
        MUST(setresuid(0, 0, 0));
    }
    // access() asks with the real user, faccessat2 with AT_EACCESS with the effective one.
    MUST(setresuid(1000, 0, 0));
    TRY(access("secret", R_OK));
    TRY(syscall(SYS_faccessat2, AT_FDCWD, "secret", R_OK, AT_EACCESS));
    return 0;
}
