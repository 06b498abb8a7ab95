// The kernel's half of the address space faults like memory that is not there.
#include "faults.h"

static volatile int sink;

int main(void) {
    catch_faults();
    static const unsigned long addresses[] = {0xffff800000000000, 0xffffffff80000000, 0xffffffffffffffff,
                                              0xffffc00000000000};
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        // As arguments of system calls the kernel refuses them.
        TRY(write(1, (void *)addresses[i], 1));
        TRY(read(0, (void *)addresses[i], 1));
        TRY(open((char *)addresses[i], O_RDONLY));
    }
    return sink;
}
