//@ memory: 256
// Twenty megabytes written and read back in odd pieces.
#include "observe.h"

enum { SIZE = 20 << 20, PIECE = 77773 };

static uint32_t state = 1;

static unsigned char next(void) {
    state = state * 1664525 + 1013904223;
    return state >> 24;
}

int main(void) {
    fresh_dir("/tmp");
    static unsigned char buffer[PIECE];
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    for (long done = 0; done < SIZE;) {
        size_t len = SIZE - done < PIECE ? SIZE - done : PIECE;
        for (size_t i = 0; i < len; i++)
            buffer[i] = next();
        done += MUST(write(fd, buffer, len));
    }
    TRY(lseek(fd, 0, SEEK_END));
    MUST(lseek(fd, 0, SEEK_SET));
    state = 1;
    long wrong = 0, total = 0;
    for (ssize_t len; (len = read(fd, buffer, 50021)) > 0; total += len)
        for (ssize_t i = 0; i < len; i++)
            wrong += buffer[i] != next();
    printf("%ld bytes, %ld wrong\n", total, wrong);
    MUST(ftruncate(fd, 10000));
    TRY(lseek(fd, 0, SEEK_END));
    return 0;
}
