// Private mappings of a file: its content, then the program's own.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    static char page[4096];
    for (int i = 0; i < 3; i++) {
        memset(page, 'a' + i, sizeof page);
        MUST(write(fd, page, i == 2 ? 100 : 4096));
    }
    char *map = TRY_ADDRESS(mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    printf("%c %c %c %c %d\n", map[0], map[4095], map[4096], map[8192 + 99], map[8192 + 100]);
    // Beyond the end, within the last page: zeros that can be written.
    map[8192 + 4000] = 'z';
    map[0] = 'X';
    char byte;
    MUST(pread(fd, &byte, 1, 0));
    printf("file %c, map %c\n", byte, map[0]);
    // A write to the file shows where the program has not written.
    MUST(pwrite(fd, "W", 1, 4096));
    MUST(pwrite(fd, "W", 1, 1));
    printf("map %c, own page %c\n", map[4096], map[1]);
    char *second = TRY_ADDRESS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 4096));
    printf("%c %c\n", second[0], second[1]);
    TRY_ADDRESS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 1 << 20));
    TRY_ADDRESS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0x7fffffffffff000));
    MUST(close(fd));
    printf("after close %c\n", map[4097]);
    MUST(unlink("file"));
    printf("after unlink %c\n", map[4098]);
    put_file("file", "read only");
    fd = MUST(open("file", O_RDONLY));
    map = TRY_ADDRESS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    map[0] = 'R';
    printf("%s\n", map);
    show_file("file");
    TRY_ADDRESS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    TRY_ADDRESS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0));
    int writing = MUST(open("file", O_WRONLY)), folder = MUST(open(".", O_RDONLY)), p[2];
    TRY_ADDRESS(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, writing, 0));
    TRY_ADDRESS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, writing, 0));
    TRY_ADDRESS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, folder, 0));
    MUST(pipe(p));
    TRY_ADDRESS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, p[0], 0));
    return 0;
}
