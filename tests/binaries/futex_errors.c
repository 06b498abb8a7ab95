//@ cpus: 1 2 4
// What futex refuses, and what it looks at first.
#include "futex.h"

static word zero;
static char bytes[16] __attribute__((aligned(16)));

int main(void) {
    word *odd = (word *)(bytes + 1), *nowhere = (word *)16, *kernel = (word *)0xffff800000000000;
    struct timespec negative = {-1, 0}, too_many = {0, 1000000000}, now = {0, 0};

    puts("unknown operations");
    TRY(futex(&zero, FUTEX_FD, 0, NULL, NULL, 0));
    TRY(futex(&zero, 14, 0, NULL, NULL, 0));
    TRY(futex(&zero, 127, 0, NULL, NULL, 0));
    TRY(futex(&zero, 1 << 20 | FUTEX_WAKE, 1, NULL, NULL, 0));
    for (int operation = 0; operation <= 13; operation++) {
        if (operation == FUTEX_WAIT_BITSET || operation == FUTEX_LOCK_PI2 || operation == FUTEX_WAIT_REQUEUE_PI)
            continue;
        printf("%d ", operation);
        TRY(futex(&zero, operation | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 1));
    }
    TRY(futex(&zero, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 1, &negative, NULL, 1));

    puts("waiting");
    for (int private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
        TRY(futex(&zero, FUTEX_WAIT | private, 1, NULL, NULL, 0));
        TRY(futex(odd, FUTEX_WAIT | private, 0, NULL, NULL, 0));
        TRY(futex(nowhere, FUTEX_WAIT | private, 0, NULL, NULL, 0));
        TRY(futex(kernel, FUTEX_WAIT | private, 0, NULL, NULL, 0));
        TRY(futex(NULL, FUTEX_WAIT | private, 0, NULL, NULL, 0));
        TRY(futex((word *)1, FUTEX_WAIT | private, 0, NULL, NULL, 0));
        TRY(futex(&zero, FUTEX_WAIT | private, 0, &negative, NULL, 0));
        TRY(futex(&zero, FUTEX_WAIT | private, 0, &too_many, NULL, 0));
        TRY(futex(&zero, FUTEX_WAIT | private, 1, &too_many, NULL, 0));
        TRY(futex(&zero, FUTEX_WAIT | private, 0, nowhere, NULL, 0));
        TRY(futex(odd, FUTEX_WAIT | private, 0, nowhere, NULL, 0));
        TRY(futex(&zero, FUTEX_WAIT | private, 0, &now, NULL, 0));
        TRY(futex(&zero, FUTEX_WAIT | private, 1, &now, NULL, 0));
        TRY(futex(&zero, FUTEX_WAIT_BITSET | private, 0, &now, NULL, 0));
        TRY(futex(&zero, FUTEX_WAIT_BITSET | private, 1, &now, NULL, 0));
        TRY(futex(odd, FUTEX_WAIT_BITSET | private, 1, &now, NULL, 0));
        TRY(futex(&zero, FUTEX_WAIT_BITSET | private, 0, &now, NULL, 1));
        TRY(futex(&zero, FUTEX_WAIT_BITSET | private | FUTEX_CLOCK_REALTIME, 0, &now, NULL, 1));
    }

    puts("waking");
    for (int private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
        TRY(futex(&zero, FUTEX_WAKE | private, 1, NULL, NULL, 0));
        TRY(futex(&zero, FUTEX_WAKE | private, INT_MAX, nowhere, nowhere, 0));
        TRY(futex(odd, FUTEX_WAKE | private, 1, NULL, NULL, 0));
        TRY(futex(nowhere, FUTEX_WAKE | private, 1, NULL, NULL, 0));
        TRY(futex(kernel, FUTEX_WAKE | private, 1, NULL, NULL, 0));
        TRY(futex((word *)((char *)kernel + 1), FUTEX_WAKE | private, 1, NULL, NULL, 0));
        TRY(futex(&zero, FUTEX_WAKE_BITSET | private, 1, NULL, NULL, 0));
        TRY(futex(odd, FUTEX_WAKE_BITSET | private, 1, NULL, NULL, 0));
        TRY(futex(&zero, FUTEX_WAKE_BITSET | private, 1, NULL, NULL, 4));
    }

    puts("moving");
    for (int private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
        static word other;
        TRY(futex(&zero, FUTEX_REQUEUE | private, 1, COUNT(1), &other, 0));
        TRY(futex(&zero, FUTEX_REQUEUE | private, -1, COUNT(1), &other, 0));
        TRY(futex(&zero, FUTEX_REQUEUE | private, 1, COUNT(-1), &other, 0));
        TRY(futex(&zero, FUTEX_REQUEUE | private, 1, COUNT(1), odd, 0));
        TRY(futex(odd, FUTEX_REQUEUE | private, 1, COUNT(1), &other, 0));
        TRY(futex(&zero, FUTEX_REQUEUE | private, 1, COUNT(1), nowhere, 0));
        TRY(futex(nowhere, FUTEX_REQUEUE | private, 1, COUNT(1), &other, 0));
        TRY(futex(&zero, FUTEX_CMP_REQUEUE | private, 1, COUNT(1), &other, 0));
        TRY(futex(&zero, FUTEX_CMP_REQUEUE | private, 1, COUNT(1), &other, 1));
        TRY(futex(nowhere, FUTEX_CMP_REQUEUE | private, 1, COUNT(1), &other, 1));
        TRY(futex(&zero, FUTEX_WAKE_OP | private, 1, COUNT(1), odd, 0));
        TRY(futex(&zero, FUTEX_WAKE_OP | private, 1, COUNT(1), nowhere, 0));
        TRY(futex(nowhere, FUTEX_WAKE_OP | private, 1, COUNT(1), &other, 0));
        TRY(futex(odd, FUTEX_WAKE_OP | private, 1, COUNT(1), &other, 0));
        TRY(futex(&zero, FUTEX_WAKE_OP | private, 1, COUNT(1), &other, 5 << 28));
        TRY(futex(&zero, FUTEX_WAKE_OP | private, 1, COUNT(1), &other, 6 << 24));
    }

    puts("memory that cannot be written, or is not there");
    char *memory = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    word *fresh = (word *)memory, *constant = (word *)(memory + 4096), *hidden = (word *)(memory + 8192);
    *(volatile char *)constant = 0;
    MUST(mprotect(constant, 4096, PROT_READ));
    MUST(mprotect(hidden, 4096, PROT_NONE));
    for (int private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
        TRY(futex(fresh, FUTEX_WAKE | private, 1, NULL, NULL, 0));
        TRY(futex(fresh, FUTEX_WAIT | private, 1, NULL, NULL, 0));
        TRY(futex(constant, FUTEX_WAKE | private, 1, NULL, NULL, 0));
        TRY(futex(constant, FUTEX_WAIT | private, 1, NULL, NULL, 0));
        TRY(futex(&zero, FUTEX_WAKE_OP | private, 1, COUNT(1), constant, FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 0)));
        TRY(futex(constant, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(constant, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(hidden, FUTEX_WAKE | private, 1, NULL, NULL, 0));
        TRY(futex(hidden, FUTEX_WAIT | private, 0, NULL, NULL, 0));
    }
    return 0;
}
