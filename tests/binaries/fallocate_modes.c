// fallocate on tmpfs: which modes there are, and what they do beside seals, sizes and other kinds of files.
#include "observe.h"

int main(void) {
    fresh_dir("/dev/shm");
    int fd = (int)MUST(open("file", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(fd, 65536));
    for (int mode = 0; mode < 0x80; mode++) {
        long result = fallocate(fd, mode, 4096, 4096);
        printf("mode %x: %s\n", mode, result < 0 ? error_name(errno) : "done");
    }
    static const int modes[] = {0, 1, 3, 8, 0x10, 0x20, 0x40, 2};
    int append = (int)MUST(open("file", O_WRONLY | O_APPEND));
    int only = (int)MUST(open("file", O_PATH));
    int folder = (int)MUST(open(".", O_RDONLY));
    int device = (int)MUST(open("/dev/null", O_RDWR));
    int sealed = (int)MUST(syscall(SYS_memfd_create, "m", 2));
    int pipes[2];
    MUST(pipe(pipes));
    MUST(ftruncate(sealed, 8192));
    MUST(fcntl(sealed, 1033, 0x2 | 0x4 | 0x8));
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        int mode = modes[i];
        TRY(mode);
        TRY(fallocate(fd, mode, -1, 10));
        TRY(fallocate(fd, mode, 10, 0));
        TRY(fallocate(fd, mode, INT64_MAX, 10));
        TRY(fallocate(append, mode, 0, 10));
        TRY(fallocate(only, mode, 0, 10));
        TRY(fallocate(folder, mode, 0, 10));
        TRY(fallocate(device, mode, 0, 10));
        TRY(fallocate(pipes[0], mode, 0, 10));
        TRY(fallocate(pipes[1], mode, 0, 10));
        TRY(fallocate(sealed, mode, 0, 10));
        TRY(fallocate(sealed, mode, 8192, 10));
    }
    struct stat status;
    MUST(fstat(fd, &status));
    printf("size %ld\n", (long)status.st_size);
    return 0;
}
