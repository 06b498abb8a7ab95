// Instructions near the privileged ones that every program may use.
#include "faults.h"

int main(void) {
    catch_faults();
    static unsigned low, high, a, b, c, d;
    static unsigned long value;
    static uint16_t selector;
    FAULT("rdtsc", 0, __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)));
    FAULT("cpuid", 0, __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0)));
    FAULT("xgetbv", 0, __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0)));
    printf("x87 and SSE enabled: %d\n", (low & 3) == 3);
    FAULT("read cs", 0, __asm__ volatile("mov %%cs, %0" : "=r"(selector)));
    FAULT("read ss", 0, __asm__ volatile("mov %%ss, %0" : "=r"(selector)));
    FAULT("load null selectors", 0,
          __asm__ volatile("xor %%eax, %%eax; mov %%eax, %%ds; mov %%eax, %%es" ::: "rax"));
    FAULT("pushf and popf", 0, __asm__ volatile("pushf; popf" ::: "memory", "cc"));
    FAULT("lfence, mfence, pause", 0, __asm__ volatile("lfence; mfence; sfence; pause"));
    FAULT("clflush", 0, __asm__ volatile("clflush (%0)" ::"r"(&value) : "memory"));
    FAULT("prefetch of nothing", 0, __asm__ volatile("prefetcht0 (%0)" ::"r"(0x10ul)));
    FAULT("cld and std", 0, __asm__ volatile("std; cld" ::: "cc"));
    FAULT("long nops", 0, __asm__ volatile(".byte 0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0; nopw (%%rax); endbr64" ::: "memory"));
    FAULT("leave and enter", 0, __asm__ volatile("push %%rbp; enter $16, $0; leave; pop %%rbp" ::: "memory"));
    FAULT("xlat", 0, __asm__ volatile("xlat" : "=a"(a) : "a"(0), "b"("table")));
    printf("%c\n", (int)(a & 0xff));
    FAULT("data that looks privileged", 0, {
        static const unsigned char bytes[] = {0xf4, 0xfa, 0xfb, 0x0f, 0x05, 0xcd, 0x80, 0x0f, 0x30};
        unsigned sum = 0;
        for (size_t i = 0; i < sizeof bytes; i++)
            sum += ((volatile const unsigned char *)bytes)[i];
        printf("(%u) ", sum);
    });
    // The same bytes inside an instruction.
    FAULT("an immediate that looks privileged", 0, __asm__ volatile("mov $0xf4fafbf4, %0" : "=r"(low)));
    printf("%x\n", low);
    return 0;
}
