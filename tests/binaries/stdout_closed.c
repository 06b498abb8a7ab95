//@ status: 3
// Without standard output writing fails and nothing else happens.
#include "observe.h"

int main(void) {
    puts("last words");
    int copy = MUST(dup(1));
    MUST(close(1));
    ssize_t result = write(1, "lost", 4);
    int error = errno;
    int fd = open("/dev/null", O_WRONLY);
    dprintf(copy, "write %zd %s, open %d\n", result, error_name(error), fd);
    puts("into the void");
    fflush(stdout);
    MUST(dup2(copy, 1));
    puts("back again");
    MUST(close(copy));
    return 3;
}
