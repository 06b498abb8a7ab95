// `int n` with the numbers of exceptions, in code that no analysis has seen: always a general protection fault.
#include "observe.h"
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

static sigjmp_buf recovery;
static unsigned char *code;

static void on_signal(int signal, siginfo_t *info, void *context) {
    ucontext_t *frame = context;
    printf("signal %d code %d, rip +%ld, trap %lld, error code %#llx\n", signal, info->si_code,
           (long)(frame->uc_mcontext.gregs[REG_RIP] - (long)code), frame->uc_mcontext.gregs[REG_TRAPNO],
           frame->uc_mcontext.gregs[REG_ERR]);
    siglongjmp(recovery, 1);
}

int main(void) {
    static const unsigned char numbers[] = {8, 10, 11, 12, 13, 14, 17, 21, 29, 30, 32, 0x81};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGSEGV, &action, NULL));
    code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < sizeof numbers; i++) {
        code[0] = 0xcd, code[1] = numbers[i], code[2] = 0xc3;
        if (sigsetjmp(recovery, 1) == 0)
            ((void (*)(void))code)();
    }
    return 0;
}
