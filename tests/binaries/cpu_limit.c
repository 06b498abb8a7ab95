//@ cpus: 1 2 4
//@ status: SIGKILL
//@ timeout: 60
// RLIMIT_CPU counts the CPU time of all threads: SIGXCPU each second from the soft limit on, SIGKILL at the hard one.
#include "observe.h"
#include <pthread.h>
#include <sys/resource.h>

static volatile int told;

static void on_limit(int signal) {
    (void)signal;
    told++;
    char line[] = "SIGXCPU 0\n";
    line[8] = (char)('0' + told);
    write(1, line, sizeof line - 1);
}

static void *burn(void *argument) {
    for (;;)
        __asm__ volatile("" : : "r"(argument));
    return 0;
}

int main(void) {
    pthread_t thread;
    struct rlimit limit = {1, 3};
    struct rlimit large = {1000, RLIM_INFINITY};
    TRY(setrlimit(RLIMIT_CPU, &large));
    signal(SIGXCPU, on_limit);
    TRY(setrlimit(RLIMIT_CPU, &limit));
    getrlimit(RLIMIT_CPU, &limit);
    printf("limits: %ld %ld\n", (long)limit.rlim_cur, (long)limit.rlim_max);
    pthread_create(&thread, 0, burn, 0);
    burn(0);
}
