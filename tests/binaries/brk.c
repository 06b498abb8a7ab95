//@ static-pie
// brk: the heap grows, shrinks, and comes back as zeros.
#include "observe.h"
#include <sys/resource.h>

static char *heap(void *end) {
    return (char *)syscall(SYS_brk, end);
}

int main(void) {
    char *start = heap(NULL);
    CHECK((uintptr_t)start % 4096 == 0);
    CHECK(heap(start + 100000) == start + 100000);
    int zeros = 1;
    for (int i = 0; i < 100000; i++)
        zeros &= start[i] == 0;
    CHECK(zeros);
    memset(start, 1, 100000);
    CHECK(heap(start + 5000) == start + 5000);
    // The page that is partly below the end stays.
    CHECK(start[4999] == 1 && start[8000] == 1);
    CHECK(heap(start + 100000) == start + 100000);
    CHECK(start[4999] == 1 && start[8191] == 1 && start[8192] == 0);
    CHECK(heap(start) == start);
    CHECK(heap(start - 4096) == start);
    CHECK(heap((void *)-1) == start);
    CHECK(heap((void *)0x700000000000) == start);
    CHECK(heap(start + (16 << 20)) == start + (16 << 20));
    for (int i = 0; i < 16 << 20; i += 4096)
        start[i] = i >> 12;
    int sum = 0;
    for (int i = 0; i < 16 << 20; i += 4096)
        sum += start[i];
    printf("sum %d\n", sum);
    CHECK(heap(start) == start);
    // Something in the way.
    void *blocking = mmap(start + 8192, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(blocking == start + 8192);
    CHECK(heap(start + 20000) == start);
    CHECK(heap(start + 4096) == start + 4096);
    struct rlimit limit = {4096, RLIM_INFINITY};
    MUST(munmap(blocking, 4096));
    MUST(setrlimit(RLIMIT_DATA, &limit));
    CHECK(heap(start + (1 << 20)) == start + 4096);
    limit.rlim_cur = RLIM_INFINITY;
    MUST(setrlimit(RLIMIT_DATA, &limit));
    CHECK(heap(start + (1 << 20)) == start + (1 << 20));
    return 0;
}
