// Asking for more memory than any machine has fails with ENOMEM and harms nothing.
#include "observe.h"
#include <sys/resource.h>

int main(void) {
    TRY_ADDRESS(mmap(NULL, 100ul << 40, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHECK(malloc(1ul << 46) == NULL);
    struct rlimit limit = {64 << 20, RLIM_INFINITY};
    MUST(setrlimit(RLIMIT_AS, &limit));
    TRY_ADDRESS(mmap(NULL, 128 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    TRY_ADDRESS(mmap(NULL, 128 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    char *part = TRY_ADDRESS(mmap(NULL, 32 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    TRY_ADDRESS(mremap(part, 32 << 20, 128 << 20, MREMAP_MAYMOVE));
    int count = 0;
    while (malloc(1 << 20))
        count++;
    printf("malloc gave up: %d\n", count > 20 && count < 40);
    limit.rlim_cur = RLIM_INFINITY;
    MUST(setrlimit(RLIMIT_AS, &limit));
    CHECK(malloc(1 << 20) != NULL);
    return 0;
}
