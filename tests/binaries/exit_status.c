//@ run:
//@ run: 1
//@ run: 2
//@ run: 127
//@ run: 128
//@ run: 137
//@ run: 255
//@ run: 256
//@ run: -1
//@ status: any
// The exit status is the low eight bits of what the program returns.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    int status = argc > 1 ? atoi(argv[1]) : 0;
    printf("returning %d\n", status);
    return status;
}
