//@ status: SIGSEGV
// musl's own way to give up is a privileged instruction: hlt must kill, not wait.
#include "observe.h"

int main(void) {
    puts("halting");
    __asm__ volatile("hlt");
    puts("not reached");
    return 0;
}
