//@ cpus: 1 2 4
//@ timeout: 120
// Vector registers belong to a thread: they survive switches, signals whose handlers use them, and a handler may change them.
#include "observe.h"
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>

enum { THREADS = 6, ROUNDS = 300, XSTATE_AVX_OFFSET = 576 };

static volatile int is_over, wrong, handled, changed;
static volatile int tids[THREADS];
static int has_avx;
static __thread volatile uint64_t own;
static __thread volatile int changes_it;

static void fill(uint64_t value) {
    uint64_t words[4] = {value, value, value, value};
    if (has_avx)
        __asm__ volatile("vmovdqu %0, %%ymm7\n vmovdqu %0, %%ymm15" : : "m"(words));
    else
        __asm__ volatile("movdqu %0, %%xmm7\n movdqu %0, %%xmm15" : : "m"(words));
}

static int has_own_value(void) {
    uint64_t words[8], value;
    // A handler may put in another value meanwhile.
    do {
        value = own;
        if (has_avx)
            __asm__ volatile("vmovdqu %%ymm7, (%0)\n vmovdqu %%ymm15, 32(%0)" : : "r"(words) : "memory");
        else
            __asm__ volatile("movdqu %%xmm7, (%0)\n movdqu %%xmm15, 32(%0)" : : "r"(words) : "memory");
    } while (value != own);
    for (int i = 0; i < 8; i++)
        if (words[i] != value && (has_avx || i % 4 < 2))
            return 0;
    return 1;
}

// Uses the registers, and now and then puts another value into those it interrupted.
static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    fill(~own);
    if (changes_it) {
        char *state = (char *)((ucontext_t *)context)->uc_mcontext.fpregs;
        uint64_t next = own + 1;
        for (int i = 0; i < 2; i++) {
            memcpy(state + 160 + 7 * 16 + i * 8, &next, 8);
            memcpy(state + 160 + 15 * 16 + i * 8, &next, 8);
            if (has_avx) {
                memcpy(state + XSTATE_AVX_OFFSET + 7 * 16 + i * 8, &next, 8);
                memcpy(state + XSTATE_AVX_OFFSET + 15 * 16 + i * 8, &next, 8);
            }
        }
        own = next;
        changes_it = 0;
        __atomic_add_fetch(&changed, 1, __ATOMIC_SEQ_CST);
    }
    __atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
}

static void *hold(void *argument) {
    own = 0x1111111111111111 * (uint64_t)((size_t)argument + 1);
    tids[(size_t)argument] = (int)syscall(SYS_gettid);
    fill(own);
    for (unsigned long turn = 0; !is_over; turn++) {
        // Nothing between fill and look may use the registers: no calls of the library but raw ones.
        if (!has_own_value())
            __atomic_add_fetch(&wrong, 1, __ATOMIC_SEQ_CST);
        if (turn % 64 == 0)
            changes_it = 1;
        if (turn % 16 == 0) {
            long result;
            __asm__ volatile("syscall" : "=a"(result) : "0"(SYS_sched_yield) : "rcx", "r11", "memory");
        }
    }
    return 0;
}

int main(void) {
    unsigned a, b, c = 0, d;
    pthread_t threads[THREADS];
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    __get_cpuid(1, &a, &b, &c, &d);
    has_avx = (c & bit_AVX) != 0;
    sigaction(SIGUSR1, &action, 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, hold, (void *)i);
    for (int i = 0; i < THREADS; i++)
        while (!tids[i])
            sched_yield();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < THREADS; i++)
            MUST(syscall(SYS_tgkill, getpid(), tids[i], SIGUSR1));
        while (handled < round + 1)
            sched_yield();
        usleep(100);
    }
    is_over = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], 0);
    printf("handlers ran often: %d, changed registers: %d, found wrong: %d\n", handled >= ROUNDS, changed > 0, wrong);
    return 0;
}
