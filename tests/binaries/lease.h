// What the programs about leases share.
#ifndef LEASE_H
#define LEASE_H

#include "observe.h"
#include <sys/file.h>

#ifndef F_SETLEASE
#define F_SETLEASE 1024
#define F_GETLEASE 1025
#endif

// fs.lease-break-time, which all programs of the machine share.
static int break_time = -1;
static char old_break_time[16];

// What it was, for whoever comes after one that was killed before it had put it back.
static const char kept_break_time[] = "/tmp/nacre-lease-break-time";

static inline void restore_break_time(void) {
    pwrite(break_time, old_break_time, strlen(old_break_time), 0);
    unlink(kept_break_time);
}

// Has the setting stay as it is while the program runs, or leaves it to this one alone, which puts it back at its end.
static inline void hold_break_time(int changes_it) {
    break_time = (int)MUST(open("/proc/sys/fs/lease-break-time", changes_it ? O_RDWR : O_RDONLY));
    MUST(flock(break_time, changes_it ? LOCK_EX : LOCK_SH));
    if (!changes_it)
        return;
    int kept = open(kept_break_time, O_RDONLY);
    if (kept >= 0) {
        MUST(read(kept, old_break_time, sizeof old_break_time - 1));
    } else {
        MUST(pread(break_time, old_break_time, sizeof old_break_time - 1, 0));
        kept = (int)MUST(open(kept_break_time, O_WRONLY | O_CREAT | O_EXCL, 0600));
        MUST(write(kept, old_break_time, strlen(old_break_time)));
    }
    close(kept);
    atexit(restore_break_time);
}

// Prints the lease on a descriptor, and answers it.
static inline long show_lease(int fd) {
    static const char *const names[] = {"shared", "exclusive", "none"};
    long kind = fcntl(fd, F_GETLEASE);
    printf("  lease: %s\n", kind < 0 ? error_name(errno) : names[kind]);
    return kind;
}

#endif
