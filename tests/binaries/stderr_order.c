//@ stderr: compare
// Standard error is a stream of its own.
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
    fprintf(stderr, "error %d\n", 1);
    printf("output %d\n", 1);
    write(2, "error 2\n", 8);
    errno = ENOENT;
    perror("perror");
    dprintf(2, "%s\n", "error 3");
    fflush(stdout);
    write(1, "output 2\n", 9);
    return 0;
}
