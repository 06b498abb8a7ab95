// getdents64: what a folder lists, in what kind of records.
#include "observe.h"
#include <dirent.h>

struct record {
    uint64_t inode;
    int64_t offset;
    uint16_t len;
    uint8_t kind;
    char name[];
};

static int by_name(const void *a, const void *b) {
    return strcmp(*(char **)a, *(char **)b);
}

static void list(int fd, size_t buffer_len) {
    static char buffer[4096];
    char *lines[64];
    int count = 0, sound = 1;
    for (;;) {
        long len = syscall(SYS_getdents64, fd, buffer, buffer_len);
        if (len < 0)
            printf("getdents64: %s\n", error_name(errno));
        if (len <= 0)
            break;
        for (long at = 0; at < len;) {
            struct record *record = (struct record *)(buffer + at);
            sound &= record->len % 8 == 0 && record->inode != 0 && record->len >= 19 + strlen(record->name) + 1;
            asprintf(&lines[count++], "%s kind %d", record->name, record->kind);
            at += record->len;
        }
    }
    qsort(lines, count, sizeof *lines, by_name);
    for (int i = 0; i < count; i++)
        puts(lines[i]);
    printf("%d entries, sound: %d\n", count, sound);
}

int main(void) {
    fresh_dir("/tmp");
    put_file("file", "");
    put_file("a rather longer name, to make records differ in length", "");
    MUST(mkdir("folder", 0700));
    MUST(symlink("nowhere", "link"));
    int fd = MUST(open(".", O_RDONLY | O_DIRECTORY));
    list(fd, 4096);
    list(fd, 4096);
    MUST(lseek(fd, 0, SEEK_SET));
    list(fd, 96);
    MUST(lseek(fd, 0, SEEK_SET));
    list(fd, 16);
    char small[8];
    TRY(syscall(SYS_getdents64, fd, small, 0));
    TRY(syscall(SYS_getdents64, fd, 16, 4096));
    TRY(syscall(SYS_getdents64, 99, small, 8));
    int file = MUST(open("file", O_RDONLY));
    TRY(syscall(SYS_getdents64, file, small, 8));
    // An entry made after a rewind is there.
    put_file("new", "");
    MUST(lseek(fd, 0, SEEK_SET));
    list(fd, 4096);
    int folder = MUST(open("folder", O_RDONLY));
    list(folder, 4096);
    MUST(rmdir("folder"));
    MUST(lseek(folder, 0, SEEK_SET));
    list(folder, 4096);
    return 0;
}
