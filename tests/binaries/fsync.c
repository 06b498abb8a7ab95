// fsync, fdatasync, sync and syncfs answer; what cannot be synced is refused.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    put_file("file", "x");
    int fd = MUST(open("file", O_RDONLY)), folder = MUST(open(".", O_RDONLY)), pipes[2];
    MUST(pipe(pipes));
    TRY(fsync(fd));
    TRY(fdatasync(fd));
    TRY(fsync(folder));
    TRY(fsync(pipes[0]));
    TRY(fdatasync(pipes[1]));
    TRY(fsync(99));
    TRY(fdatasync(-1));
    int path = MUST(open("file", O_PATH));
    TRY(fsync(path));
    sync();
    puts("synced");
    return 0;
}
