//@ status: SIGSEGV
//@ run: handler
//@ run: stack
//@ run: restorer
// A signal that cannot be delivered, or whose handler cannot run, kills.
#include "observe.h"

struct kernel_action {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

static void handler(int number) {
    (void)number;
    write(1, "in the handler\n", 15);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    puts(how);
    struct kernel_action action = {(void *)handler, 0x04000000, (void *)0x10, 0};
    if (!strcmp(how, "handler"))
        action.handler = (void *)0x20;
    MUST(syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8));
    if (!strcmp(how, "stack")) {
        int pid = getpid();
        // The stack pointer leads nowhere while the signal arrives.
        __asm__ volatile("mov %%rsp, %%rbx; mov $0x20000, %%esp; mov $62, %%eax; syscall; mov %%rbx, %%rsp" ::"D"(pid),
                         "S"(SIGUSR1)
                         : "rax", "rbx", "rcx", "r11", "memory");
    }
    raise(SIGUSR1);
    puts("not reached");
    return 0;
}
