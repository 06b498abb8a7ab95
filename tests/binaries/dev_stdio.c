//@ stdin: through the back door\n
// /dev/stdin, /dev/stdout and /dev/fd lead to the program's own descriptors.
#include "observe.h"

int main(void) {
    char buffer[64], target[64];
    int in = TRY(open("/dev/stdin", O_RDONLY));
    TRY(read(in, buffer, 11));
    print_bytes("read", buffer, 11);
    in = TRY(open("/dev/fd/0", O_RDONLY));
    ssize_t len = read(in, buffer, sizeof buffer);
    print_bytes("read", buffer, len);
    TRY(read(0, buffer, 1));
    TRY(readlink("/dev/stdin", target, sizeof target));
    print_bytes("target", target, 15);
    int out = TRY(open("/dev/stdout", O_WRONLY));
    MUST(write(out, "by the front door\n", 18));
    out = TRY(open("/proc/self/fd/1", O_WRONLY | O_APPEND));
    MUST(write(out, "by the side door\n", 17));
    int error = TRY(open("/dev/stderr", O_WRONLY));
    TRY(error >= 0);
    TRY(open("/dev/fd/77", O_RDONLY));
    return 0;
}
