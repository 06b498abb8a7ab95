// What is seen of the stubs of rewritten call sites: their line in /proc/self/maps, the counter, and that they are sealed.
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern char etext[];

int main(void) {
    char line[512], permissions[8], name[64];
    unsigned long start, end, offset, device[2], inode;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        if (!strstr(line, "[stubs]"))
            continue;
        int found = sscanf(line, "%lx-%lx %7s %lx %lx:%lx %lu %63s", &start, &end, permissions, &offset, &device[0], &device[1],
                           &inode, name);
        uint64_t distance = start > (uint64_t)etext ? end - (uint64_t)etext : (uint64_t)etext - start;
        printf("%d: %s %lx %lx:%lx %lu %s, pages %d, reached by a jump %d\n", found, permissions, offset, device[0], device[1], inode,
               name, start < end && !((start | end) & 4095), distance < INT32_MAX);
        printf("unmapping: %s", munmap((void *)start, 4096) && errno == EPERM ? "EPERM" : "another answer");
        printf(", writing: %s\n", mprotect((void *)start, 4096, PROT_READ | PROT_WRITE) && errno == EPERM ? "EPERM" : "another answer");
    }
    FILE *counters = fopen("/proc/nacre/rewriting", "r");
    while (counters && fgets(line, sizeof line, counters)) {
        unsigned long count;
        char *colon = strrchr(line, ':');
        if (colon && sscanf(colon, ": %lu", &count) == 1)
            printf("%.*s: %s\n", (int)(colon - line), line, count ? "some" : "none");
    }
    return 0;
}
