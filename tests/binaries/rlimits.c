// Resource limits: reading, lowering, raising.
#include "observe.h"
#include <sys/resource.h>

static struct rlimit now;

static long show(const char *text, long result) {
    int error = errno;
    printf("%s: %s\n", text, result == 0 ? "0" : error_name(error));
    return result;
}

#define LIMIT(resource)                                                                          \
    (show("getrlimit(" #resource ")", getrlimit(resource, &now)),                                \
     printf("    soft at most hard: %d\n", now.rlim_cur <= now.rlim_max))

int main(void) {
    LIMIT(RLIMIT_CPU);
    LIMIT(RLIMIT_FSIZE);
    LIMIT(RLIMIT_DATA);
    LIMIT(RLIMIT_STACK);
    LIMIT(RLIMIT_CORE);
    LIMIT(RLIMIT_RSS);
    LIMIT(RLIMIT_NPROC);
    LIMIT(RLIMIT_NOFILE);
    LIMIT(RLIMIT_MEMLOCK);
    LIMIT(RLIMIT_AS);
    LIMIT(RLIMIT_LOCKS);
    LIMIT(RLIMIT_SIGPENDING);
    LIMIT(RLIMIT_MSGQUEUE);
    LIMIT(RLIMIT_NICE);
    LIMIT(RLIMIT_RTPRIO);
    LIMIT(15);
    TRY(getrlimit(16, &now));
    TRY(getrlimit(-1, &now));
    struct rlimit new = {100, 200};
    TRY(setrlimit(RLIMIT_NOFILE, &new));
    getrlimit(RLIMIT_NOFILE, &now);
    printf("%lu %lu\n", (unsigned long)now.rlim_cur, (unsigned long)now.rlim_max);
    new.rlim_cur = 201;
    TRY(setrlimit(RLIMIT_NOFILE, &new));
    struct rlimit old;
    TRY(prlimit(0, RLIMIT_NOFILE, NULL, &old));
    printf("%lu %lu\n", (unsigned long)old.rlim_cur, (unsigned long)old.rlim_max);
    new = (struct rlimit){50, 150};
    TRY(prlimit(getpid(), RLIMIT_NOFILE, &new, &old));
    printf("%lu\n", (unsigned long)old.rlim_cur);
    TRY(prlimit(999999999, RLIMIT_NOFILE, NULL, &old));
    TRY(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 16, NULL));
    TRY(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, 16));
    TRY(syscall(SYS_prlimit64, 0, 99, NULL, &old));
    TRY(syscall(SYS_getrlimit, RLIMIT_NOFILE, 16));
    // The hard limit goes down for everybody, and up only for the mighty.
    MUST(setresuid(1000, 1000, 1000));
    new = (struct rlimit){50, 151};
    TRY(setrlimit(RLIMIT_NOFILE, &new));
    new = (struct rlimit){60, 140};
    TRY(setrlimit(RLIMIT_NOFILE, &new));
    new = (struct rlimit){60, 150};
    TRY(setrlimit(RLIMIT_NOFILE, &new));
    return 0;
}
