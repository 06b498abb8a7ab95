// Needs a lot of memory of its own before it does anything.
#include <stdio.h>

static volatile char memory[200 << 20];

int main(void) {
    memory[sizeof memory / 2] = 1;
    printf("%d\n", memory[sizeof memory / 2]);
    return 0;
}
