//@ cpus: 1 2
// System calls by function call: answers, registers that stay, interruptions. Linux has no such functions; there the program has
// its own.
#include "observe.h"
#include "vdso.h"
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

void by_syscall(void);
__asm__(".text\nby_syscall:\n\tmov %rcx, %r10\n\tsyscall\n\tret\n");

static void *const own[7] = {by_syscall, by_syscall, by_syscall, by_syscall, by_syscall, by_syscall, by_syscall};
static void *const *calls = own;

// Calls the entry for `count` arguments. Registers that a C function keeps are filled and looked at.
static long call(long count, long number, const long arguments[6]) {
    long kept = 0, answer = number;
    register void *entry __asm__("r11") = calls[count];
    register long e __asm__("r8") = arguments[4], f __asm__("r9") = arguments[5];
    long a = arguments[0], b = arguments[1], c = arguments[2], d = arguments[3];
    __asm__ volatile("sub $256, %%rsp\n\t" // past the red zone
                     "mov $0x1111, %%ebx\n\tmov $0x2222, %%r12d\n\tmov $0x3333, %%r13d\n\tmov $0x4444, %%r14d\n\t"
                     "mov $0x5555, %%r15d\n\tmovq %%r15, %%xmm15\n\tmovq %%r14, %%xmm0\n\t"
                     "call *%[entry]\n\t"
                     "movq %%xmm15, %%rdi\n\tmovq %%xmm0, %%rsi\n\tadd $256, %%rsp\n\t"
                     "lea (%%rbx, %%r12), %%rdx\n\tadd %%r13, %%rdx\n\tadd %%r14, %%rdx\n\tadd %%r15, %%rdx\n\t"
                     "add %%rdi, %%rdx\n\tadd %%rsi, %%rdx\n\t"
                     : "+a"(answer), "+D"(a), "+S"(b), "+d"(c), "+c"(d), "+r"(e), "+r"(f), [entry] "+r"(entry)
                     :
                     : "rbx", "r10", "r12", "r13", "r14", "r15", "xmm0", "xmm15", "cc", "memory");
    kept = c;
    EXPECT(kept == 0x1111 + 0x2222 + 0x3333 + 2 * 0x4444 + 2 * 0x5555);
    return answer;
}

#define CALL(count, number, ...) call(count, number, (long[6]){__VA_ARGS__})

static volatile int handled;

static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    unsigned long at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    EXPECT(at < 1UL << 47);
    handled++;
}

static int ends[2];

static void *write_later(void *unused) {
    (void)unused;
    usleep(60000);
    MUST(write(ends[1], "x", 1));
    return NULL;
}

static void interrupt(const char *what, int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    pthread_t writer;
    char byte = 0;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigaction(SIGALRM, &action, NULL);
    handled = 0;
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    MUST(-pthread_create(&writer, NULL, write_later, NULL));
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    long answer = CALL(3, SYS_read, ends[0], (long)&byte, 1);
    setitimer(ITIMER_REAL, &never, NULL);
    pthread_join(writer, NULL);
    if (answer < 0)
        MUST(read(ends[0], &byte, 1));
    printf("%s: %ld, %s\n", what, answer, handled ? "handled" : "not handled");
}

// Computes by calls alone while signals come.
static void storm(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    long own = getpid();
    for (int i = 0; i < 100000; i++)
        EXPECT(CALL(0, SYS_getpid, 0) == own);
    setitimer(ITIMER_REAL, &never, NULL);
}

int main(void) {
    void *const *(*table)(void) = vdso_version_function("__nacre_calls", "NACRE_1");
    if (table && table())
        calls = table();
    CHECK((access("/proc/nacre", F_OK) == 0) == (calls != own));
    CHECK(CALL(0, SYS_getppid, 0) == getppid());
    CHECK(CALL(1, SYS_close, 1000) == -EBADF);
    printf("dup2: %ld\n", CALL(2, SYS_dup2, 1, 20));
    printf("write: %ld\n", CALL(3, SYS_write, 20, (long)"", 0));
    long area = CALL(6, SYS_mmap, 0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area > 0);
    memset((void *)area, 7, 8192);
    CHECK(CALL(5, SYS_mremap, area, 8192, 4096, 0, 0) == area);
    CHECK(CALL(2, SYS_munmap, area, 8192) == 0);
    MUST(pipe(ends));
    printf("pread64 from a pipe: %ld\n", CALL(4, SYS_pread64, ends[0], (long)&area, 1, 0));
    printf("a bad pointer: %ld\n", CALL(3, SYS_write, ends[1], 16, 1));
    printf("no such call: %ld\n", CALL(6, 100000, 1, 2, 3, 4, 5, 6));
    interrupt("interrupted, restarted", SA_RESTART);
    interrupt("interrupted", 0);
    storm();
    return 0;
}
