// For programs that provoke faults: a handler that reports the signal and jumps back.
#ifndef FAULTS_H
#define FAULTS_H

#include "observe.h"
#include <setjmp.h>
#include <ucontext.h>

static sigjmp_buf fault_return;
static void *fault_expected;

// Prints the signal, its code, and whether the address is the expected one, null, or another.
static inline void fault_handler(int number, siginfo_t *info, void *context) {
    ucontext_t *user = context;
    const char *address = info->si_addr == NULL                ? "null"
                          : info->si_addr == fault_expected    ? "as expected"
                          : info->si_addr == (void *)user->uc_mcontext.gregs[REG_RIP] ? "the instruction"
                                                               : "elsewhere";
    long trap = user->uc_mcontext.gregs[REG_TRAPNO];
    printf("signal %d, code %d, address %s, trap %ld", number, info->si_code, address, trap);
    // Of a page fault's error the lowest bit tells how lazily the kernel maps: not for comparison.
    if (trap == 14)
        printf(", error %lld", (long long)user->uc_mcontext.gregs[REG_ERR] & ~1ll);
    printf("\n");
    siglongjmp(fault_return, 1);
}

static inline void catch_faults(void) {
    static char stack[65536];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    MUST(sigaltstack(&other, NULL));
    struct sigaction action = {.sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        MUST(sigaction(numbers[i], &action, NULL));
}

// Runs statements that may fault and prints what became of them.
#define FAULT(what, address, ...)                        \
    do {                                                 \
        fault_expected = (void *)(address);              \
        printf("%s: ", what);                            \
        if (sigsetjmp(fault_return, 1) == 0) {           \
            __VA_ARGS__;                                 \
            printf("no fault\n");                        \
        }                                                \
    } while (0)

#endif
