// Says what it knows of its terminal, then repeats lines until the end of its input. A key that interrupts is survived once.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void interrupted(int signal) {
    (void)signal;
    static const char text[] = "interrupted\n";
    if (write(1, text, sizeof text - 1) < 0)
        _exit(1);
}

int main(void) {
    struct winsize size = {0};
    struct sigaction action = {.sa_handler = interrupted, .sa_flags = SA_RESTART | SA_RESETHAND};
    char line[256];

    sigaction(SIGINT, &action, NULL);
    ioctl(0, TIOCGWINSZ, &size);
    printf("terminals %d%d%d size %dx%d\n", isatty(0), isatty(1), isatty(2), size.ws_row, size.ws_col);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        printf("<%s>\n", line);
        fflush(stdout);
        if (!strcmp(line, "size") && !ioctl(0, TIOCGWINSZ, &size)) {
            printf("size %dx%d\n", size.ws_row, size.ws_col);
            fflush(stdout);
        }
    }
    puts("end");
    return 0;
}
