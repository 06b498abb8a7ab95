// What the programs about mounts share: mounts of their own on Linux, and lines of /proc/self/mountinfo without numbers.
#ifndef MOUNTS_H
#define MOUNTS_H

#include "observe.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>

#ifndef UMOUNT_NOFOLLOW
#define UMOUNT_NOFOLLOW 8
#endif
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

// Nothing that is mounted shows outside. Where there is one set of mounts only, that is so without asking.
static inline void own_mounts(void) {
    if (unshare(CLONE_NEWNS) == 0)
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

// Prints what mountinfo says of each mount below a folder: its place, and what follows.
static inline void show_mounts(const char *below) {
    char line[4096], root[1024], place[1024];
    FILE *file = fopen("/proc/self/mountinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        int rest = 0;
        if (sscanf(line, "%*d %*d %*s %1023s %1023s %n", root, place, &rest) == 2 && rest &&
            strncmp(place, below, strlen(below)) == 0)
            printf("  %s%s of %s: %s", place[strlen(below)] ? "." : ".", place + strlen(below), root, line + rest);
    }
    if (file)
        fclose(file);
}

// The flags of statfs.
static inline void show_flags(const char *path) {
    struct statfs status;
    if (statfs(path, &status) == 0)
        printf("  %s: flags %lx\n", path, (unsigned long)status.f_flags);
    else
        printf("  %s: %s\n", path, error_name(errno));
}

#endif
