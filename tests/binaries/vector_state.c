// Vector registers keep their upper halves over system calls, faults, interrupts and signal handlers.
#include "observe.h"
#include <cpuid.h>

static int has_avx(void) {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}

#define ALL "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"

// Loads sixteen registers, runs the body, and counts the bytes that differ.
#define WATCH(name, body)                                                                                           \
    __attribute__((noinline, target("avx"))) static int name##_avx(unsigned long argument) {                        \
        static unsigned char before[512], after[512];                                                               \
        for (int i = 0; i < 512; i++)                                                                               \
            before[i] = i * 7 + 1;                                                                                  \
        __asm__ volatile(".irp n, " ALL "\n vmovdqu 32*\\n(%0), %%ymm\\n\n .endr\n" body                            \
                         "\n.irp n, " ALL "\n vmovdqu %%ymm\\n, 32*\\n(%1)\n .endr\n vzeroupper\n" ::"r"(before), \
                         "r"(after), "r"(argument)                                                                  \
                         : "rax", "rcx", "rdx", "rsi", "rdi", "r10", "r11", "memory", "cc");                        \
        int wrong = 0;                                                                                              \
        for (int i = 0; i < 512; i++)                                                                               \
            wrong += before[i] != after[i];                                                                         \
        return wrong;                                                                                               \
    }                                                                                                               \
    __attribute__((noinline)) static int name##_sse(unsigned long argument) {                                       \
        static unsigned char before[256], after[256];                                                               \
        for (int i = 0; i < 256; i++)                                                                               \
            before[i] = i * 7 + 1;                                                                                  \
        __asm__ volatile(".irp n, " ALL "\n movdqu 16*\\n(%0), %%xmm\\n\n .endr\n" body                             \
                         "\n.irp n, " ALL "\n movdqu %%xmm\\n, 16*\\n(%1)\n .endr\n" ::"r"(before),               \
                         "r"(after), "r"(argument)                                                                  \
                         : "rax", "rcx", "rdx", "rsi", "rdi", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", \
                           "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",       \
                           "xmm13", "xmm14", "xmm15");                                                              \
        int wrong = 0;                                                                                              \
        for (int i = 0; i < 256; i++)                                                                               \
            wrong += before[i] != after[i];                                                                         \
        return wrong;                                                                                               \
    }

WATCH(calls, "mov $1000, %%esi\n1: mov $39, %%eax\nsyscall\ndec %%esi\njnz 1b\n")
WATCH(loop, "mov $100000000, %%esi\n1: dec %%esi\njnz 1b\n")
WATCH(fault, "movb $1, (%2)\nmovb $1, 4096(%2)\n")
WATCH(signal_self, "mov %2, %%rdi\nmov $10, %%esi\nmov $62, %%eax\nsyscall\n")
WATCH(trap, "int3\n")
WATCH(yield, "mov $24, %%eax\nsyscall\n")

static int avx, handled;

__attribute__((noinline, target("avx"))) static void scribble_avx(void) {
    __asm__ volatile(".irp n, " ALL "\n vpcmpeqd %%xmm\\n, %%xmm\\n, %%xmm\\n\n vinsertf128 $1, %%xmm\\n, %%ymm\\n, %%ymm\\n\n .endr\n vzeroupper" ::: "memory");
}

static void handler(int number) {
    (void)number;
    handled++;
    if (avx)
        scribble_avx();
    else
        __asm__ volatile(".irp n, " ALL "\n pxor %%xmm\\n, %%xmm\\n\n .endr" ::: "memory");
    // x87 and the control words are the handler's own as well.
    unsigned short control = 0x27f;
    unsigned mxcsr = 0x9f80;
    __asm__ volatile("fninit; fldcw %0; fld1; ldmxcsr %1" ::"m"(control), "m"(mxcsr));
}

#define RUN(name, argument) printf(#name ": %d bytes changed\n", avx ? name##_avx(argument) : name##_sse(argument))

int main(void) {
    avx = has_avx();
    signal(SIGUSR1, handler);
    signal(SIGTRAP, handler);
    char *area = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    RUN(calls, 0);
    RUN(loop, 0);
    RUN(fault, (uintptr_t)area);
    RUN(yield, 0);
    RUN(signal_self, getpid());
    RUN(trap, 0);
    printf("handled %d\n", handled);
    // Control words and the x87 stack after a handler that changed them.
    unsigned short control = 0xc7f, control_after;
    unsigned mxcsr = 0x7f80, mxcsr_after;
    double top;
    __asm__ volatile("fninit; fldcw %0; ldmxcsr %1; fldpi" ::"m"(control), "m"(mxcsr));
    syscall(SYS_kill, getpid(), SIGUSR1);
    __asm__ volatile("fnstcw %0; stmxcsr %1; fstpl %2" : "=m"(control_after), "=m"(mxcsr_after), "=m"(top));
    printf("x87 control %x, mxcsr %x, top %.6f\n", control_after, mxcsr_after & ~0x3f, top);
    return 0;
}
