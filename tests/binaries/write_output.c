// Two megabytes to standard output, in pieces of every size.
#include "observe.h"

int main(void) {
    static char buffer[100001];
    for (size_t i = 0; i < sizeof buffer; i++)
        buffer[i] = i % 64 == 63 ? '\n' : 'A' + i % 61;
    size_t total = 0;
    for (size_t len = 1; total < 2000000; len = len * 5 / 3 + 1) {
        if (len > sizeof buffer)
            len = 1;
        for (size_t done = 0; done < len;)
            done += MUST(write(1, buffer + done, len - done));
        total += len;
    }
    return 0;
}
