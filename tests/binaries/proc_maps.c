// /proc/self/maps: areas appear, split, merge and go.
#include "observe.h"

static char text[65536];

// Prints the areas inside a range, relative to its start.
static void show(const char *what, char *start, size_t len) {
    int fd = MUST(open("/proc/self/maps", O_RDONLY));
    size_t total = 0;
    for (ssize_t n; (n = read(fd, text + total, sizeof text - 1 - total)) > 0;)
        total += n;
    text[total] = 0;
    close(fd);
    printf("%s:\n", what);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long low, high, offset, inode;
        char rights[5], name[256] = "";
        unsigned major, minor;
        if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %255[^\n]", &low, &high, rights, &offset, &major, &minor, &inode,
                   name) < 7)
            printf("    malformed: %s\n", line);
        else if (low < (unsigned long)start + len && high > (unsigned long)start)
            printf("    %ld-%ld %s %lx %s%s\n", (long)(low - (unsigned long)start) / 4096,
                   (long)(high - (unsigned long)start) / 4096, rights, offset, inode ? "file " : "",
                   name[0] == '/' ? strrchr(name, '/') : "");
    }
}

int main(void) {
    fresh_dir("/tmp");
    char *area = mmap(NULL, 32 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *middle = area + 8 * 4096;
    show("reserved", area, 32 * 4096);
    MUST(mprotect(middle, 8 * 4096, PROT_READ | PROT_WRITE));
    show("a writable middle", area, 32 * 4096);
    MUST(mprotect(middle + 2 * 4096, 2 * 4096, PROT_READ));
    show("a read-only hole in it", area, 32 * 4096);
    MUST(mprotect(middle + 2 * 4096, 2 * 4096, PROT_READ | PROT_WRITE));
    show("merged again", area, 32 * 4096);
    MUST(munmap(middle + 4096, 4096));
    show("a page unmapped", area, 32 * 4096);
    MUST(mprotect(area, 4096, PROT_READ | PROT_EXEC));
    show("executable", area, 32 * 4096);
    put_file("mapped", "x");
    int fd = MUST(open("mapped", O_RDWR));
    MUST(ftruncate(fd, 65536));
    CHECK(mmap(area + 20 * 4096, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 4096) == area + 20 * 4096);
    CHECK(mmap(area + 25 * 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == area + 25 * 4096);
    show("files", area, 32 * 4096);
    MUST(munmap(area + 21 * 4096, 4096));
    show("a hole in a file", area, 32 * 4096);
    MUST(munmap(area, 32 * 4096));
    show("nothing", area, 32 * 4096);
    // The stack is there, under its name.
    fd = MUST(open("/proc/self/maps", O_RDONLY));
    size_t total = 0;
    for (ssize_t n; (n = read(fd, text + total, sizeof text - 1 - total)) > 0;)
        total += n;
    text[total] = 0;
    CHECK(strstr(text, " [stack]\n") != NULL);
    long heap = syscall(SYS_brk, 0);
    CHECK(syscall(SYS_brk, heap + 8192) == heap + 8192);
    MUST(lseek(fd, 0, SEEK_SET));
    // Small reads give whole content too.
    size_t again = 0;
    for (ssize_t n; (n = read(fd, text + again, 100)) > 0;)
        again += n;
    text[again] = 0;
    CHECK(strstr(text, " [heap]\n") != NULL);
    CHECK(again > 200);
    return 0;
}
