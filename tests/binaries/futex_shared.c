//@ cpus: 1 2 4
// Which calls meet: by address, by file and offset, by shared memory.
#include "futex.h"

static word data;

// Whether a wake at one place reaches a waiter at another.
static void meet(const char *label, word *here, int wait_flag, word *there, int wake_flag) {
    struct caller caller = {.address = here, .operation = FUTEX_WAIT | wait_flag};
    start(&caller);
    until_waiters(here, wait_flag, 1);
    long woken = futex(there, FUTEX_WAKE | wake_flag, 1, NULL, NULL, 0);
    printf("%s: ", label);
    if (woken == -1)
        printf("%s\n", error_name(errno));
    else
        printf("%ld\n", woken);
    if (woken != 1)
        futex(here, FUTEX_WAKE | wait_flag, 1, NULL, NULL, 0);
    finish("waiter", &caller);
}

static word *map(int rights, int flags, int fd, long page) {
    void *memory = mmap(NULL, 4096, rights, flags, fd, page * 4096);
    if (memory == MAP_FAILED) {
        printf("no memory: %s\n", error_name(errno));
        exit(99);
    }
    return memory;
}

int main(void) {
    int both = PROT_READ | PROT_WRITE, private = FUTEX_PRIVATE_FLAG;
    fresh_dir("/tmp");
    puts("data");
    meet("shared, shared", &data, 0, &data, 0);
    meet("private, private", &data, private, &data, private);
    meet("shared, private", &data, 0, &data, private);
    meet("private, shared", &data, private, &data, 0);

    puts("shared anonymous memory");
    char *memory = mmap(NULL, 8192, both, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    word *one = (word *)memory, *next = (word *)(memory + 4096);
    word *unrelated = map(both, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    meet("same", one, 0, one, 0);
    meet("next page", one, 0, next, 0);
    meet("another", one, 0, unrelated, 0);
    meet("private", one, private, one, 0);
    // The same memory at another address as well.
    char *copy = mremap(memory, 0, 8192, MREMAP_MAYMOVE);
    if (copy == MAP_FAILED)
        printf("mremap: %s\n", error_name(errno));
    else {
        meet("elsewhere", one, 0, (word *)copy, 0);
        meet("elsewhere, private", one, private, (word *)copy, private);
    }

    puts("files");
    int fd = (int)MUST(open("file", O_RDWR | O_CREAT, 0600)), other_fd = (int)MUST(open("file", O_RDWR));
    MUST(ftruncate(fd, 8192));
    word *first = map(both, MAP_SHARED, fd, 0), *second = map(both, MAP_SHARED, other_fd, 0);
    word *later = map(both, MAP_SHARED, fd, 1), *constant = map(PROT_READ, MAP_SHARED, fd, 0);
    word *own = map(both, MAP_PRIVATE, fd, 0), *own_constant = map(PROT_READ, MAP_PRIVATE, fd, 0);
    meet("two mappings", first, 0, second, 0);
    meet("another page", first, 0, later, 0);
    meet("another word", first, 0, second + 1, 0);
    meet("read only", constant, 0, first, 0);
    meet("to read only", first, 0, constant, 0);
    meet("private mapping", own, 0, first, 0);
    meet("to private mapping", first, 0, own, 0);
    meet("private mapping itself", own, 0, own, 0);
    meet("private and read only", own_constant, 0, first, 0);
    meet("private calls", first, private, second, private);
    int file = (int)MUST(open("other", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(file, 4096));
    word *foreign = map(both, MAP_SHARED, file, 0);
    meet("another file", first, 0, foreign, 0);
    MUST(unlink("other"));
    int again = (int)MUST(open("other", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(again, 4096));
    meet("a file in its place", foreign, 0, map(both, MAP_SHARED, again, 0), 0);
    MUST(rename("file", "renamed"));
    meet("renamed", first, 0, map(both, MAP_SHARED, (int)MUST(open("renamed", O_RDWR)), 0), 0);

    puts("what cannot be");
    TRY(futex(constant, FUTEX_WAIT, 1, NULL, NULL, 0));
    TRY(futex(constant, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    TRY(futex(own_constant, FUTEX_WAIT, 1, NULL, NULL, 0));
    TRY(futex(own_constant, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    MUST(ftruncate(fd, 0));
    TRY(futex(first, FUTEX_WAIT, 0, NULL, NULL, 0));
    TRY(futex(first, FUTEX_WAKE, 1, NULL, NULL, 0));
    TRY(futex(first, FUTEX_WAKE | private, 1, NULL, NULL, 0));
    MUST(ftruncate(fd, 8192));
    TRY(futex(first, FUTEX_WAKE, 1, NULL, NULL, 0));
    MUST(munmap(foreign, 4096));
    TRY(futex(foreign, FUTEX_WAKE, 1, NULL, NULL, 0));

    puts("a mapping that goes while one waits");
    word *gone = map(both, MAP_SHARED, fd, 0), *still = map(both, MAP_SHARED, fd, 0);
    struct caller caller = {.address = gone, .operation = FUTEX_WAIT};
    start(&caller);
    until_waiters(gone, 0, 1);
    MUST(munmap(gone, 4096));
    TRY(futex(still, FUTEX_WAKE, 1, NULL, NULL, 0));
    finish("waiter", &caller);
    return 0;
}
