// Arithmetic faults: integer division and x87.
#include "faults.h"

int main(void) {
    catch_faults();
    volatile int zero = 0, one = 1, lowest = INT_MIN, minus = -1, result;
    FAULT("divide by zero", 0, result = one / zero);
    FAULT("remainder by zero", 0, result = one % zero);
    FAULT("divide overflow", 0, result = lowest / minus);
    (void)result;
    // x87 reports at the next floating-point instruction.
    FAULT("x87 divide by zero", 0, {
        unsigned short control = 0x37f & ~4;
        __asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait; fninit" ::"m"(control));
    });
    __asm__ volatile("fninit");
    FAULT("x87 invalid", 0, {
        unsigned short control = 0x37f & ~1;
        __asm__ volatile("fninit; fldcw %0; fldz; fldz; fdivrp; fwait; fninit" ::"m"(control));
    });
    __asm__ volatile("fninit");
    FAULT("masked exceptions", 0, result = (int)(1.0 / (double)(one + 1)));
    return 0;
}
