//@ stdin: one line\nand another\n\xff\0 and an unterminated one
// Standard input arrives byte for byte and ends.
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
    char buffer[65536];
    for (;;) {
        ssize_t len = read(0, buffer, sizeof buffer);
        if (len < 0) {
            perror("read");
            return 1;
        }
        if (len == 0)
            return 0;
        for (ssize_t done = 0; done < len;) {
            ssize_t n = write(1, buffer + done, len - done);
            if (n < 0) {
                perror("write");
                return 1;
            }
            done += n;
        }
    }
}
