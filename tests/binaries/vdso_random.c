//@ cpus: 1 2
// getrandom by the vDSO: how states are described, mapped and used, and what is refused.
#include "observe.h"
#include "vdso.h"
#include <pthread.h>
#include <stdint.h>

struct parameters {
    uint32_t len, protection, flags, reserved[13];
};

static long (*get_random)(void *, size_t, unsigned, void *, size_t);
static struct parameters parameters;

static void *draw(void *unused) {
    (void)unused;
    static unsigned char zeros[64];
    char *state = mmap(NULL, 4096, parameters.protection, parameters.flags, -1, 0);
    EXPECT(state != MAP_FAILED);
    unsigned char last[64] = {0}, bytes[64];
    for (int i = 0; i < 2000; i++) {
        EXPECT(get_random(bytes, sizeof bytes, 0, state, parameters.len) == sizeof bytes);
        EXPECT(memcmp(bytes, last, sizeof bytes) && memcmp(bytes, zeros, sizeof bytes));
        memcpy(last, bytes, sizeof bytes);
        // As when the kernel takes the page.
        if (i % 100 == 99)
            MUST(madvise(state, 4096, MADV_DONTNEED));
    }
    munmap(state, 4096);
    return NULL;
}

int main(void) {
    get_random = vdso_function("__vdso_getrandom");
    memset(&parameters, 0xff, sizeof parameters);
    printf("asked: %ld\n", get_random(NULL, 0, 0, &parameters, ~0UL));
    EXPECT(parameters.len >= 32 && parameters.len <= 4096);
    printf("protection %u, flags %#x\n", parameters.protection, parameters.flags);
    for (int i = 0; i < 13; i++)
        EXPECT(parameters.reserved[i] == 0);

    char *state = mmap(NULL, 8192, parameters.protection, parameters.flags, -1, 0);
    EXPECT(state != MAP_FAILED);
    static unsigned char bytes[70000];
    int bits = 0;
    printf("70000 bytes: %ld\n", get_random(bytes, sizeof bytes, 0, state, parameters.len));
    for (size_t i = 0; i < sizeof bytes; i++)
        bits += __builtin_popcount(bytes[i]);
    EXPECT(bits > 278000 && bits < 282000);
    for (unsigned flags = 0; flags <= 8; flags++)
        printf("flags %u: %ld\n", flags, get_random(bytes, 16, flags, state, parameters.len));
    printf("nothing: %ld\n", get_random(NULL, 0, 0, state, parameters.len));
    printf("another length: %ld\n", get_random(bytes, 300, 0, state, parameters.len + 1));
    printf("a length without a question: %ld\n", get_random(bytes, 1, 0, &parameters, ~0UL));
    printf("across pages: %ld\n", get_random(bytes, 16, 0, state + 4096 - 16, parameters.len));
    printf("the last place of a page: %ld\n", get_random(bytes, 16, 0, state + 4096 - parameters.len, parameters.len));

    // Memory that may vanish.
    errno = 0;
    TRY(mlock(state, 4096));
    TRY(madvise(state, 4096, MADV_KEEPONFORK));
    TRY(madvise(state, 4096, MADV_WIPEONFORK));
    TRY(madvise(state, 4096, MADV_DODUMP));
    TRY(madvise(state, 4096, MADV_DONTDUMP));
    TRY(madvise(state, 4096, MADV_DONTFORK));
    int droppable = parameters.flags;
    int more[] = {MAP_LOCKED, MAP_HUGETLB, MAP_GROWSDOWN, MAP_POPULATE, MAP_SHARED, MAP_PRIVATE, MAP_NORESERVE};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        void *area = mmap(NULL, 4096, 3, droppable | more[i], -1, 0);
        printf("with %#x: %s\n", more[i], area == MAP_FAILED ? strerror(errno) : "fine");
    }
    fresh_dir("/tmp");
    put_file("mapped", "x");
    int fd = MUST(open("mapped", O_RDWR));
    void *area = mmap(NULL, 4096, 3, droppable & ~MAP_ANONYMOUS, fd, 0);
    printf("a file: %s\n", area == MAP_FAILED ? strerror(errno) : "fine");

    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        MUST(-pthread_create(&threads[i], NULL, draw, NULL));
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
