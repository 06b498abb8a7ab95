//@ static-pie
//@ cpus: 1 2
// /proc/self/mem and pagemap: memory of all kinds of rights read and written from outside, text included, and what is not there.
#include "observe.h"
#include <pthread.h>

#define PAGE 4096L
#define PRESENT (1UL << 63)
#define OF_FILE (1UL << 61)
#define EXCLUSIVE (1UL << 56)

static int mem, map;

static char *pages(long count, int rights, int flags, int fd) {
    return (char *)MUST(mmap(NULL, count * PAGE, rights, flags, fd, 0));
}

static off_t at(const void *address) {
    return (off_t)(uintptr_t)address;
}

static uint64_t entry(const void *address) {
    uint64_t entry = 0;
    MUST(pread(map, &entry, sizeof entry, at(address) / PAGE * 8));
    return entry;
}

// What an entry says beside where the page is.
static void show(const char *what, const void *address) {
    uint64_t found = entry(address);
    printf("%s: present %d, of a file %d\n", what, !!(found & PRESENT), !!(found & OF_FILE));
}

static __attribute__((noinline)) int answer(void) {
    __asm__ volatile("nop\n nop\n nop\n nop");
    return 42;
}

static volatile int traps;

static void on_trap(int signal) {
    (void)signal;
    traps++;
}

static void kinds(void) {
    char text[16] = "", *plain = pages(3, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    strcpy(plain, "plain");
    TRY(pread(mem, text, 6, at(plain)));
    puts(text);
    TRY(pwrite(mem, "changed", 8, at(plain + 1)));
    puts(plain);
    // Untouched, across the end of a page, and up to the end of the mapping.
    TRY(pread(mem, text, 4, at(plain + 2 * PAGE - 2)));
    TRY(pwrite(mem, "across", 6, at(plain + 2 * PAGE - 3)));
    printf("%.6s\n", plain + 2 * PAGE - 3);
    MUST(munmap(plain + 2 * PAGE, PAGE));
    TRY(pread(mem, text, 16, at(plain + 2 * PAGE - 5)));
    TRY(pwrite(mem, "0123456789", 10, at(plain + 2 * PAGE - 5)));
    TRY(pread(mem, text, 1, at(plain + 2 * PAGE)));
    TRY(pwrite(mem, "x", 1, at(plain + 2 * PAGE)));
    TRY(pread(mem, text, 0, at(plain + 2 * PAGE)));
    TRY(pread(mem, text, 4, 0));
    TRY(pread(mem, text, 4, 1L << 60));

    // Rights do not count for what is private.
    char *fixed = pages(2, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    TRY(pwrite(mem, "fixed", 6, at(fixed)));
    puts(fixed);
    char *none = pages(2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    TRY(pread(mem, text, 4, at(none)));
    TRY(pwrite(mem, "none", 5, at(none + PAGE)));
    TRY(pread(mem, text, 5, at(none + PAGE)));
    puts(text);
    MUST(mprotect(none, 2 * PAGE, PROT_READ));
    puts(none + PAGE);
    // They do for what is shared.
    char *shared = pages(1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    TRY(pwrite(mem, "shared", 7, at(shared)));
    MUST(mprotect(shared, PAGE, PROT_READ));
    TRY(pwrite(mem, "S", 1, at(shared)));
    puts(shared);

    // Memory of the program that cannot be reached.
    TRY(pread(mem, (char *)1, 4, at(plain)));
    TRY(pwrite(mem, (char *)1, 4, at(plain)));
    TRY(pread(mem, none, 4, at(plain)));
}

static void files(void) {
    char text[16] = "";
    put_file("file", "contents of a file");
    int fd = (int)MUST(open("file", O_RDWR));
    char *private = pages(1, PROT_READ, MAP_PRIVATE, fd);
    char *none = pages(1, PROT_NONE, MAP_PRIVATE, fd);
    char *read_only = pages(1, PROT_READ, MAP_SHARED, fd);
    char *shared = pages(2, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    TRY(pread(mem, text, 8, at(none)));
    puts(text);
    TRY(pwrite(mem, "Private", 7, at(private)));
    TRY(pwrite(mem, "NONE", 4, at(none)));
    TRY(pwrite(mem, "!", 1, at(read_only)));
    puts(private);
    MUST(mprotect(none, PAGE, PROT_READ));
    puts(none);
    show_file("file");
    TRY(pwrite(mem, "CONTENTS", 8, at(shared)));
    puts(read_only);
    show_file("file");
    TRY(pread(mem, text, 1, at(shared + PAGE)));
    TRY(pwrite(mem, text, 1, at(shared + PAGE)));
    show("a private copy", private);
    show("a page of a file", shared);
}

// Where in the program's file the byte at an address is.
static off_t file_offset(const void *address) {
    char line[512];
    unsigned long start, end, offset;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 && (uintptr_t)address - start < end - start) {
            fclose(maps);
            return (off_t)((uintptr_t)address - start + offset);
        }
    return -1;
}

// The first page of a part of memory that has a name.
static void *named(const char *name) {
    char line[512];
    unsigned long start = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, name) && sscanf(line, "%lx", &start) == 1)
            break;
    fclose(maps);
    return (void *)start;
}

// The kernel's own pages: a copy of the code can be changed, the clock's data cannot.
static void kernels(void) {
    unsigned char first = 0;
    TRY(pread(mem, &first, 1, at(named("[vdso]"))));
    TRY(pwrite(mem, &first, 1, at(named("[vdso]"))));
    TRY(pwrite(mem, "x", 1, at(named("[vvar]"))));
    TRY(pwrite(mem, "x", 1, at(named("[vvar]")) + 100));
}

// A breakpoint in text that cannot be written.
static void text(void) {
    unsigned char code[64], old = 0;
    int (*volatile function)(void) = answer;
    MUST(pread(mem, code, sizeof code, at((void *)function)));
    int offset = 0;
    while (offset < 40 && memcmp(code + offset, "\x90\x90\x90\x90", 4) != 0)
        offset++;
    CHECK(offset < 40);
    unsigned char *place = (unsigned char *)function + offset;
    signal(SIGTRAP, on_trap);
    TRY(pread(mem, &old, 1, at(place)));
    TRY(pwrite(mem, "\xcc", 1, at(place)));
    printf("%d, then %d traps\n", function(), traps);
    // The file keeps its own.
    unsigned char kept = 0;
    int fd = (int)MUST(open("/proc/self/exe", O_RDONLY));
    TRY(pread(fd, &kept, 1, file_offset(place)));
    CHECK(kept == old && old != 0xcc);
    TRY(pwrite(mem, &old, 1, at(place)));
    printf("%d, then %d traps\n", function(), traps);
    show("text that was changed", place);
}

static void positions(void) {
    char bytes[8] = "1234567", text[8] = "";
    TRY(lseek(mem, 0, SEEK_END));
    CHECK(lseek(mem, at(bytes), SEEK_SET) == at(bytes));
    TRY(read(mem, text, 3));
    TRY(read(mem, text + 3, 3));
    CHECK(lseek(mem, 0, SEEK_CUR) == at(bytes) + 6);
    puts(text);
    TRY(lseek(mem, -6, SEEK_CUR) == at(bytes));
    TRY(write(mem, "abc", 3));
    puts(bytes);
    struct stat found;
    MUST(fstat(mem, &found));
    printf("%o %ld\n", found.st_mode, (long)found.st_size);
    TRY(ftruncate(mem, 0));
    TRY(fallocate(mem, 0, 0, PAGE));
    TRY(fallocate(map, 0, 0, PAGE));
    TRY(ftruncate(map, 0));
    TRY((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, mem, 0));
}

static void where(void) {
    uint64_t entries[4];
    char *memory = pages(4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    volatile char *touched = memory;
    touched[PAGE] = 1;
    (void)touched[2 * PAGE];
    TRY(pread(map, entries, sizeof entries, at(memory) / PAGE * 8));
    for (int page = 0; page < 4; page++)
        printf("page %d: present %d, of a file %d\n", page, !!(entries[page] & PRESENT), !!(entries[page] & OF_FILE));
    CHECK(entries[1] & EXCLUSIVE);
    CHECK((entries[1] & ((1UL << 55) - 1)) != 0);
    TRY(pread(map, entries, 7, 0));
    TRY(pread(map, entries, 8, 4));
    TRY(pread(map, entries, 8, (1L << 47) / PAGE * 8));
    TRY(pread(map, entries, 0, 0));
    TRY(pwrite(map, entries, 8, 0));
    TRY(open("/proc/self/pagemap", O_RDWR) >= 0);
    show("nothing", NULL);
}

// Where pages are is told to a file that was opened with the capability for it, whoever reads it.
static void openers(void) {
    struct {
        unsigned version;
        int pid;
    } header = {0x20080522, 0};
    unsigned all[6], less[6];
    volatile char *memory = pages(1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    memory[0] = 1;
    MUST(syscall(SYS_capget, &header, all));
    memcpy(less, all, sizeof less);
    less[0] &= ~(1u << 21);
    int before = map;
    MUST(syscall(SYS_capset, &header, less));
    int after = (int)MUST(open("/proc/self/pagemap", O_RDONLY));
    for (int round = 0; round < 2; round++) {
        for (int opened = 0; opened < 2; opened++) {
            map = opened ? after : before;
            printf("opened %d, read %d: a place %d\n", !opened, round, (entry((void *)memory) & ((1UL << 55) - 1)) != 0);
        }
        MUST(syscall(SYS_capset, &header, all));
    }
    map = before;
}

static void show_owners(const char *what, const char *memory) {
    printf("%s: exclusive %d\n", what, !!(entry(memory) & EXCLUSIVE));
}

// Pages that are mapped once, and more often.
static void owners(void) {
    static const char *const kinds[] = {"a file, shared", "a file, private", "memory of a file, shared", "memory, shared"};
    put_file("once", "contents");
    for (int kind = 0; kind < 4; kind++) {
        int flags = kind == 1 ? MAP_PRIVATE : kind == 3 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
        int fd = kind == 2 ? (int)MUST(syscall(SYS_memfd_create, "m", 0)) : kind == 3 ? -1 : (int)MUST(open("once", O_RDWR));
        if (kind == 2)
            MUST(ftruncate(fd, PAGE));
        char *first = pages(1, PROT_READ | PROT_WRITE, flags, fd);
        (void)*(volatile char *)first;
        puts(kinds[kind]);
        show_owners("touched", first);
        if (kind != 3) {
            char *second = pages(1, PROT_READ, MAP_SHARED, fd);
            (void)*(volatile char *)second;
            show_owners("mapped again", first);
            show_owners("the other", second);
            MUST(munmap(second, PAGE));
            show_owners("unmapped", first);
        }
        *(volatile char *)first = 'x';
        show_owners("written", first);
    }
    char *zero = pages(1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    (void)*(volatile char *)zero;
    show_owners("only read", zero);
}

static void *reader(void *memory) {
    char byte;
    for (int round = 0; round < 2000; round++)
        EXPECT(pread(mem, &byte, 1, at(memory) + round % 8 * PAGE) == 1 || errno == EIO);
    return NULL;
}

// Whatever another thread does to the memory meanwhile.
static void beside(void) {
    char *memory = pages(8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    pthread_t thread;
    pthread_create(&thread, NULL, reader, memory);
    for (int round = 0; round < 500; round++) {
        MUST(mprotect(memory, 8 * PAGE, round % 2 ? PROT_NONE : PROT_READ | PROT_WRITE));
        MUST(madvise(memory + 4 * PAGE, 4 * PAGE, MADV_DONTNEED));
        MUST(pwrite(mem, "x", 1, at(memory) + round % 8 * PAGE));
    }
    pthread_join(thread, NULL);
}

int main(void) {
    fresh_dir("/tmp");
    mem = (int)TRY(open("/proc/self/mem", O_RDWR)) ;
    map = (int)TRY(open("/proc/self/pagemap", O_RDONLY));
    kinds();
    files();
    text();
    kernels();
    positions();
    where();
    openers();
    owners();
    beside();
    return 0;
}
