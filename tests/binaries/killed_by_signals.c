//@ status: any
//@ run: 1
//@ run: 2
//@ run: 3
//@ run: 4
//@ run: 5
//@ run: 6
//@ run: 7
//@ run: 8
//@ run: 9
//@ run: 10
//@ run: 11
//@ run: 14
//@ run: 15
//@ run: 16
//@ run: 24
//@ run: 27
//@ run: 29
//@ run: 30
//@ run: 31
//@ run: 34
//@ run: 64
// The default action of most signals ends the program with that signal.
#include "observe.h"

int main(int argc, char **argv) {
    int number = argc > 1 ? atoi(argv[1]) : 0;
    printf("sending %d\n", number);
    // The kernel answers, not libc, which keeps some real-time signals for itself.
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
    puts("not reached");
    return 0;
}
