// Which functions of libc call the vDSO: they are single-stepped, and who comes by there is noted.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static unsigned long vdso;
static volatile int has_passed;

static void step(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    unsigned long at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    if (at - vdso < 2 * 4096UL)
        has_passed = 1;
}

#define TRAP_FLAG 0x100
#define SHOW(call)                                                                                                    \
    do {                                                                                                              \
        has_passed = 0;                                                                                               \
        __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | TRAP_FLAG);                                  \
        (void)(call);                                                                                                 \
        __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~(unsigned long long)TRAP_FLAG);             \
        printf("%s: %s\n", #call, has_passed ? "calls the vDSO" : "does without");                                    \
    } while (0)

int main(void)
{
    struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO};
    struct timespec now;
    struct timeval moment;
    vdso = getauxval(AT_SYSINFO_EHDR);
    if (vdso == 0)
        return 1;
    sigaction(SIGTRAP, &action, NULL);
    SHOW(clock_gettime(CLOCK_MONOTONIC, &now));
    SHOW(clock_getres(CLOCK_MONOTONIC, &now));
    SHOW(gettimeofday(&moment, NULL));
    SHOW(time(NULL));
    SHOW(getpid());
    return 0;
}
