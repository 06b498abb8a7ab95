// Writes a known number of bytes to standard output, the same to standard error, and counts those of standard input.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[1 << 16];

static void fill(int fd, long count) {
    memset(buffer, fd == 1 ? 'o' : 'e', sizeof buffer);
    while (count > 0) {
        ssize_t size = write(fd, buffer, count < (long)sizeof buffer ? count : (long)sizeof buffer);
        if (size <= 0) {
            perror("write");
            exit(1);
        }
        count -= size;
    }
}

int main(int argc, char **argv) {
    long input = 0, size;

    if (argc > 1)
        fill(1, atol(argv[1]));
    if (argc > 2)
        fill(2, atol(argv[2]));
    while ((size = read(0, buffer, sizeof buffer)) > 0)
        input += size;
    printf("%ld\n", input);
    return size < 0;
}
