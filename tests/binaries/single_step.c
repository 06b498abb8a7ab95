//@ trapped
// The trap flag: SIGTRAP after every instruction, also around a system call, until it is cleared.
#include "observe.h"
#include <ucontext.h>

static int count, code;
static long places[64];

static void handler(int number, siginfo_t *info, void *context) {
    ucontext_t *user = context;
    (void)number;
    code = info->si_code;
    if (count < 64)
        places[count] = user->uc_mcontext.gregs[REG_RIP];
    count++;
}

extern char stepped_first[], stepped_syscall[], stepped_last[];

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGTRAP, &action, NULL));
    long pid;
    __asm__ volatile("pushf\n"
                     "orl $0x100, (%%rsp)\n"
                     "popf\n"
                     "stepped_first: nop\n"
                     "mov $39, %%eax\n"
                     "syscall\n"
                     "stepped_syscall: nop\n"
                     "xor %%ecx, %%ecx\n"
                     "pushf\n"
                     "andl $~0x100, (%%rsp)\n"
                     "popf\n"
                     "stepped_last: nop\n"
                     : "=a"(pid)::"rcx", "r11", "memory", "cc");
    printf("%d traps, code %d, call worked %d\n", count, code, pid == getpid());
    int before = 0, at = 0, after = 0;
    for (int i = 0; i < count && i < 64; i++) {
        before += places[i] >= (long)stepped_first && places[i] < (long)stepped_syscall;
        at += places[i] == (long)stepped_syscall;
        after += places[i] > (long)stepped_syscall;
    }
    printf("before %d, right after the call %d, later %d\n", before, at, after);
    return 0;
}
