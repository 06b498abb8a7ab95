//@ cpus: 1 2 4
// Affinity: sizes of masks, empty ones, other threads, and that a thread stays where it may be.
#include "observe.h"
#include <pthread.h>
#include <sched.h>

static unsigned long all[16], mask[16];
static long size;

static long get(int pid) {
    memset(mask, 0, sizeof mask);
    return syscall(SYS_sched_getaffinity, pid, sizeof mask, mask);
}

static long set(int pid, size_t len, const void *cpus) {
    return syscall(SYS_sched_setaffinity, pid, len, cpus);
}

static int is(const unsigned long *expected) {
    get(0);
    return memcmp(mask, expected, sizeof mask) == 0;
}

static unsigned here(void) {
    unsigned cpu = -1;
    syscall(SYS_getcpu, &cpu, NULL, NULL);
    return cpu;
}

static unsigned long only[16];

static void *inheriting(void *unused) {
    CHECK(is(only));
    CHECK(set(0, sizeof all, all) == 0 && is(all));
    return unused;
}

static int ready[2], go[2];
static volatile int other_tid;

static void *other(void *unused) {
    char byte;
    other_tid = (int)syscall(SYS_gettid);
    MUST(write(ready[1], "x", 1));
    MUST(read(go[0], &byte, 1));
    CHECK(is(only));
    CHECK(only[here() / 64] >> here() % 64 & 1);
    return unused;
}

int main(void) {
    unsigned long full[128];
    memset(full, 0xff, sizeof full);
    // The caller may have confined the program.
    CHECK(set(0, sizeof full, full) == 0);
    size = get(0);
    memcpy(all, mask, sizeof all);
    CHECK(size > 0 && size % 8 == 0);

    puts("-- every CPU in turn");
    int stays = 1;
    for (unsigned cpu = 0; cpu < 1024; cpu++) {
        if (!(all[cpu / 64] >> cpu % 64 & 1))
            continue;
        memset(only, 0, sizeof only);
        only[cpu / 64] = 1ul << cpu % 64;
        MUST(set(0, sizeof only, only));
        stays = stays && is(only);
        for (int i = 0; i < 100; i++) {
            stays = stays && here() == cpu;
            sched_yield();
        }
    }
    CHECK(stays);
    // `only` is the last CPU there is.
    pthread_t thread;
    pthread_create(&thread, NULL, inheriting, NULL);
    pthread_join(thread, NULL);
    CHECK(is(only));

    puts("-- more than there are");
    TRY(set(0, sizeof full, full));
    CHECK(is(all));
    TRY(set(0, size, full));
    CHECK(is(all));
    // What a longer mask has beyond that is not looked at: it may not even be there.
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    memset(page, 0xff, 4096);
    CHECK(set(0, 100000, page + 4096 - size) == 0);
    CHECK(set(0, size, page + 4096 - size + 1) == -1 && errno == EFAULT);
    // A short mask stands for one with zeroes after it.
    unsigned char low[8] = {0};
    for (int cpu = 0; cpu < 8; cpu++)
        low[0] |= (all[0] >> cpu & 1) << cpu;
    CHECK(low[0] == 0 || set(0, 1, low) == 0);
    get(0);
    CHECK(low[0] == 0 || mask[0] == low[0]);
    MUST(set(0, sizeof all, all));

    puts("-- nothing left");
    unsigned long none[16] = {0};
    TRY(set(0, sizeof none, none));
    TRY(set(0, 0, all));
    TRY(set(0, 0, NULL));
    CHECK(is(all));

    puts("-- errors");
    TRY(set(0, sizeof all, NULL));
    TRY(set(0, sizeof all, (void *)16));
    TRY(set(999999999, sizeof all, (void *)16));
    TRY(set(999999999, sizeof all, all));
    TRY(set(-1, sizeof all, all));
    TRY(syscall(SYS_sched_getaffinity, 0, 0, mask));
    TRY(syscall(SYS_sched_getaffinity, 0, 3, mask));
    TRY(syscall(SYS_sched_getaffinity, 0, sizeof mask + 4, mask));
    TRY(syscall(SYS_sched_getaffinity, -1, sizeof mask, mask));
    TRY(syscall(SYS_sched_getaffinity, 999999999, sizeof mask, mask));
    TRY(syscall(SYS_sched_getaffinity, 0, sizeof mask, 16));
    CHECK(get(getpid()) == size);

    puts("-- another thread");
    char byte;
    MUST(pipe(ready));
    MUST(pipe(go));
    pthread_create(&thread, NULL, other, NULL);
    MUST(read(ready[0], &byte, 1));
    CHECK(get(other_tid) == size && memcmp(mask, all, sizeof all) == 0);
    CHECK(set(other_tid, sizeof only, only) == 0);
    CHECK(is(all));
    MUST(write(go[1], "x", 1));
    pthread_join(thread, NULL);

    puts("-- another user's");
    MUST(syscall(SYS_setresuid, 1000, 1000, 1000));
    CHECK(set(0, sizeof only, only) == 0 && is(only));
    CHECK(get(getppid()) == size || getppid() == 0);
    return 0;
}
