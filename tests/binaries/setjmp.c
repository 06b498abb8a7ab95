// setjmp and longjmp across many frames and many times.
#include "observe.h"
#include <setjmp.h>

static jmp_buf target;

__attribute__((noinline)) static void descend(int depth) {
    volatile char frame[200];
    frame[0] = depth;
    if (depth == 0)
        longjmp(target, frame[0] + 5);
    if (depth > 0)
        descend(depth - 1);
    frame[1] = frame[0];
}

int main(void) {
    volatile int sum = 0;
    for (volatile int i = 0; i < 1000; i++) {
        int value = setjmp(target);
        if (value == 0)
            descend(i % 50);
        sum += value;
    }
    printf("%d\n", sum);
    return 0;
}
