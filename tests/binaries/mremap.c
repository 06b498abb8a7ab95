// mremap: growing, shrinking, moving.
#include "observe.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static char *fill(int pages) {
    char *area = mmap(NULL, pages * 4096, RW, ANON, -1, 0);
    for (int i = 0; i < pages; i++)
        area[i * 4096] = i + 1;
    return area;
}

static void show(const char *what, const char *area, int pages) {
    printf("%s:", what);
    for (int i = 0; i < pages; i++)
        printf(" %d", area[i * 4096]);
    printf("\n");
}

int main(void) {
    char *area = fill(8);
    CHECK(mremap(area, 8 * 4096, 4 * 4096, 0) == area);
    show("shrunk", area, 4);
    // There is room now where the rest was.
    CHECK(mremap(area, 4 * 4096, 6 * 4096, 0) == area);
    show("grown in place", area, 6);
    CHECK(mmap(area + 6 * 4096, 4096, RW, ANON | MAP_FIXED, -1, 0) == area + 6 * 4096);
    MUST(mprotect(area + 6 * 4096, 4096, PROT_READ));
    TRY_ADDRESS(mremap(area, 6 * 4096, 20 * 4096, 0));
    char *moved = mremap(area, 6 * 4096, 20 * 4096, MREMAP_MAYMOVE);
    CHECK(moved != MAP_FAILED && moved != area);
    show("moved", moved, 8);
    CHECK(mremap(area, 4096, 4096, 0) == MAP_FAILED && errno == EFAULT);
    // To a given place, over what is there.
    char *target = fill(4);
    CHECK(mremap(moved, 4 * 4096, 4 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
    show("at a fixed place", target, 4);
    show("the rest", moved + 4 * 4096, 4);
    char *source = fill(2), *place = mmap(NULL, 2 * 4096, PROT_NONE, ANON, -1, 0);
    CHECK(mremap(source, 2 * 4096, 2 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, place) == place);
    show("moved away", source, 2);
    show("moved to", place, 2);
    TRY_ADDRESS(mremap(target, 4096, 0, MREMAP_MAYMOVE));
    TRY_ADDRESS(mremap(target + 1, 4096, 8192, MREMAP_MAYMOVE));
    TRY_ADDRESS(mremap(target, 4096, 4096, 64));
    TRY_ADDRESS(mremap(target, 4096, 4096, MREMAP_FIXED, place));
    TRY_ADDRESS(mremap(target, 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, target + 4096));
    TRY_ADDRESS(mremap(target, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, place + 1));
    TRY_ADDRESS(mremap((void *)0x10000, 4096, 8192, MREMAP_MAYMOVE));
    // Across two areas.
    area = fill(4);
    MUST(mprotect(area + 8192, 8192, PROT_READ));
    TRY_ADDRESS(mremap(area, 4 * 4096, 8 * 4096, MREMAP_MAYMOVE));
    // A file's mapping grows into the file.
    fresh_dir("/tmp");
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(fd, 16384));
    MUST(pwrite(fd, "third", 5, 8192));
    char *map = mmap(NULL, 4096, RW, MAP_SHARED, fd, 0);
    map = mremap(map, 4096, 16384, MREMAP_MAYMOVE);
    print_bytes("grown", map + 8192, 5);
    // Rights move along.
    area = fill(1);
    MUST(mprotect(area, 4096, PROT_READ));
    area = mremap(area, 4096, 8192, MREMAP_MAYMOVE);
    TRY(read(MUST(open("/dev/zero", O_RDONLY)), area, 1));
    printf("%d %d\n", area[0], area[4096]);
    return 0;
}
