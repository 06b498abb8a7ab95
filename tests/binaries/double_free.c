//@ status: SIGSEGV
// musl's allocator notices a double free and gives up.
#include "observe.h"

int main(void) {
    char *volatile block = malloc(100);
    char *volatile other = malloc(100);
    free(block);
    puts("freeing twice");
#pragma GCC diagnostic ignored "-Wuse-after-free"
    free(block);
    free(other);
    free(block);
    puts("not reached");
    return 0;
}
