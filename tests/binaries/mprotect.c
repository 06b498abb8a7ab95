// mprotect: rights change page by page, and errors.
#include "observe.h"
#include <setjmp.h>

static sigjmp_buf back;
static char *expected;

static void handler(int number, siginfo_t *info, void *context) {
    (void)context;
    printf("signal %d code %d, address as expected: %d\n", number, info->si_code, info->si_addr == expected);
    siglongjmp(back, 1);
}

static void touch(const char *what, volatile char *address, int write_it) {
    expected = (char *)address;
    printf("%s: ", what);
    if (sigsetjmp(back, 1) == 0) {
        if (write_it)
            *address = 42;
        printf("%d\n", *address);
    }
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    char *area = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 8; i++)
        area[i * 4096] = i + 1;
    TRY(mprotect(area + 4096, 8192, PROT_READ));
    touch("read a read-only page", area + 4096, 0);
    touch("write a read-only page", area + 4096 + 7, 1);
    touch("write its neighbour", area, 1);
    TRY(mprotect(area + 4096, 4096, PROT_NONE));
    touch("read a page without rights", area + 4096, 0);
    TRY(mprotect(area + 4096, 4096, PROT_READ | PROT_WRITE));
    touch("read it again", area + 4096, 0);
    touch("write it again", area + 4096, 1);
    TRY(mprotect(area + 3 * 4096, 4096, PROT_WRITE));
    touch("read a write-only page", area + 3 * 4096, 0);
    // A page never touched.
    char *fresh = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    touch("untouched, no rights", fresh, 0);
    TRY(mprotect(fresh, 100, PROT_READ));
    touch("untouched, readable", fresh, 0);
    touch("then written", fresh, 1);
    TRY(mprotect(fresh, 4096, PROT_READ | PROT_WRITE));
    touch("writable after a read", fresh, 1);
    TRY(syscall(SYS_mprotect, area + 1, 4096, PROT_READ));
    TRY(mprotect(area, 0, PROT_READ));
    TRY(syscall(SYS_mprotect, area, -4096l, PROT_READ));
    TRY(mprotect((void *)0x10000, 4096, PROT_READ));
    TRY(syscall(SYS_mprotect, area, 4096, 0x100));
    // Up to a hole the change is made, then it fails.
    MUST(munmap(area + 5 * 4096, 4096));
    TRY(mprotect(area + 4 * 4096, 3 * 4096, PROT_NONE));
    touch("before the hole", area + 4 * 4096, 0);
    touch("after the hole", area + 6 * 4096, 0);
    touch("the hole", area + 5 * 4096, 0);
    // A shared mapping of a file opened for reading never becomes writable; a private one does.
    fresh_dir("/tmp");
    put_file("file", "text");
    int fd = MUST(open("file", O_RDONLY));
    char *shared = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    TRY(mprotect(shared, 4096, PROT_READ | PROT_WRITE));
    TRY(mprotect(private, 4096, PROT_READ | PROT_WRITE));
    touch("private copy", private, 1);
    show_file("file");
    return 0;
}
