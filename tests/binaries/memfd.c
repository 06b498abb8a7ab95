// Files in memory and their seals.
#include "observe.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8
#define MFD_EXEC 16
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif

#define PAGE 4096

static char buffer[3 * PAGE];

static int memfd(const char *name, unsigned flags) {
    return (int)syscall(SYS_memfd_create, name, flags);
}

static void creation(void) {
    char name[300], path[64], target[300] = "";
    memset(name, 'n', sizeof name);
    name[249] = 0;
    TRY(memfd(name, 0));
    name[249] = 'n';
    name[250] = 0;
    TRY(memfd(name, 0));
    TRY(memfd((char *)8, 0));
    TRY(memfd("x", 0x20));
    TRY(memfd("x", MFD_EXEC | MFD_NOEXEC_SEAL));
    int fd = memfd("a name/with slash", MFD_CLOEXEC);
    printf("%x %o\n", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    MUST(readlink(path, target, sizeof target - 1));
    puts(target);
    struct stat status;
    MUST(fstat(fd, &status));
    printf("mode %o links %ld size %ld uid %d\n", status.st_mode, (long)status.st_nlink, (long)status.st_size, status.st_uid);
    const unsigned flags[] = {0, MFD_ALLOW_SEALING, MFD_NOEXEC_SEAL, MFD_EXEC};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        int other = memfd("x", flags[i]);
        MUST(fstat(other, &status));
        printf("flags %x: mode %o seals %x\n", flags[i], status.st_mode, fcntl(other, F_GET_SEALS));
        MUST(close(other));
    }
    TRY(write(fd, "hello", 5));
    int again = (int)TRY(open(path, O_RDONLY));
    TRY(read(again, buffer, 9));
    TRY(fcntl(again, F_ADD_SEALS, F_SEAL_GROW));
    TRY(linkat(AT_FDCWD, path, AT_FDCWD, "/tmp/memfd", AT_SYMLINK_FOLLOW));
    close(again);
    close(fd);
}

static void where_seals_are(void) {
    fresh_dir("/dev/shm");
    int file = (int)MUST(open("file", O_RDWR | O_CREAT, 0644)), pipes[2];
    TRY(fcntl(file, F_GET_SEALS));
    TRY(fcntl(file, F_ADD_SEALS, F_SEAL_GROW));
    MUST(pipe(pipes));
    TRY(fcntl(pipes[0], F_GET_SEALS));
    TRY(fcntl(pipes[1], F_ADD_SEALS, F_SEAL_GROW));
    TRY(fcntl(pipes[0], F_ADD_SEALS, F_SEAL_GROW));
    int folder = (int)MUST(open(".", O_RDONLY));
    TRY(fcntl(folder, F_GET_SEALS));
    TRY(fcntl(99, F_GET_SEALS));
    int fd = memfd("x", 0);
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    TRY(fcntl(fd, F_ADD_SEALS, 0x40));
    TRY(fcntl(fd, F_ADD_SEALS, 0));
}

static void sizes(void) {
    int fd = memfd("x", MFD_ALLOW_SEALING);
    MUST(ftruncate(fd, 2 * PAGE));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    TRY(ftruncate(fd, PAGE));
    TRY(ftruncate(fd, 2 * PAGE));
    TRY(ftruncate(fd, 2 * PAGE + 1));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    TRY(ftruncate(fd, 3 * PAGE));
    TRY(pwrite(fd, buffer, PAGE, PAGE));
    TRY(pwrite(fd, buffer, 2, 2 * PAGE));
    TRY(pwrite(fd, buffer, 2 * PAGE, PAGE));
    TRY(pwrite(fd, buffer, 1, 4 * PAGE));
    TRY(fallocate(fd, 0, 0, 2 * PAGE + 1));
    TRY(fallocate(fd, 0, 0, 2 * PAGE + 2));
    TRY(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4 * PAGE));
    TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4 * PAGE));
    TRY(fcntl(fd, F_GET_SEALS));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
    TRY(fcntl(fd, F_GET_SEALS));
    TRY(lseek(fd, 0, SEEK_END));
    TRY(write(fd, buffer, 1));
    close(fd);
}

static void writing(void) {
    int fd = memfd("x", MFD_ALLOW_SEALING);
    MUST(ftruncate(fd, 2 * PAGE));
    char *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    TRY(fcntl(fd, F_GET_SEALS));
    MUST(mprotect(shared, PAGE, PROT_READ));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    MUST(munmap(shared, PAGE));
    char *private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    private[0] = 'p';
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    TRY(fcntl(fd, F_GET_SEALS));
    TRY(write(fd, "x", 1));
    TRY(write(fd, "x", 0));
    TRY(pwrite(fd, "x", 1, 5 * PAGE));
    TRY(ftruncate(fd, PAGE));
    TRY(ftruncate(fd, 2 * PAGE));
    TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE));
    TRY(fallocate(fd, 0, 0, PAGE));
    TRY_ADDRESS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    char *reading = TRY_ADDRESS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
    TRY(mprotect(reading, PAGE, PROT_READ | PROT_WRITE));
    private = TRY_ADDRESS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    private[1] = 'q';
    close(fd);

    fd = memfd("x", MFD_ALLOW_SEALING);
    MUST(ftruncate(fd, PAGE));
    shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
    shared[0] = 'f';
    TRY(write(fd, "x", 1));
    TRY(pread(fd, buffer, 1, 0));
    CHECK(buffer[0] == 'f');
    TRY_ADDRESS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    reading = TRY_ADDRESS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
    TRY(mprotect(reading, PAGE, PROT_READ | PROT_WRITE));
    TRY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE));
    TRY(fcntl(fd, F_GET_SEALS));
    close(fd);
}

static void executing(void) {
    int fd = memfd("x", MFD_NOEXEC_SEAL);
    TRY(fchmod(fd, 0755));
    TRY(fchmod(fd, 0600));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    close(fd);
    fd = memfd("x", MFD_ALLOW_SEALING);
    TRY(fchmod(fd, 0700));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_EXEC));
    TRY(fcntl(fd, F_GET_SEALS));
    TRY(fchmod(fd, 0500));
    TRY(fchmod(fd, 0600));
    close(fd);
}

int main(void) {
    creation();
    where_seals_are();
    sizes();
    writing();
    executing();
    return 0;
}
