//@ status: any
//@ run: return
//@ run: exit
//@ run: _exit
//@ run: exit_group
//@ run: exit_thread
//@ run: large
// The ways to end: which run exit handlers, which flush, and with what status.
#include "observe.h"

static void first(void) {
    puts("first registered");
}

static void second(void) {
    puts("second registered");
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "return";
    setvbuf(stdout, NULL, _IOFBF, 4096);
    atexit(first);
    atexit(second);
    printf("leaving by %s\n", how);
    if (!strcmp(how, "exit"))
        exit(11);
    if (!strcmp(how, "_exit")) {
        fflush(stdout);
        printf("never flushed\n");
        _exit(12);
    }
    if (!strcmp(how, "exit_group")) {
        fflush(stdout);
        syscall(SYS_exit_group, 13);
    }
    if (!strcmp(how, "exit_thread")) {
        fflush(stdout);
        syscall(SYS_exit, 14);
    }
    if (!strcmp(how, "large"))
        exit(0x12345);
    return 10;
}
