// prctl: names and switches.
#include "observe.h"
#include <sys/prctl.h>

int main(void) {
    char name[17] = "unset";
    TRY(prctl(PR_SET_NAME, "a name that is longer than fifteen"));
    TRY(prctl(PR_GET_NAME, name));
    printf("[%s]\n", name);
    int fd = MUST(open("/proc/self/comm", O_RDONLY));
    char comm[32];
    ssize_t len = read(fd, comm, sizeof comm);
    print_bytes("comm", comm, len);
    TRY(prctl(PR_GET_DUMPABLE));
    TRY(prctl(PR_SET_DUMPABLE, 0));
    TRY(prctl(PR_GET_DUMPABLE));
    TRY(prctl(PR_SET_DUMPABLE, 1));
    TRY(prctl(PR_SET_DUMPABLE, 7));
    int signal_number = -1;
    TRY(prctl(PR_SET_PDEATHSIG, SIGUSR1));
    TRY(prctl(PR_GET_PDEATHSIG, &signal_number));
    printf("%d\n", signal_number);
    TRY(prctl(PR_SET_PDEATHSIG, 65));
    TRY(prctl(PR_SET_PDEATHSIG, 0));
    TRY(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    TRY(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    TRY(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    TRY(prctl(PR_GET_KEEPCAPS));
    TRY(prctl(PR_SET_KEEPCAPS, 1));
    TRY(prctl(PR_GET_KEEPCAPS));
    TRY(prctl(PR_SET_KEEPCAPS, 2));
    TRY(prctl(12345, 0, 0, 0, 0));
    TRY(prctl(PR_SET_NAME, 16));
    TRY(prctl(PR_GET_NAME, 16));
    return 0;
}
