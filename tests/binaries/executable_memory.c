// Code made at run time: it runs where execution is allowed, and only there.
#include "observe.h"
#include <setjmp.h>

static sigjmp_buf back;
static char *expected;

static void handler(int number, siginfo_t *info, void *context) {
    (void)context;
    printf("signal %d code %d, address as expected: %d\n", number, info->si_code, info->si_addr == expected);
    siglongjmp(back, 1);
}

static void call(const char *what, char *code) {
    expected = code;
    printf("%s: ", what);
    if (sigsetjmp(back, 1) == 0)
        printf("%d\n", ((int (*)(int))code)(20));
}

// lea eax, [rdi + rdi + 2]; ret
static const char twice[] = {0x8d, 0x44, 0x3f, 0x02, 0xc3};
// mov eax, 39 (getpid); syscall; test eax, eax; setg al; movzx eax, al; ret
static const char with_syscall[] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x85, 0xc0, 0x0f, 0x9f, 0xc0, 0x0f, 0xb6, 0xc0, 0xc3};
static char data_code[] = {0x8d, 0x44, 0x3f, 0x02, 0xc3};

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    char *area = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(area, twice, sizeof twice);
    call("writable memory", area);
    MUST(mprotect(area, 4096, PROT_READ | PROT_EXEC));
    call("executable memory", area);
    MUST(mprotect(area, 4096, PROT_READ));
    call("read-only memory", area);
    char *both = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(both, twice, sizeof twice);
    call("writable and executable memory", both);
    both[3] = 4;
    call("changed while mapped", both);
    memcpy(both, with_syscall, sizeof with_syscall);
    call("a system call in it", both);
    // A system call whose two bytes lie on two pages.
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(pages + 4096 - 6, with_syscall, sizeof with_syscall);
    call("a system call across pages", pages + 4096 - 6);
    call("static data", data_code);
    char local[sizeof twice];
    memcpy(local, twice, sizeof twice);
    call("the stack", local);
    MUST(munmap(both, 4096));
    call("unmapped memory", both);
    call("null", NULL);
    // Code from a file, private and shared.
    fresh_dir("/tmp");
    int fd = MUST(open("code", O_RDWR | O_CREAT, 0700));
    MUST(write(fd, twice, sizeof twice));
    call("a private file", mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0));
    call("a shared file", mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0));
    // The program's own text is read-only.
    expected = (char *)main;
    printf("writing text: ");
    if (sigsetjmp(back, 1) == 0)
        *(volatile char *)main = 0;
    return 0;
}
