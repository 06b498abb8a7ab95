// /proc/slabinfo: its two lines of names, and lines whose figures fit together.
#include "observe.h"

int main(void) {
    FILE *file = fopen("/proc/slabinfo", "r");
    char line[512], name[64];
    unsigned long active, objects, size, per_slab, pages, active_slabs, slabs, caches = 0, in_use = 0;
    if (!file)
        return 1;
    for (int i = 0; i < 2 && fgets(line, sizeof line, file); i++)
        printf("%s", line);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63s %lu %lu %lu %lu %lu : tunables %*u %*u %*u : slabdata %lu %lu %*u", name, &active,
                   &objects, &size, &per_slab, &pages, &active_slabs, &slabs) != 8)
            printf("not a cache: %s", line);
        EXPECT(active <= objects && active_slabs <= slabs && size * per_slab <= pages * 4096);
        caches++;
        in_use += active;
    }
    CHECK(caches > 10 && in_use > 100);
    struct stat status;
    MUST(stat("/proc/slabinfo", &status));
    printf("%o\n", status.st_mode);
    return 0;
}
