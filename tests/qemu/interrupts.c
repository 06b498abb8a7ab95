// A timer's signal at every instruction of a system call, made in each way there is.
//
// To be run with the emulator counting instructions: a timer then fires at an exact one. A loop delays the call instruction by instruction,
// so that the timer meets each of it in turn; how long the loop has to be is measured first. What is checked: every signal
// comes, and at once; it finds the program in its own code; and the call changes no register that it should not, also vectors.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define WINDOW 160 // Instructions of a call, and some more.
#define DELAY_ARMED_NS 30000
#define DELAY_MAX 60000

struct state {
    uint64_t general[16]; // As the instructions number them; rsp is not used.
    unsigned char vector[16][16];
};

volatile int handled;
static volatile long strangers, masks;
static volatile uint64_t rest;
extern char __executable_start[], etext[];

// delayed_NAME(before, after, delay): loads all registers, waits, makes the call, stores them, waits for the handler. What it stores as
// rax is the answer of the call, plus how much rcx, r11 and the flags differ from what they should be, as far as anybody reads them.
#define FUNCTION(name, call)                                                                                           \
    ".globl delayed_" name "\n.type delayed_" name ", @function\n"                                                       \
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
    "test $1, %cl; jz 7f; nop; 7: shr %rcx; 4: dec %rcx; jnz 4b\n" call                                                \
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

__asm__(".text\n"
        // Nothing reads the flags or r11.
        FUNCTION("plain", "mov $110, %eax; syscall; 5: xor %r11d, %r11d; lea 5b(%rip), %r11; sub %r11, %rcx; add %rcx, %rax\n")
        // Something does: the carry has to come through, and r11 is the flags.
        FUNCTION("full", "stc; mov $110, %eax; syscall; 5: adc $-1, %rax; and $0x301, %r11d; sub $0x201, %r11d; add %r11, %rax;"
                         "lea 5b(%rip), %r11; sub %r11, %rcx; add %rcx, %rax\n")
        // No room to rewrite.
        FUNCTION("trapped", "mov $110, %eax; jmp 6f; 6: syscall; 5: jmp 6f; 6: lea 5b(%rip), %r11; sub %r11, %rcx; add %rcx, %rax\n")
        // The call and what follows are in the stub.
        FUNCTION("within", "mov $110, %eax; test %edx, %edx; js 6f; mov %rax, %rax; 6: syscall; 5: xor %r11d, %r11d; lea 5b(%rip), %r11;"
                           "sub %r11, %rcx; add %rcx, %rax\n"));

typedef void function(const struct state *before, struct state *after, uint64_t delay);
#define EACH(DO) DO(plain) DO(full) DO(trapped) DO(within)
#define DECLARE(name) function delayed_##name;
EACH(DECLARE)
static const struct {
    const char *name;
    function *call;
} ways[] = {
#define ROW(name) {#name, delayed_##name},
    EACH(ROW)};

static void handler(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    ucontext_t *user = context;
    uint64_t rip = user->uc_mcontext.gregs[REG_RIP];
    rest = user->uc_mcontext.gregs[REG_RCX];
    strangers += rip < (uint64_t)__executable_start || rip >= (uint64_t)etext;
    masks += sigismember(&user->uc_sigmask, SIGUSR1) != 1 || sigismember(&user->uc_sigmask, SIGALRM) != 0;
    handled++;
}

static timer_t timer;
static int lost, twice, wrong;

// One call, met by the timer after a fixed time.
static void once(function *call, uint64_t delay) {
    static struct state before, after;
    for (int i = 0; i < 16; i++) {
        before.general[i] = 0x0101010101010101ul * (i + 1) ^ 0x8000000000000000ul;
        memset(before.vector[i], 0xa0 + i, 16);
    }
    memset(&after, 0, sizeof after);
    handled = 0;
    struct itimerspec soon = {.it_value.tv_nsec = DELAY_ARMED_NS};
    if (timer_settime(timer, 0, &soon, NULL))
        abort();
    call(&before, &after, delay);
    lost += handled == 0;
    twice += handled > 1;
    // Only rax, rcx and r11 may change, of those that are kept; getppid is 0 here.
    for (int i = 2; i < 16; i++)
        if (i != 4 && i != 11 && before.general[i] != after.general[i])
            wrong++;
    wrong += after.general[0] != 0 || memcmp(before.vector, after.vector, sizeof before.vector) != 0;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    if (sigaction(SIGALRM, &action, NULL) || sigprocmask(SIG_SETMASK, &blocked, NULL) ||
        timer_create(CLOCK_MONOTONIC, &event, &timer) || getppid() != 0)
        return 2;
    for (unsigned way = 0; way < sizeof ways / sizeof *ways; way++) {
        for (int round = 0; round < 4; round++) {
            // The timer fires in the loop: the count that is left says when. Two instructions each.
            once(ways[way].call, 2 * DELAY_MAX);
            uint64_t reached = 2 * (DELAY_MAX - rest);
            for (uint64_t delay = reached - WINDOW; delay < reached + 20; delay++)
                once(ways[way].call, delay);
        }
        printf("%s: lost %d, twice %d, registers changed %d, strange places %ld, masks %ld\n", ways[way].name, lost, twice, wrong,
               strangers, masks);
    }
    return 0;
}
