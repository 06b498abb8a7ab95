//@ env: ALPHA=1 BETA='two words' GAMMA= HOME=/ PATH=/bin
//@ run:
//@ run: one "two words" '' '"quoted"' last
//@ static-pie
// Arguments and environment arrive unchanged, in order.
#include <stdio.h>

extern char **environ;

int main(int argc, char **argv) {
    printf("argc %d\n", argc);
    for (int i = 1; i < argc; i++)
        printf("argv[%d] = [%s]\n", i, argv[i]);
    printf("argv[argc] is %s\n", argv[argc] ? "not null" : "null");
    for (char **entry = environ; *entry; entry++)
        printf("env [%s]\n", *entry);
    return 0;
}
