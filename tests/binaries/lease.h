// What the programs about leases share.
#ifndef LEASE_H
#define LEASE_H

#include "observe.h"

#ifndef F_SETLEASE
#define F_SETLEASE 1024
#define F_GETLEASE 1025
#endif

// Prints the lease on a descriptor, and answers it.
static inline long show_lease(int fd) {
    static const char *const names[] = {"shared", "exclusive", "none"};
    long kind = fcntl(fd, F_GETLEASE);
    printf("  lease: %s\n", kind < 0 ? error_name(errno) : names[kind]);
    return kind;
}

#endif
