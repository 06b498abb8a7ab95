// sigaltstack: handlers on another stack, its state, and errors.
#include "observe.h"

static char first[32768], second[32768];

static void show(const char *what) {
    stack_t now;
    MUST(sigaltstack(NULL, &now));
    printf("%s: %s, size %zu, flags %x\n", what, now.ss_sp == first ? "first" : now.ss_sp == second ? "second" : "none",
           now.ss_size, now.ss_flags);
}

static int on(const char *stack, const void *here) {
    return (const char *)here >= stack && (const char *)here < stack + 32768;
}

static void handler(int number, siginfo_t *info, void *context) {
    char here;
    (void)info, (void)context;
    printf("handler %d on the first: %d, on the second: %d\n", number, on(first, &here), on(second, &here));
    show("inside");
    stack_t other = {.ss_sp = second, .ss_size = sizeof second};
    TRY(sigaltstack(&other, NULL));
    stack_t none = {.ss_flags = SS_DISABLE};
    TRY(sigaltstack(&none, NULL));
    // A nested one stays on the stack it interrupts.
    if (number == SIGUSR1)
        raise(SIGUSR2);
}

int main(void) {
    show("at first");
    stack_t stack = {.ss_sp = first, .ss_size = sizeof first}, old;
    TRY(sigaltstack(&stack, &old));
    printf("old flags %x\n", old.ss_flags);
    show("set");
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    MUST(sigaction(SIGUSR1, &action, NULL));
    MUST(sigaction(SIGUSR2, &action, NULL));
    raise(SIGUSR1);
    show("after");
    action.sa_flags = SA_SIGINFO;
    MUST(sigaction(SIGUSR2, &action, NULL));
    raise(SIGUSR2);
    // With SS_AUTODISARM the stack is free again while the handler runs.
    MUST(sigaction(SIGUSR1, &action, NULL));
    stack = (stack_t){.ss_sp = first, .ss_size = sizeof first, .ss_flags = 1u << 31};
    TRY(sigaltstack(&stack, NULL));
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    MUST(sigaction(SIGUSR2, &action, NULL));
    raise(SIGUSR2);
    show("after");
    stack.ss_flags = 0;
    stack.ss_size = 100;
    TRY(syscall(SYS_sigaltstack, &stack, NULL));
    stack.ss_size = sizeof first;
    stack.ss_flags = 8;
    TRY(syscall(SYS_sigaltstack, &stack, NULL));
    stack.ss_flags = SS_ONSTACK;
    TRY(syscall(SYS_sigaltstack, &stack, NULL));
    TRY(syscall(SYS_sigaltstack, 16, NULL));
    TRY(syscall(SYS_sigaltstack, NULL, 16));
    stack.ss_flags = SS_DISABLE;
    TRY(sigaltstack(&stack, NULL));
    show("disabled");
    return 0;
}
