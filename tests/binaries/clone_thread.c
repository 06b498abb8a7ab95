//@ cpus: 1 2 4
// What a thread begins with: registers, stack, numbers, thread pointer, and what it inherits.
#include "spawn.h"
#include <sys/prctl.h>

#define ARCH_GET_FS 0x1003

// What the new thread finds in its registers.
static struct found {
    unsigned long rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, flags;
    unsigned char xmm[16];
    unsigned mxcsr;
    unsigned short control;
} found __asm__("found") __attribute__((used));
static unsigned long kept_rbx __asm__("kept_rbx") __attribute__((used));
static unsigned long kept_rbp __asm__("kept_rbp") __attribute__((used));
static unsigned usual_mxcsr __asm__("usual_mxcsr") __attribute__((used)) = 0x1f80;
static unsigned marked_mxcsr __asm__("marked_mxcsr") __attribute__((used)) = 0x1fa0;
static unsigned short usual_control __asm__("usual_control") __attribute__((used)) = 0x037f;
static unsigned short marked_control __asm__("marked_control") __attribute__((used)) = 0x0f7f;
static volatile int ends, parent_tid, child_tid;

extern char after_call[];

// Clones with marks in all registers; the new thread stores what it finds and ends.
static long clone_with_marks(unsigned long flags, void *stack) {
    static const unsigned char marks[16] = "0123456789abcde";
    unsigned long count = (unsigned long)marks;
    long result;
    register unsigned long r10 __asm__("r10") = (unsigned long)&ends;
    register unsigned long r8 __asm__("r8") = 0x0808;
    register unsigned long r9 __asm__("r9") = 0x0909;
    __asm__ volatile(
        "movq %%rbp, kept_rbp(%%rip)\n\t"
        "movq %%rbx, kept_rbx(%%rip)\n\t"
        "movdqu (%[marks]), %%xmm5\n\t"
        "ldmxcsr marked_mxcsr(%%rip)\n\t"
        "fldcw marked_control(%%rip)\n\t"
        "movq $0x1b1b, %%rbx\n\t"
        "movq $0x1c1c, %%rbp\n\t"
        "movq $0x1212, %%r12\n\t"
        "movq $0x1313, %%r13\n\t"
        "movq $0x1414, %%r14\n\t"
        "movq $0x1515, %%r15\n\t"
        "stc\n\t"
        "syscall\n"
        "after_call:\n\t"
        "testq %%rax, %%rax\n\t"
        "jnz 1f\n\t"
        "movq %%rax, found(%%rip)\n\t"
        "movq %%rbx, found+8(%%rip)\n\t"
        "movq %%rcx, found+16(%%rip)\n\t"
        "movq %%rdx, found+24(%%rip)\n\t"
        "movq %%rsi, found+32(%%rip)\n\t"
        "movq %%rdi, found+40(%%rip)\n\t"
        "movq %%rbp, found+48(%%rip)\n\t"
        "movq %%rsp, found+56(%%rip)\n\t"
        "movq %%r8, found+64(%%rip)\n\t"
        "movq %%r9, found+72(%%rip)\n\t"
        "movq %%r10, found+80(%%rip)\n\t"
        "movq %%r11, found+88(%%rip)\n\t"
        "movq %%r12, found+96(%%rip)\n\t"
        "movq %%r13, found+104(%%rip)\n\t"
        "movq %%r14, found+112(%%rip)\n\t"
        "movq %%r15, found+120(%%rip)\n\t"
        "movdqu %%xmm5, found+136(%%rip)\n\t"
        "stmxcsr found+152(%%rip)\n\t"
        "fnstcw found+156(%%rip)\n\t"
        "movl $60, %%eax\n\t"
        "xorl %%edi, %%edi\n\t"
        "syscall\n\t"
        "hlt\n"
        "1:\n\t"
        "movq kept_rbx(%%rip), %%rbx\n\t"
        "movq kept_rbp(%%rip), %%rbp\n\t"
        "ldmxcsr usual_mxcsr(%%rip)\n\t"
        "fldcw usual_control(%%rip)\n\t"
        : "=a"(result), [marks] "+c"(count)
        : "a"(SYS_clone), "D"(flags), "S"(stack), "d"(&parent_tid), "r"(r10), "r"(r8), "r"(r9)
        : "r11", "r12", "r13", "r14", "r15", "xmm5", "memory", "cc");
    return result;
}

static void registers(void) {
    char *stack = spawn_stack();
    ends = 1;
    long tid = clone_with_marks(THREAD_FLAGS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID, stack);
    MUST(tid);
    await_clear(&ends);
    CHECK(parent_tid == tid);
    printf("rax %lx rbx %lx rbp %lx r8 %lx r9 %lx r12 %lx r13 %lx r14 %lx r15 %lx\n", found.rax, found.rbx, found.rbp,
           found.r8, found.r9, found.r12, found.r13, found.r14, found.r15);
    CHECK(found.rsp == (unsigned long)stack);
    CHECK(found.rsi == (unsigned long)stack);
    CHECK(found.rdi == (THREAD_FLAGS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID));
    CHECK(found.rdx == (unsigned long)&parent_tid);
    CHECK(found.r10 == (unsigned long)&ends);
    CHECK(found.rcx == (unsigned long)after_call);
    printf("the carry flag in r11: %lu\n", found.r11 & 1);
    print_bytes("xmm5", found.xmm, sizeof found.xmm);
    printf("mxcsr %x, control word %x\n", found.mxcsr, found.control);
}

static struct seen {
    long tid, pid, ppid;
    int tid_word;
    char name[16];
    sigset_t blocked, pending;
    stack_t alternate;
    unsigned long head, fs, slack;
    size_t head_len;
    int death_signal;
} seen;

static void look(void *argument) {
    (void)argument;
    seen.tid = raw(SYS_gettid, 0, 0, 0, 0);
    seen.pid = raw(SYS_getpid, 0, 0, 0, 0);
    seen.ppid = raw(SYS_getppid, 0, 0, 0, 0);
    seen.tid_word = child_tid;
    raw(SYS_prctl, PR_GET_NAME, seen.name, 0, 0);
    raw(SYS_rt_sigprocmask, SIG_BLOCK, 0, &seen.blocked, 8);
    raw(SYS_rt_sigpending, &seen.pending, 8, 0, 0);
    raw(SYS_sigaltstack, 0, &seen.alternate, 0, 0);
    raw(SYS_get_robust_list, 0, &seen.head, &seen.head_len, 0);
    raw(SYS_arch_prctl, ARCH_GET_FS, &seen.fs, 0, 0);
    seen.slack = raw(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0);
    raw(SYS_prctl, PR_GET_PDEATHSIG, &seen.death_signal, 0, 0);
    raw(SYS_prctl, PR_SET_NAME, "another", 0, 0);
}

static void inheritance(void) {
    static char alternate[8192];
    static struct {
        void *list;
        long offset;
        void *pending;
    } head = {&head, 0, NULL};
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    MUST(sigaltstack(&stack, NULL));
    MUST(syscall(SYS_set_robust_list, &head, sizeof head));
    MUST(prctl(PR_SET_NAME, "the first one"));
    MUST(prctl(PR_SET_TIMERSLACK, 12345));
    MUST(prctl(PR_SET_PDEATHSIG, SIGUSR2));
    MUST(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1));

    static char pointer[64];
    // Linux's new thread stores its number itself, when it first runs.
    child_tid = 1;
    long tid = spawn_raw(THREAD_FLAGS | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_SETTLS | CLONE_PARENT_SETTID,
                         spawn_stack(), (int *)&parent_tid, (int *)&child_tid, pointer, look, NULL);
    MUST(tid > 0 ? 0 : -1);
    await_clear(&child_tid);
    CHECK(seen.tid == tid);
    CHECK(parent_tid == tid);
    CHECK(seen.tid_word == tid);
    CHECK(seen.pid == getpid());
    CHECK(seen.ppid == getppid());
    CHECK(seen.fs == (unsigned long)pointer);
    printf("name %s; SIGUSR1 blocked %d, SIGUSR2 blocked %d, SIGUSR1 waits %d\n", seen.name,
           sigismember(&seen.blocked, SIGUSR1), sigismember(&seen.blocked, SIGUSR2),
           sigismember(&seen.pending, SIGUSR1));
    printf("alternate stack: flags %d, size %zu\n", seen.alternate.ss_flags, seen.alternate.ss_size);
    printf("robust list: %s, length %zu; slack %lu; death signal %d\n", seen.head ? "there" : "none", seen.head_len,
           seen.slack, seen.death_signal);
    char name[16];
    prctl(PR_GET_NAME, name);
    printf("the first thread is still called %s\n", name);
}

// The threads of a thread, on the stack they are given or on their creator's.
static volatile int depth, told;

static void deeper(void *argument) {
    long left = (long)argument;
    depth++;
    if (left > 0)
        spawn_raw(THREAD_FLAGS, spawn_stack(), NULL, NULL, NULL, deeper, (void *)(left - 1));
    else
        tell(&told, 1);
}

static void generations(void) {
    spawn_raw(THREAD_FLAGS | CLONE_PARENT | CLONE_IO | CLONE_UNTRACED | CLONE_PTRACE | CLONE_DETACHED, spawn_stack(), NULL,
              NULL, NULL, deeper, (void *)9);
    await_value(&told, 1);
    printf("%d generations\n", depth);
}

static void nothing(void *argument) {
    (void)argument;
}

static void bad_words(void) {
    // The thread is made whether or not its number can be stored.
    long tid = spawn_raw(THREAD_FLAGS | CLONE_PARENT_SETTID, spawn_stack(), (int *)8, NULL, NULL, nothing, NULL);
    CHECK(tid > 0);
    tid = spawn_raw(THREAD_FLAGS | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID, spawn_stack(), NULL, (int *)8, NULL, nothing,
                    NULL);
    CHECK(tid > 0);
    CHECK(spawn_and_wait(THREAD_FLAGS, nothing, NULL) > 0);
}

static int numbered(int number) {
    static struct clone_arguments arguments;
    static volatile int word;
    char *stack = spawn_stack();
    memset(&arguments, 0, sizeof arguments);
    arguments.flags = THREAD_FLAGS | CLONE_CHILD_CLEARTID;
    arguments.child_tid = (uintptr_t)&word;
    arguments.stack = (uintptr_t)stack - SPAWN_STACK_LEN;
    arguments.stack_size = SPAWN_STACK_LEN;
    arguments.set_tid = (uintptr_t)&number;
    arguments.set_tid_size = 1;
    word = 1;
    long result;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "movl $60, %%eax\n\t"
                     "xorl %%edi, %%edi\n\t"
                     "syscall\n"
                     "1:"
                     : "=a"(result)
                     : "a"(SYS_clone3), "D"(&arguments), "S"(88)
                     : "rcx", "r11", "memory");
    if (result > 0)
        await_clear(&word);
    return (int)result;
}

static void numbers(void) {
    // A number that was just let go is free again at once or a moment later.
    int wanted = 32000;
    while (kill(wanted, 0) == 0 || errno != ESRCH)
        wanted--;
    CHECK(numbered(wanted) == wanted);
    int again;
    while ((again = numbered(wanted)) == -EEXIST)
        raw(SYS_sched_yield, 0, 0, 0, 0);
    CHECK(again == wanted);
    while (syscall(SYS_tgkill, getpid(), wanted, 0) == 0)
        raw(SYS_sched_yield, 0, 0, 0, 0);
    printf("when it has ended: %s\n", error_name(errno));
    printf("in use: %s\n", error_name(-numbered(getpid())));
}

int main(void) {
    registers();
    inheritance();
    generations();
    bad_words();
    numbers();
    return 0;
}
