// A timer's signal at every instruction of a system call, made in each way there is.
//
// To be run with the emulator counting instructions: a timer then fires at an exact one. A loop delays the call instruction by instruction,
// so that the timer meets each of it in turn; how long the loop has to be is measured first. What is checked: every signal
// comes, and at once; it finds the program in its own code, or that of the vDSO; and the call changes no register that it should not,
// also vectors.
//
// The last ways have a gs base of their own, which leads everybody another way in: it is set when they begin.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "../binaries/vdso.h"

#define DELAY_ARMED_NS 30000
#define DELAY_MAX 60000
#define BEFORE 8        // So many instructions of the loop are met as well.
#define PASSED_MAX 4    // Once the timer fired so often behind a call, it has met all of it.
#define STEPS_MAX 20000 // No call has as many instructions.
#define ROUNDS 2        // Where the timer's own work is a little longer or shorter, an instruction is left out.
#define VDSO_BYTES 8192

struct state {
    uint64_t general[16]; // As the instructions number them; rsp is not used.
    unsigned char vector[16][16];
};

volatile int handled;
void *const *calls; // The C entries, by their number of arguments.
int self, gs_block[16];
static volatile int raised;
static volatile long strangers, masks;
static volatile uint64_t rest, met;
static uint64_t vdso;
static const struct way *way;
extern char __executable_start[], etext[];

// delayed_NAME(before, after, delay): loads all registers, waits, makes the call, stores them, waits for the handler. What it stores as
// rax is the answer of the call, plus how much rcx, r11 and the flags differ from what they should be, as far as anybody reads them.
#define FUNCTION(name, call)                                                                                           \
    ".globl delayed_" name ", behind_" name "\n.type delayed_" name ", @function\n"                                      \
    "delayed_" name ":\n"                                                                                              \
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"                                               \
    "push %rsi\n"                                                                                                      \
    "mov %rdx, %rcx\n"                                                                                                 \
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"                                                                  \
    "  movdqu 128+16*\\n(%rdi), %xmm\\n\n"                                                                             \
    ".endr\n"                                                                                                          \
    "mov 24(%rdi), %rbx; mov 16(%rdi), %rdx; mov 48(%rdi), %rsi; mov 40(%rdi), %rbp\n"                                 \
    "mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10\n"                                                       \
    "mov 96(%rdi), %r12; mov 104(%rdi), %r13; mov 112(%rdi), %r14; mov 120(%rdi), %r15; mov 56(%rdi), %rdi\n"          \
    "test $1, %cl; jz 7f; nop; 7: shr %rcx; 4: dec %rcx; jnz 4b\n" call "\n"                                           \
    "behind_" name ":\n"                                                                                               \
    "mov %rsi, %r11; mov (%rsp), %rsi\n"                                                                               \
    "mov %rax, (%rsi); mov %rbx, 24(%rsi); mov %rdx, 16(%rsi); mov %r11, 48(%rsi); mov %rbp, 40(%rsi)\n"               \
    "mov %r8, 64(%rsi); mov %r9, 72(%rsi); mov %r10, 80(%rsi); mov %rdi, 56(%rsi)\n"                                   \
    "mov %r12, 96(%rsi); mov %r13, 104(%rsi); mov %r14, 112(%rsi); mov %r15, 120(%rsi)\n"                              \
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"                                                                  \
    "  movdqu %xmm\\n, 128+16*\\n(%rsi)\n"                                                                             \
    ".endr\n"                                                                                                          \
    "mov $100000, %eax\n"                                                                                              \
    "8: cmpl $0, handled(%rip); jne 9f; dec %eax; jnz 8b\n"                                                            \
    "9: pop %rsi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"                                   \
    ".size delayed_" name ", .-delayed_" name "\n"

#define DIFFERENCE "lea 5b(%rip), %r11; sub %r11, %rcx; add %rcx, %rax"
#define PLAIN(number) "mov $" number ", %eax; syscall; 5: xor %r11d, %r11d; " DIFFERENCE
#define TRAPPED(number) "mov $" number ", %eax; jmp 6f; 6: syscall; 5: jmp 6f; 6: " DIFFERENCE
#define CALLED(number, arguments) "mov $" number ", %eax; mov calls(%rip), %r11; call *8*" #arguments "(%r11)"
#define GETPPID "110"
#define ABSENT "100000"
// -ENOSYS becomes 0.
#define IS_ABSENT "; add $38, %rax"

__asm__(".text\n"
        // Nothing reads the flags or r11.
        FUNCTION("plain", PLAIN(GETPPID))
        // Something does: the carry has to come through, and r11 is the flags.
        FUNCTION("full", "stc; mov $110, %eax; syscall; 5: adc $-1, %rax; and $0x301, %r11d; sub $0x201, %r11d; add %r11, %rax;"
                         DIFFERENCE)
        // No room to rewrite.
        FUNCTION("trapped", TRAPPED(GETPPID))
        // The call and what follows are in the stub.
        FUNCTION("within", "mov $110, %eax; test %edx, %edx; js 6f; mov %rax, %rax; 6: syscall; 5: xor %r11d, %r11d;" DIFFERENCE)
        // The kernel must not run with this flag, and the program must find it again.
        FUNCTION("direction", "std; mov $110, %eax; syscall; 5: pushfq; cld; pop %r11; and $0x400, %r11d; sub $0x400, %r11d;"
                              "add %r11, %rax;" DIFFERENCE)
        FUNCTION("plain_absent", PLAIN(ABSENT) IS_ABSENT)
        FUNCTION("trapped_absent", TRAPPED(ABSENT) IS_ABSENT)
        // A function of the kernel; one for each number of arguments.
        FUNCTION("called_0", CALLED(GETPPID, 0))
        FUNCTION("called_1", CALLED(GETPPID, 1))
        FUNCTION("called_2", CALLED(GETPPID, 2))
        FUNCTION("called_3", CALLED(GETPPID, 3))
        FUNCTION("called_4", CALLED(GETPPID, 4))
        FUNCTION("called_5", CALLED(GETPPID, 5))
        FUNCTION("called_6", CALLED(GETPPID, 6))
        FUNCTION("called_absent", CALLED(ABSENT, 0) IS_ABSENT)
        // tgkill: a signal is there already when the call ends, which takes the slow way out.
        FUNCTION("called_raising", "mov self(%rip), %edi; mov %edi, %esi; mov $12, %edx;" CALLED("234", 3))
        // The same code, with a gs base.
        FUNCTION("gs_plain", PLAIN(GETPPID))
        FUNCTION("gs_trapped", TRAPPED(GETPPID))
        FUNCTION("gs_absent", TRAPPED(ABSENT) IS_ABSENT)
        FUNCTION("gs_called", CALLED(GETPPID, 0)));

typedef void function(const struct state *before, struct state *after, uint64_t delay);

// What a way changes: C lets a function use these registers.
enum changes { BY_SYSCALL = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 11, BY_CALL = BY_SYSCALL | 1 << 2 | 1 << 6 | 1 << 7 | 0xf00 };

#define EACH(DO)                                                                                                          \
    DO(plain, BY_SYSCALL) DO(full, BY_SYSCALL) DO(trapped, BY_SYSCALL) DO(within, BY_SYSCALL) DO(direction, BY_SYSCALL)   \
    DO(plain_absent, BY_SYSCALL) DO(trapped_absent, BY_SYSCALL) DO(called_0, BY_CALL) DO(called_1, BY_CALL)               \
    DO(called_2, BY_CALL) DO(called_3, BY_CALL) DO(called_4, BY_CALL) DO(called_5, BY_CALL) DO(called_6, BY_CALL)         \
    DO(called_absent, BY_CALL) DO(called_raising, BY_CALL) DO(gs_plain, BY_SYSCALL)       \
    DO(gs_trapped, BY_SYSCALL) DO(gs_absent, BY_SYSCALL) DO(gs_called, BY_CALL)
#define DECLARE(name, changes) function delayed_##name; extern char behind_##name[];
EACH(DECLARE)
static const struct way {
    const char *name;
    function *call;
    char *behind;
    enum changes changes;
} ways[] = {
#define ROW(name, changes) {#name, delayed_##name, behind_##name, changes},
    EACH(ROW)};

static void count(int number) {
    (void)number;
    raised++;
}

static void handler(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    ucontext_t *user = context;
    uint64_t rip = user->uc_mcontext.gregs[REG_RIP];
    rest = user->uc_mcontext.gregs[REG_RCX];
    met = rip;
    if ((rip < (uint64_t)__executable_start || rip >= (uint64_t)etext) && (way->changes != BY_CALL || rip - vdso >= VDSO_BYTES))
        strangers++;
    masks += sigismember(&user->uc_sigmask, SIGUSR1) != 1 || sigismember(&user->uc_sigmask, SIGALRM) != 0;
    handled++;
}

static timer_t timer;
static int lost, twice, wrong;

// One call, met by the timer after a fixed time.
static void once(uint64_t delay) {
    static struct state before, after;
    for (int i = 0; i < 16; i++) {
        before.general[i] = 0x0101010101010101ul * (i + 1) ^ 0x8000000000000000ul;
        memset(before.vector[i], 0xa0 + i, 16);
    }
    memset(&after, 0, sizeof after);
    handled = raised = 0;
    struct itimerspec soon = {.it_value.tv_nsec = DELAY_ARMED_NS};
    if (timer_settime(timer, 0, &soon, NULL))
        abort();
    way->call(&before, &after, delay);
    lost += handled == 0;
    twice += handled > 1;
    for (int i = 0; i < 16; i++)
        if (!(way->changes >> i & 1) && before.general[i] != after.general[i])
            wrong++;
    // getppid is 0 here, and every way makes 0 of what it should find.
    wrong += after.general[0] != 0 || memcmp(before.vector, after.vector, sizeof before.vector) != 0;
    wrong += raised != (strstr(way->name, "raising") != NULL);
}

// The calls from one that the timer just does not reach to one that it finds done.
static void all(void) {
    // The timer fires in the loop: the count that is left says when. Two instructions each.
    once(2 * DELAY_MAX);
    uint64_t delay = 2 * (DELAY_MAX - rest) + BEFORE;
    for (int passed = 0, steps = 0; passed < PASSED_MAX && steps < STEPS_MAX; steps++) {
        once(delay--);
        passed += met > (uint64_t)way->behind && met < (uint64_t)etext;
    }
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO}, counting = {.sa_handler = count};
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    // Both signals are shown the call, one after the other.
    sigaddset(&counting.sa_mask, SIGALRM);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    if (sigaction(SIGALRM, &action, NULL) || sigaction(SIGUSR2, &counting, NULL) || sigprocmask(SIG_SETMASK, &blocked, NULL) ||
        timer_create(CLOCK_MONOTONIC, &event, &timer) || getppid() != 0)
        return 2;
    void *const *(*table)(void) = (void *const *(*)(void))vdso_function_of("NACRE_1", "__nacre_calls");
    if (!table)
        return 3;
    calls = table(), vdso = getauxval(AT_SYSINFO_EHDR), self = getpid();
    for (way = ways; way < ways + sizeof ways / sizeof *ways; way++) {
        if (!strncmp(way->name, "gs_", 3) && syscall(SYS_arch_prctl, 0x1001 /* ARCH_SET_GS */, gs_block))
            return 4;
        for (int round = 0; round < ROUNDS; round++)
            all();
        printf("%s: lost %d, twice %d, registers changed %d, strange places %ld, masks %ld\n", way->name, lost, twice, wrong,
               strangers, masks);
    }
    return 0;
}
