// sched_yield, affinity and getcpu.
#include "observe.h"
#include <sched.h>

int main(void) {
    unsigned cpu, node;
    unsigned long mask[128] = {0};
    for (int i = 0; i < 1000; i++)
        MUST(sched_yield());
    TRY(syscall(SYS_getcpu, &cpu, &node, NULL));
    long len = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    CHECK(len >= 8 && len % 8 == 0);
    CHECK(mask[cpu / 64] >> cpu % 64 & 1);
    TRY(syscall(SYS_getcpu, NULL, NULL, NULL));
    TRY(syscall(SYS_getcpu, 16, NULL, NULL));
    TRY(syscall(SYS_sched_getaffinity, 0, 3, mask));
    TRY(syscall(SYS_sched_getaffinity, 0, 0, mask));
    TRY(syscall(SYS_sched_getaffinity, 999999999, sizeof mask, mask));
    TRY(syscall(SYS_sched_getaffinity, 0, sizeof mask, 16));
    CHECK(syscall(SYS_sched_getaffinity, getpid(), sizeof mask, mask) == len);
    CHECK(sched_getcpu() >= 0);
    return 0;
}
