//@ cflags: -pthread
//@ cpus: 2
// Whoever waits for a lease to be given up never hears of it, however fast it goes and another comes.
#include "lease.h"
#include <pthread.h>

static volatile int is_over;

// Takes leases and gives them up as soon as it can.
static void *take_and_give_up(void *unused) {
    (void)unused;
    while (!is_over) {
        int fd = (int)MUST(open("f", O_RDONLY));
        fcntl(fd, F_SETLEASE, F_WRLCK);
        close(fd);
    }
    return NULL;
}

int main(void) {
    enum { OPENINGS = 20000 };
    pthread_t thread;
    int failures = 0;
    signal(SIGIO, SIG_IGN);
    hold_break_time(0);
    fresh_dir("/tmp");
    put_file("f", "text");
    MUST(pthread_create(&thread, NULL, take_and_give_up, NULL));
    for (int i = 0; i < OPENINGS; i++) {
        int fd = open("f", i % 2 ? O_RDONLY : O_WRONLY);
        failures += fd < 0;
        close(fd);
    }
    is_over = 1;
    pthread_join(thread, NULL);
    printf("%d failures\n", failures);
    return 0;
}
