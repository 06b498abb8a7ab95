// sched_setattr and sched_getattr: sizes of their structure, flags, values.
#include "observe.h"
#include <sched.h>
#include <sys/resource.h>

#ifndef SCHED_DEADLINE
#define SCHED_DEADLINE 6
#endif

struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
    uint8_t more[4096];
};

static struct attributes attr;

static struct attributes *with(uint32_t size, uint32_t policy, uint64_t flags, int nice, uint32_t priority) {
    memset(&attr, 0, sizeof attr);
    attr.size = size, attr.policy = policy, attr.flags = flags, attr.nice = nice, attr.priority = priority;
    return &attr;
}

static long set(struct attributes *from) {
    return syscall(SYS_sched_setattr, 0, from, 0);
}

static void show(void) {
    memset(&attr, 0x55, sizeof attr);
    long result = syscall(SYS_sched_getattr, 0, &attr, 56, 0);
    printf("  now: %ld, size %u, policy %u, flags %#lx, nice %d, priority %u, deadline %lu, period %lu\n", result,
           attr.size, attr.policy, (unsigned long)attr.flags, attr.nice, attr.priority, (unsigned long)attr.deadline,
           (unsigned long)attr.period);
}

int main(void) {
    // Whatever the caller has.
    MUST(syscall(SYS_setpriority, 0, 0, 0));
    show();
    puts("-- values");
    TRY(set(with(48, SCHED_OTHER, 0, 5, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 0, -5, 0))), show();
    TRY(set(with(0, SCHED_BATCH, 0, 100, 0))), show();
    TRY(set(with(56, SCHED_BATCH, 0, -100, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 0, 7, 0))), show();
    TRY(set(with(56, SCHED_FIFO, 0, 3, 50))), show();
    TRY(set(with(56, SCHED_RR, 1, 3, 99))), show();
    TRY(set(with(56, SCHED_IDLE, 0, 3, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 0, 0, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 0, 0, 1)));
    TRY(set(with(56, SCHED_FIFO, 0, 0, 0)));
    TRY(set(with(56, SCHED_FIFO, 0, 0, 100)));
    TRY(set(with(56, 4, 0, 0, 0)));
    TRY(set(with(56, 100, 0, 0, 0)));
    TRY(set(with(56, -1, 0, 0, 0)));

    puts("-- flags");
    TRY(set(with(56, SCHED_RR, 0, 0, 9)));
    TRY(set(with(56, SCHED_RR, 8, 0, 10))), show();
    TRY(set(with(56, SCHED_RR, 8 | 1, 0, 10))), show();
    TRY(set(with(56, SCHED_FIFO, 0x10, 0, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 0x10, 0, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 8 | 0x10, 0, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 1, 4, 0))), show();
    TRY(set(with(56, SCHED_BATCH, 0x10, 0, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 0, 0, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 0x80, 0, 0)));
    TRY(set(with(56, SCHED_OTHER, 1ul << 40, 0, 0)));
    TRY(set(with(48, SCHED_OTHER, 0x20, 0, 0)));
    TRY(syscall(SYS_sched_setattr, 0, with(56, 0, 0, 0, 0), 1));

    puts("-- sizes");
    TRY(set(with(47, SCHED_OTHER, 0, 0, 0)));
    CHECK(attr.size == 56);
    TRY(set(with(4097, SCHED_OTHER, 0, 0, 0)));
    CHECK(attr.size == 56);
    TRY(set(with(4096, SCHED_OTHER, 0, 0, 0)));
    CHECK(attr.size == 4096);
    with(100, SCHED_OTHER, 0, 0, 0)->more[43] = 1;
    TRY(set(&attr));
    CHECK(attr.size == 56);
    with(100, SCHED_OTHER, 0, 0, 0)->more[44] = 1;
    TRY(set(&attr));
    for (unsigned size = 0; size <= 64; size += 8) {
        memset(&attr, 0x55, sizeof attr);
        printf("get of %u: ", size);
        if (TRY(syscall(SYS_sched_getattr, 0, &attr, size, 0)) == 0)
            printf("  told %u, after 48: %s\n", attr.size, attr.util_min == 0x55555555 ? "untouched" : "written");
    }
    TRY(syscall(SYS_sched_getattr, 0, &attr, 4096, 0));
    CHECK(attr.size == 56);
    TRY(syscall(SYS_sched_getattr, 0, &attr, 4097, 0));
    TRY(syscall(SYS_sched_getattr, 0, &attr, 56, 1));

    puts("-- errors");
    TRY(syscall(SYS_sched_setattr, 0, NULL, 0));
    TRY(syscall(SYS_sched_setattr, 0, 16, 0));
    TRY(syscall(SYS_sched_setattr, -1, with(56, 0, 0, 0, 0), 0));
    TRY(syscall(SYS_sched_setattr, 999999999, with(56, 0, 0, 0, 0), 0));
    TRY(syscall(SYS_sched_setattr, 999999999, with(56, 77, 0, 0, 0), 0));
    TRY(syscall(SYS_sched_getattr, 0, NULL, 56, 0));
    TRY(syscall(SYS_sched_getattr, 0, 16, 56, 0));
    TRY(syscall(SYS_sched_getattr, -1, &attr, 56, 0));
    TRY(syscall(SYS_sched_getattr, 999999999, &attr, 56, 0));

    puts("-- deadlines that make no sense");
    TRY(set(with(56, SCHED_DEADLINE, 0, 0, 0)));
    with(56, SCHED_DEADLINE, 0, 0, 0)->runtime = 2000000, attr.deadline = 1000000;
    TRY(set(&attr));
    with(56, SCHED_DEADLINE, 0, 0, 0)->runtime = 100, attr.deadline = 1000000;
    TRY(set(&attr));
    with(56, SCHED_DEADLINE, 0, 0, 1)->runtime = 100000, attr.deadline = 1000000;
    TRY(set(&attr));

    puts("-- without privileges");
    struct rlimit none = {0, 0};
    MUST(setrlimit(RLIMIT_NICE, &none));
    MUST(setrlimit(RLIMIT_RTPRIO, &none));
    MUST(syscall(SYS_setresuid, 1000, 1000, 1000));
    with(56, SCHED_DEADLINE, 0, 0, 0)->runtime = 100000, attr.deadline = 1000000;
    TRY(set(&attr));
    TRY(set(with(56, SCHED_FIFO, 0, 0, 1)));
    TRY(set(with(56, SCHED_OTHER, 0, -1, 0)));
    TRY(set(with(56, SCHED_OTHER, 0, 1, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 0, 0, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 1, 1, 0))), show();
    TRY(set(with(56, SCHED_OTHER, 0, 1, 0))), show();
    return 0;
}
