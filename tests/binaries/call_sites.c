//@ run:
//@ run: gs
//@ static-pie
//@ trapped
// Functions around a system call in the shapes that are rewritten, and some that are not: what they compute, and where the program is seen
// to be when it is stepped through them, gets a signal at each instruction, faults in them, or is left to run on from any of them.
#include "observe.h"
#include <setjmp.h>
#include <sys/time.h>
#include <ucontext.h>

#define NUMBER 110 // getppid

// Functions by their symbols, which is how the image builder knows that they are code.
#define SITE(name, ...) \
    ".globl " name "\n.type " name ", @function\n" name ": " __VA_ARGS__ "\n" name "_end: nop\n.size " name ", .-" name "\n"
__asm__(".text\n"
        // The number right before the call.
        SITE("plain", "mov $110, %eax; syscall; ret;")
        SITE("moves", "mov %rdi, %r8; mov %r8, %r9; mov %esi, %eax; syscall; add %r9, %rax; ret;")
        // An instruction that begins at the second, third, fourth byte.
        SITE("second", "mov %esi, %eax; mov %edi, %r9d; xor %r10d, %r10d; syscall; add %r9, %rax; ret;")
        SITE("third", "mov %rdi, %r9; mov %esi, %eax; syscall; add %r9, %rax; ret;")
        SITE("fourth", "lea 1(%rdi), %r9; mov %esi, %eax; syscall; add %r9, %rax; ret;")
        // A branch leads to the call itself.
        SITE("joined", "mov %esi, %eax; test %edi, %edi; js 1f; mov %rdi, %r9; 1: syscall; lea 2(%rax, %rdi), %rax; inc %rax; ret;")
        // Something reads what the call leaves in the flags, in r11, in rcx.
        SITE("flags", "stc; mov $110, %eax; syscall; adc %rdi, %rax; ret;")
        SITE("r11", "mov $110, %eax; syscall; mov %r11, (%rdx); add %rdi, %rax; ret;")
        SITE("rcx", "mov $110, %eax; syscall; 2: lea 2b(%rip), %r8; sub %r8, %rcx; add %rcx, %rax; add %rdi, %rax; ret;")
        SITE("direction", "std; mov $110, %eax; syscall; pushf; pop %rcx; cld; and $0x400, %ecx; add %rcx, %rax; ret;")
        // Memory: the red zone, the number itself.
        SITE("red_zone", "mov %rdi, -8(%rsp); mov %esi, -128(%rsp); mov -128(%rsp), %eax; syscall; add -8(%rsp), %rax; ret;")
        SITE("loads", "mov (%rdx), %eax; mov %rdi, %r9; syscall; add %r9, %rax; ret;")
        // The alignment check and nested task flags.
        SITE("rare_flags", "pushf; orl $0x44000, (%rsp); popf; mov $110, %eax; syscall; pushf; pop %rcx; and $0x44000, %ecx;"
                           "add %rcx, %rax; pushf; andl $~0x44000, (%rsp); popf; ret;")
        // No room.
        SITE("cramped", "mov %esi, %eax; jmp 1f; 1: syscall; ret;"));

typedef long function(long a, long number, long *memory);
#define DECLARE(name) extern char name[], name##_end[];
#define EACH(DO) \
    DO(plain) DO(moves) DO(second) DO(third) DO(fourth) DO(joined) DO(flags) DO(r11) DO(rcx) DO(direction) DO(red_zone) \
    DO(loads) DO(cramped)
EACH(DECLARE)
DECLARE(rare_flags)

static const struct {
    const char *name;
    char *start, *end;
} sites[] = {
#define ROW(name) {#name, name, name##_end},
    EACH(ROW)};

// Calls a function with TF set, until it returns or the handler clears it.
long stepped(char *start, long a, long number, long *memory);
__asm__("stepped: push %rbx; mov %rdi, %rbx; mov %rsi, %rdi; mov %rdx, %rsi; mov %rcx, %rdx\n"
        "pushf; orl $0x100, (%rsp); popf\n"
        "call *%rbx\n"
        "pushf; andl $~0x100, (%rsp); popf\n"
        "pop %rbx; ret\n");

static char *start, *end;
static int steps, signal_at, leave_at;
static long seen[64], signalled_at;
static int wrong;

static long place(void *context) {
    long rip = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    return rip >= (long)start && rip < (long)end ? rip - (long)start : -1;
}

static void on_trap(int number, siginfo_t *info, void *context) {
    (void)number;
    long at = place(context);
    if (info->si_code != TRAP_TRACE)
        wrong++;
    if (at < 0)
        return;
    if (steps == signal_at)
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
    if (steps == leave_at)
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100l;
    seen[steps++ % 64] = at;
}

static void on_signal(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    signalled_at = place(context);
}

static sigjmp_buf after_fault;
static void on_fault(int number, siginfo_t *info, void *context) {
    printf("  signal %d at %ld, address %#lx, code %d\n", number, place(context), (long)info->si_addr, info->si_code);
    siglongjmp(after_fault, 1);
}

extern char __executable_start[], etext[];
static volatile long ticks, strangers;
static void on_tick(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    long rip = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    ticks++;
    strangers += rip < (long)__executable_start || rip >= (long)etext;
}

static long call(int row, long a) {
    long memory[2] = {NUMBER, 0};
    return ((function *)sites[row].start)(a, NUMBER, memory) - getppid();
}

static long step(int row, int signals, int leaves) {
    long memory[2] = {NUMBER, 0};
    start = sites[row].start, end = sites[row].end;
    steps = 0, signal_at = signals, leave_at = leaves, signalled_at = -2;
    return stepped(start, 1000, NUMBER, memory) - getppid();
}

int main(int count_arguments, char **arguments) {
    // With a gs base of its own a program has other ways into the kernel.
    static long block[] = {1, 2, 3};
    if (count_arguments > 1 && !strcmp(arguments[1], "gs"))
        MUST(syscall(SYS_arch_prctl, 0x1001, block));
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    sigaddset(&action.sa_mask, SIGUSR1);
    MUST(sigaction(SIGTRAP, &action, NULL));
    action.sa_sigaction = on_signal;
    MUST(sigaction(SIGUSR1, &action, NULL));
    for (unsigned row = 0; row < ARRAY_LEN(sites); row++) {
        long plain = call(row, 1000);
        printf("%s: %ld, stepped %ld, at", sites[row].name, plain, step(row, -1, -1));
        int count = steps;
        for (int i = 0; i < count; i++)
            printf(" %ld", seen[i]);
        printf("\n  signals at");
        for (int i = 0; i < count; i++) {
            if (step(row, i, -1) != plain)
                wrong++;
            printf(" %ld", signalled_at);
        }
        for (int i = 0; i < count; i++) {
            // The same without steps from there on, with a signal and without.
            if (step(row, -1, i) != plain || step(row, i, i) != plain || signalled_at != seen[i])
                wrong++;
        }
        printf("\n  wrong %d\n", wrong);
    }
    // Not to be met by a handler, which C code need not survive with these flags.
    printf("rare flags: %#lx\n", ((function *)rare_flags)(0, NUMBER, NULL) - getppid());
    long flags = 0;
    ((function *)r11)(0, NUMBER, &flags);
    printf("r11 has the flags: %d\n", (flags & ~0x8d5l) == 0x202);

    action.sa_sigaction = on_fault;
    MUST(sigaction(SIGSEGV, &action, NULL));
    start = loads, end = loads_end;
    if (!sigsetjmp(after_fault, 1))
        ((function *)loads)(0, NUMBER, (long *)0x10);

    action.sa_sigaction = on_tick;
    action.sa_flags |= SA_RESTART;
    MUST(sigaction(SIGALRM, &action, NULL));
    struct itimerval timer = {{0, 200}, {0, 200}};
    MUST(setitimer(ITIMER_REAL, &timer, NULL));
    long sums = 0;
    while (ticks < 300)
        for (unsigned row = 0; row < ARRAY_LEN(sites); row++)
            sums += call(row, 5) - call(row, 5);
    timer = (struct itimerval){0};
    MUST(setitimer(ITIMER_REAL, &timer, NULL));
    if (count_arguments > 1) {
        long word;
        __asm__ volatile("mov %%gs:8, %0" : "=r"(word));
        printf("word at gs: %ld\n", word);
    }
    printf("sums differ by %ld, ticks in no code of ours %ld\n", sums, strangers);
    return 0;
}
