// What `make run` shows when it is given no program: an ordinary static Linux program that looks around.
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct utsname system;
    struct sysinfo memory;
    char line[256];

    if (uname(&system) != 0 || sysinfo(&memory) != 0) {
        perror("demo");
        return 1;
    }
    printf("Hello from %s, process %d of %s %s on %s.\n", argv[0], getpid(), system.sysname, system.release, system.machine);
    printf("%lu MB of memory, %lu MB of it free.\n", memory.totalram * memory.mem_unit >> 20,
           memory.freeram * memory.mem_unit >> 20);
    for (int i = 1; i < argc; i++)
        printf("Argument %d: %s\n", i, argv[i]);
    if (isatty(0)) {
        printf("Your name? ");
        fflush(stdout);
    }
    if (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        printf("Good to meet you, %s.\n", line);
    }
    return 0;
}
