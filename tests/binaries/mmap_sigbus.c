// Touching a mapping beyond the end of its file brings SIGBUS.
#include "observe.h"
#include <setjmp.h>

static sigjmp_buf back;
static char *expected;

static void handler(int number, siginfo_t *info, void *context) {
    (void)context;
    printf("signal %d code %d at the address: %d\n", number, info->si_code, info->si_addr == expected);
    siglongjmp(back, 1);
}

static void touch(const char *what, volatile char *address, int write_it) {
    expected = (char *)address;
    printf("%s: ", what);
    if (sigsetjmp(back, 1) == 0) {
        if (write_it)
            *address = 1;
        printf("fine, %d\n", *address);
    }
}

int main(void) {
    fresh_dir("/tmp");
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(fd, 5000));
    char *map = mmap(NULL, 5 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    touch("inside", map + 4999, 1);
    touch("in the last page", map + 6000, 0);
    touch("beyond", map + 8192, 0);
    touch("far beyond", map + 4 * 4096 + 17, 1);
    char *private = mmap(NULL, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    touch("private, read beyond", private + 8192, 0);
    touch("private, write beyond", private + 8192 + 5, 1);
    MUST(ftruncate(fd, 20000));
    touch("after growing", map + 8192, 1);
    MUST(ftruncate(fd, 100));
    touch("after shrinking", map + 4096, 0);
    touch("still inside", map + 99, 0);
    // The kernel itself meets the same page without a signal.
    TRY(write(MUST(open("/dev/null", O_WRONLY)), map + 8192, 1));
    int p[2];
    MUST(pipe(p));
    TRY(write(p[1], map + 8192, 1));
    TRY(pread(fd, map + 8192, 10, 0));
    return 0;
}
