// The stack grows as it is used, deep and with large steps.
#include "observe.h"
#include <sys/resource.h>

__attribute__((noinline)) static int descend(int depth) {
    volatile char frame[1000];
    frame[0] = depth;
    frame[999] = depth >> 8;
    if (depth == 0)
        return 0;
    int below = descend(depth - 1);
    return below + (frame[0] == (char)depth) + (frame[999] == (char)(depth >> 8));
}

__attribute__((noinline)) static int leap(void) {
    volatile char frame[3 << 20];
    frame[0] = 1;
    frame[sizeof frame - 1] = 2;
    return frame[0] + frame[sizeof frame - 1];
}

int main(void) {
    struct rlimit limit = {8 << 20, RLIM_INFINITY};
    MUST(setrlimit(RLIMIT_STACK, &limit));
    printf("%d\n", descend(6000));
    printf("%d\n", leap());
    printf("%d\n", descend(6500));
    return 0;
}
