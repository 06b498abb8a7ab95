//@ cpus: 1 2 4
// FUTEX_WAKE_OP: what it does to the word, how it compares, whom it wakes.
#include "futex.h"

static word first, second;

static void operate(int operation, int argument, int comparison, int bound, uint32_t value) {
    atomic_store(&second, value);
    long result = futex(&first, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, COUNT(1), &second,
                        FUTEX_OP(operation, argument, comparison, bound));
    printf("%d %d %d %d on %x: ", operation, argument, comparison, bound, value);
    if (result == -1)
        printf("%s", error_name(errno));
    else
        printf("%ld", result);
    printf(", %x\n", atomic_load(&second));
}

static void pair(int comparison, int bound, uint32_t value) {
    atomic_store(&second, value);
    struct caller callers[4];
    memset(callers, 0, sizeof callers);
    for (int i = 0; i < 4; i++) {
        callers[i].address = i < 2 ? &first : &second;
        callers[i].value = i < 2 ? 0 : value;
        callers[i].operation = FUTEX_WAIT | FUTEX_PRIVATE_FLAG;
        start(&callers[i]);
        until_waiters(callers[i].address, FUTEX_PRIVATE_FLAG, i % 2 + 1);
    }
    printf("comparison %d of %d with %d: ", comparison, (int)value, bound);
    TRY(futex(&first, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, COUNT(2), &second,
              FUTEX_OP(FUTEX_OP_ADD, 1, comparison, bound)));
    printf("now %d; left: first %d, second %d\n", (int)atomic_load(&second), waiters_of(&first, FUTEX_PRIVATE_FLAG),
           waiters_of(&second, FUTEX_PRIVATE_FLAG));
    futex(&first, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 9, NULL, NULL, 0);
    futex(&second, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 9, NULL, NULL, 0);
    for (int i = 0; i < 4; i++)
        finish("waiter", &callers[i]);
}

int main(void) {
    for (int operation = 0; operation < 8; operation++) {
        operate(operation, 0x0f5, FUTEX_OP_CMP_EQ, 0, 0x1234);
        operate(operation, -1, FUTEX_OP_CMP_EQ, 0, 0x80000000);
        operate(operation | FUTEX_OP_OPARG_SHIFT, 31, FUTEX_OP_CMP_EQ, 0, 5);
    }
    for (int comparison = 0; comparison < 8; comparison++)
        operate(FUTEX_OP_ADD, 3, comparison, -5, 10);
    for (int comparison = 0; comparison < 6; comparison++)
        for (int value = -3; value <= -1; value++)
            pair(comparison, -2, (uint32_t)value);
    return 0;
}
