// Process, parent, group and session ids, and the calls that look like they would change them.
#include "observe.h"

int main(void) {
    CHECK(getpid() > 0 && getppid() >= 0);
    CHECK(syscall(SYS_gettid) == getpid());
    CHECK(getpgid(0) == getpgrp() && getpgid(getpid()) == getpgrp());
    CHECK(getsid(0) == getsid(getpid()));
    TRY(getpgid(999999999));
    TRY(getsid(999999999));
    TRY(getpgid(-1));
    TRY(getsid(-1));
    static int word;
    CHECK(syscall(SYS_set_tid_address, &word) == getpid());
    TRY(syscall(SYS_set_robust_list, &word, 24));
    TRY(syscall(SYS_set_robust_list, &word, 25));
    CHECK(syscall(SYS_getpid) == getpid());
    return 0;
}
