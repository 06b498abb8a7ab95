/* What the only processor does while the program waits for short times: a line of /proc/nacre/cpus says how long it looked for work, and
 * how often it halted. */
#include <stdio.h>
#include <time.h>

#define NAPS 200

int main(void) {
    for (int nap = 0; nap < NAPS; nap++) {
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    FILE *file = fopen("/proc/nacre/cpus", "r");
    long looked = -1, halts = -1;
    if (file == NULL || fscanf(file, "%*[^\n] 0 %*d %*d %*d %*d %*d %ld %ld", &looked, &halts) != 2) {
        perror("/proc/nacre/cpus");
        return 1;
    }
    printf("looked: %s, halted: %s\n", looked > 0 ? "some" : "none", halts < NAPS ? "now and then" : "always");
    return 0;
}
