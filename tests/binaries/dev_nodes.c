// /dev/null, zero, full, random and urandom.
#include "observe.h"

int main(void) {
    static char buffer[100000], zero[100000];
    int null = MUST(open("/dev/null", O_RDWR)), zeros = MUST(open("/dev/zero", O_RDWR));
    int full = MUST(open("/dev/full", O_RDWR)), random = MUST(open("/dev/urandom", O_RDWR));
    TRY(read(null, buffer, 10));
    TRY(write(null, buffer, sizeof buffer));
    TRY(write(null, (void *)16, 10));
    memset(buffer, 1, sizeof buffer);
    TRY(read(zeros, buffer, sizeof buffer));
    CHECK(memcmp(buffer, zero, sizeof buffer) == 0);
    TRY(write(zeros, buffer, 1000));
    memset(buffer, 1, sizeof buffer);
    TRY(read(full, buffer, sizeof buffer));
    CHECK(memcmp(buffer, zero, sizeof buffer) == 0);
    TRY(write(full, buffer, 1));
    TRY(write(full, buffer, 0));
    TRY(read(random, buffer, sizeof buffer));
    int counts[256] = {0}, rare = 0;
    for (size_t i = 0; i < sizeof buffer; i++)
        counts[(unsigned char)buffer[i]]++;
    for (int i = 0; i < 256; i++)
        rare += counts[i] < 200 || counts[i] > 700;
    printf("bytes out of proportion: %d\n", rare);
    TRY(write(random, buffer, 100));
    int true_random = MUST(open("/dev/random", O_RDONLY));
    TRY(read(true_random, buffer, 64));
    TRY(read(zeros, (void *)16, 10));
    TRY(read(random, (void *)16, 10));
    // Half of the buffer is missing.
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(munmap(pages + 4096, 4096));
    TRY(read(zeros, pages + 4000, 200));
    TRY(read(random, pages + 4000, 200));
    // A private mapping of /dev/zero is anonymous memory, a shared one too.
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zeros, 0);
    CHECK(map != MAP_FAILED && map[5000] == 0);
    map[5000] = 1;
    map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, zeros, 0);
    CHECK(map != MAP_FAILED && map[5000] == 0);
    map[5000] = 1;
    TRY_ADDRESS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, null, 0));
    TRY(ftruncate(zeros, 10));
    TRY(pread(zeros, buffer, 10, 1l << 40));
    TRY(open("/dev/absent", O_RDWR));
    TRY(open("/dev/null/x", O_RDWR));
    TRY(open("/dev/null", O_RDWR | O_TRUNC | O_APPEND) >= 0);
    TRY(open("/dev/null", O_RDWR | O_CREAT | O_EXCL, 0600));
    return 0;
}
