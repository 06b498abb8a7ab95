// /proc/self/map_files: a link for each part of memory that has a file.
#include "observe.h"
#include <dirent.h>

#define PAGE 4096L

static char *map(int fd, long pages, int rights, int flags, long first) {
    return (char *)MUST(mmap(NULL, pages * PAGE, rights, flags, fd, first * PAGE));
}

static const char *name_of(const char *start, long pages) {
    static char name[64];
    snprintf(name, sizeof name, "/proc/self/map_files/%lx-%lx", (long)start, (long)start + pages * PAGE);
    return name;
}

// Whether there is one for these pages, what it says, and who may do what with it.
static void show(const char *what, const char *start, long pages) {
    char text[PATH_MAX] = "";
    struct stat found;
    const char *name = name_of(start, pages);
    ssize_t len = readlink(name, text, sizeof text - 1);
    if (len < 0) {
        printf("%s: %s\n", what, error_name(errno));
        return;
    }
    MUST(lstat(name, &found));
    printf("%s: %.*s, mode %o\n", what, (int)len, strrchr(text, '/') ? strrchr(text, '/') : text, found.st_mode);
}

// How many entries there are, and how many of them maps shows too.
static void list(void) {
    char line[512], entry[64];
    int listed = 0, known = 0, with_file = 0;
    unsigned long start, end;
    DIR *folder = opendir("/proc/self/map_files");
    for (struct dirent *at; folder && (at = readdir(folder));)
        listed += at->d_name[0] != '.';
    closedir(folder);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (strchr(line, '/') && sscanf(line, "%lx-%lx", &start, &end) == 2) {
            with_file++;
            snprintf(entry, sizeof entry, "/proc/self/map_files/%lx-%lx", start, end);
            known += access(entry, F_OK) == 0;
        }
    fclose(maps);
    CHECK(listed == with_file && known == with_file && listed > 3);
}

int main(void) {
    struct {
        unsigned version;
        int pid;
    } header = {0x20080522, 0};
    unsigned all[6], none[6] = {0};
    char byte = 0;
    struct stat found;
    fresh_dir("/tmp");
    put_file("first", "1");
    int fd = (int)MUST(open("first", O_RDWR)), reading = (int)MUST(open("first", O_RDONLY));
    MUST(ftruncate(fd, 8 * PAGE));
    char *shared = map(fd, 3, PROT_READ | PROT_WRITE, MAP_SHARED, 1), *private = map(reading, 2, PROT_READ, MAP_PRIVATE, 0);
    char *anonymous = map(-1, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, 0);
    show("shared", shared, 3);
    show("private", private, 2);
    show("part of it", private, 1);
    show("anonymous", anonymous, 1);
    show("private of a writable one", map(fd, 2, PROT_READ, MAP_PRIVATE, 0), 2);
    show("shared, only read", map(reading, 2, PROT_READ, MAP_SHARED, 0), 2);
    char *nameless = map(-1, 2, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, 0);
    show("shared without a file", nameless, 2);
    MUST(munmap(nameless, 2 * PAGE));
    int memory = (int)MUST(memfd_create("memory", 0));
    MUST(ftruncate(memory, PAGE));
    char *unnamed = map(memory, 1, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    show("in memory", unnamed, 1);
    memory = (int)MUST(open(name_of(unnamed, 1), O_RDWR));
    TRY(pwrite(memory, "?", 1, 0));
    printf("%c\n", unnamed[0]);
    list();
    TRY(access("/proc/self/map_files/0-1000", F_OK));
    TRY(access("/proc/self/map_files/x", F_OK));
    TRY(access("/proc/self/map_files/00-0", F_OK));
    TRY(stat(name_of(shared, 3), &found));
    int through = (int)MUST(open(name_of(shared, 3), O_RDWR));
    TRY(pwrite(through, "!", 1, PAGE));
    printf("%c\n", shared[0]);
    MUST(unlink("first"));
    show("removed", shared, 3);
    through = (int)MUST(open(name_of(shared, 3), O_RDONLY));
    TRY(pread(through, &byte, 1, PAGE));
    printf("%c\n", byte);
    MUST(munmap(shared + PAGE, PAGE));
    show("cut", shared, 3);
    show("its start", shared, 1);
    show("its end", shared + 2 * PAGE, 1);
    MUST(stat("/proc/self/map_files", &found));
    printf("%o\n", found.st_mode);
    TRY(open("/proc/thread-self/map_files", O_RDONLY));
    // Without the right for it, links are read and not followed.
    MUST(syscall(SYS_capget, &header, all));
    MUST(syscall(SYS_capset, &header, none));
    show("without rights", private, 2);
    TRY(open(name_of(private, 2), O_RDONLY));
    TRY(stat(name_of(private, 2), &found));
    return 0;
}
