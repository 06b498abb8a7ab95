// Says that it runs, then waits for a signal that kills it.
#include <stdio.h>
#include <unistd.h>

int main(void) {
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
