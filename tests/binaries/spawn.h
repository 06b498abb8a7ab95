// Threads without libc: raw clone on a stack of the caller's, and waiting for words that the kernel clears.
#ifndef SPAWN_H
#define SPAWN_H

#include "observe.h"
#include <sched.h>

#define FUTEX_WAIT 0
#define FUTEX_WAKE 1

// `struct clone_args`.
struct clone_arguments {
    unsigned long long flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
        cgroup, more[2];
};

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

// System calls without errno, which threads made here would share.
static inline long raw6(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#define raw(number, a, b, c, d) raw6((number), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

struct spawned {
    void (*function)(void *);
    void *argument;
};

// Starts `function(argument)` on its own stack and with its own number in `*child_tid` if the flags say so. A thread that
// returns from it ends. The thread pointer is the caller's unless the flags say otherwise: no libc with state in threads.
static inline long spawn_raw(unsigned long flags, void *stack, int *parent_tid, int *child_tid, void *tls,
                             void (*function)(void *), void *argument) {
    register long r10 __asm__("r10") = (long)child_tid;
    register long r8 __asm__("r8") = (long)tls;
    long result;
    uintptr_t top = (uintptr_t)stack & ~15UL;
    ((void **)top)[-1] = argument;
    ((void **)top)[-2] = (void *)function;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "popq %%rax\n\t"
                     "popq %%rdi\n\t"
                     "callq *%%rax\n\t"
                     "movl $60, %%eax\n\t"
                     "xorl %%edi, %%edi\n\t"
                     "syscall\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "a"(SYS_clone), "D"(flags), "S"(top - 16), "d"(parent_tid), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

#define SPAWN_STACK_LEN (64 << 10)

static inline void *spawn_stack(void) {
    char *stack = mmap(NULL, SPAWN_STACK_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(stack == MAP_FAILED ? -1 : 0);
    return stack + SPAWN_STACK_LEN;
}

// Waits until the kernel has cleared a word.
static inline void await_clear(volatile int *word) {
    int value;
    while ((value = *word) != 0)
        raw(SYS_futex, word, FUTEX_WAIT, value, 0);
}

// Waits until a word has a value, which a thread stores.
static inline void await_value(volatile int *word, int wanted) {
    int value;
    while ((value = *word) != wanted)
        raw(SYS_futex, word, FUTEX_WAIT, value, 0);
}

static inline void tell(volatile int *word, int value) {
    *word = value;
    raw(SYS_futex, word, FUTEX_WAKE, INT_MAX, 0);
}

// Starts a thread and waits until it has ended.
static inline long spawn_and_wait(unsigned long flags, void (*function)(void *), void *argument) {
    static volatile int ends;
    ends = 1;
    long tid = spawn_raw(flags | CLONE_CHILD_CLEARTID, spawn_stack(), NULL, (int *)&ends, NULL, function, argument);
    if (tid > 0)
        await_clear(&ends);
    return tid;
}

#endif
