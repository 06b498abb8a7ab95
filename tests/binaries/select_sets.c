// The sets of select: where they end, which bits are changed, what closed and unaskable descriptors count as, and many of them.
#include "waiters.h"
#include <sys/select.h>

#define WORDS 16
#define BITS (WORDS * 64)

static struct timeval none;
static unsigned long words[3][WORDS];
static int p[2], q[2];

static void fill(unsigned long with) {
    for (int set = 0; set < 3; set++)
        for (int word = 0; word < WORDS; word++)
            words[set][word] = with;
}

static void put(int set, int fd) { words[set][fd / 64] |= 1UL << fd % 64; }

static long choose(int count, struct timeval *time) {
    return syscall(SYS_select, count, words[0], words[1], words[2], time);
}

static void show(const char *what, int set, int fd) {
    printf("  %s %d: %d\n", what, set, (int)(words[set][fd / 64] >> fd % 64 & 1));
}

static void *closer(void *unused) {
    while (!is_asleep(getpid()))
        pause_a_little();
    MUST(close(p[0]));
    MUST(write(q[1], "x", 1));
    return unused;
}

int main(void) {
    int nothing = MUST(open("/dev/null", O_RDWR));

    // Behind the table of descriptors bits are left alone, and in the last word those behind the end are cleared.
    fill(0);
    put(0, nothing);
    words[0][15] = 7;
    TRY(choose(BITS, &none));
    printf("  %d %lx\n", words[0][0] == 1UL << nothing, words[0][15]);
    fill(0);
    words[0][0] = 1UL << 63 | 1UL << 40 | 1UL << nothing;
    words[0][1] = ~0UL;
    TRY(choose(nothing + 1, &none));
    printf("  %d %lx\n", words[0][0] == 1UL << nothing, words[0][1]);
    fill(0);
    put(0, 63);
    TRY(choose(64, &none));
    printf("  %lx\n", words[0][0]);

    // What names only a place counts for every set.
    int place = MUST(open("/", O_PATH));
    fill(0);
    for (int set = 0; set < 3; set++)
        put(set, place);
    TRY(choose(64, &none));
    for (int set = 0; set < 3; set++)
        show("a place", set, place);

    // And so does what another thread closes.
    MUST(pipe(p));
    MUST(pipe(q));
    fill(0);
    put(0, p[0]);
    put(2, p[0]);
    put(0, q[0]);
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, closer, NULL));
    TRY(choose(64, NULL));
    show("closed", 0, p[0]);
    show("closed", 2, p[0]);
    show("open", 0, q[0]);
    MUST(pthread_join(thread, NULL));

    // Many, in a large table.
    for (int fd = 300; fd < 1000; fd += 7)
        MUST(dup2(fd % 2 ? nothing : q[1], fd));
    fill(0);
    for (int fd = 300; fd < 1000; fd += 7) {
        put(0, fd);
        put(1, fd);
    }
    TRY(choose(BITS, &none));
    int count = 0;
    for (int word = 0; word < WORDS; word++)
        count += __builtin_popcountl(words[0][word]) + 1000 * __builtin_popcountl(words[1][word]);
    printf("  %d\n", count);
    // Nothing but a pipe without a reader's byte: the time passes, and the sets are empty.
    char byte;
    MUST(read(q[0], &byte, 1));
    fill(0);
    MUST(dup2(q[0], 990));
    put(0, 990);
    put(0, q[0]);
    struct timeval moment = {0, 10000};
    TRY(choose(BITS, &moment));
    printf("  %lx %lx\n", words[0][990 / 64], words[0][q[0] / 64]);
    // One that is not open, behind others.
    fill(0);
    put(0, q[0]);
    put(1, nothing);
    put(0, 995);
    TRY(choose(BITS, &none));
    printf("  %lx\n", words[0][995 / 64]);
    TRY(syscall(SYS_select, 64, 16, NULL, NULL, &none));
    return 0;
}
