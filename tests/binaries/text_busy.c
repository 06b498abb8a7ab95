// The file of a running program cannot be written; it can be replaced.
#include "observe.h"

int main(void) {
    TRY(open("/proc/self/exe", O_WRONLY));
    TRY(open("/proc/self/exe", O_RDWR));
    TRY(open("/proc/self/exe", O_RDONLY | O_TRUNC));
    TRY(truncate("/proc/self/exe", 0));
    TRY(open("/proc/self/exe", O_RDONLY) >= 0);
    TRY(access("/proc/self/exe", R_OK | X_OK));
    return 0;
}
