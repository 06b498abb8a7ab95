// linkat of what has no name: O_TMPFILE, O_EXCL, AT_EMPTY_PATH, /proc/self/fd, removed files.
#include "observe.h"

static char path[64];

static const char *proc_path(int fd) {
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

static void links(int fd) {
    struct stat status;
    MUST(fstat(fd, &status));
    printf("  links %lu mode %o size %ld\n", (unsigned long)status.st_nlink, status.st_mode, (long)status.st_size);
}

int main(void) {
    fresh_dir("/dev/shm");
    umask(027);
    int fd = (int)TRY(open(".", O_TMPFILE | O_RDWR, 0666));
    links(fd);
    MUST(write(fd, "abc", 3));
    TRY(linkat(fd, "", AT_FDCWD, "one", 0));
    TRY(linkat(fd, "", AT_FDCWD, "one", AT_SYMLINK_FOLLOW));
    TRY(linkat(fd, "", AT_FDCWD, "one", AT_EMPTY_PATH));
    links(fd);
    TRY(linkat(fd, "", AT_FDCWD, "one", AT_EMPTY_PATH));
    TRY(linkat(AT_FDCWD, proc_path(fd), AT_FDCWD, "two", 0));
    TRY(linkat(AT_FDCWD, proc_path(fd), AT_FDCWD, "two", AT_SYMLINK_FOLLOW));
    links(fd);
    show_file("two");
    MUST(unlink("one"));
    MUST(unlink("two"));
    links(fd);
    TRY(linkat(fd, "", AT_FDCWD, "three", AT_EMPTY_PATH));
    close(fd);
    fd = (int)TRY(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
    TRY(linkat(fd, "", AT_FDCWD, "three", AT_EMPTY_PATH));
    TRY(linkat(AT_FDCWD, proc_path(fd), AT_FDCWD, "three", AT_SYMLINK_FOLLOW));
    links(fd);
    close(fd);
    fd = (int)TRY(open(".", O_TMPFILE | O_WRONLY, 04777));
    links(fd);
    TRY(linkat(AT_FDCWD, proc_path(fd), AT_FDCWD, "four", AT_SYMLINK_FOLLOW));
    links(fd);
    close(fd);
    // Flags.
    TRY(open(".", O_TMPFILE | O_RDONLY, 0600));
    TRY(open(".", O_TMPFILE | O_RDWR | O_CREAT, 0600));
    TRY(open("four", O_TMPFILE | O_RDWR, 0600));
    TRY(open("absent", O_TMPFILE | O_RDWR, 0600));
    TRY(open(".", (O_TMPFILE & ~O_DIRECTORY) | O_RDWR, 0600));
    TRY(open(".", O_TMPFILE | O_RDWR | O_TRUNC, 0600));
    TRY(linkat(AT_FDCWD, "four", AT_FDCWD, "five", AT_SYMLINK_NOFOLLOW));
    TRY(linkat(AT_FDCWD, "four", AT_FDCWD, "five", 1));
    TRY(linkat(AT_FDCWD, "four", AT_FDCWD, "five", AT_EMPTY_PATH));
    // Other things that descriptors name.
    int removed = (int)MUST(open("five", O_RDWR));
    int only = (int)MUST(open("five", O_PATH));
    MUST(unlink("five"));
    TRY(linkat(removed, "", AT_FDCWD, "six", AT_EMPTY_PATH));
    TRY(linkat(only, "", AT_FDCWD, "seven", AT_EMPTY_PATH));
    MUST(unlink("four"));
    TRY(linkat(removed, "", AT_FDCWD, "eight", AT_EMPTY_PATH));
    links(removed);
    int folder = (int)MUST(open(".", O_PATH));
    TRY(linkat(folder, "", AT_FDCWD, "nine", AT_EMPTY_PATH));
    TRY(linkat(AT_FDCWD, "", AT_FDCWD, "nine", AT_EMPTY_PATH));
    int pipes[2];
    MUST(pipe(pipes));
    TRY(linkat(pipes[0], "", AT_FDCWD, "nine", AT_EMPTY_PATH));
    TRY(linkat(AT_FDCWD, proc_path(pipes[0]), AT_FDCWD, "nine", AT_SYMLINK_FOLLOW));
    int memory = (int)MUST(syscall(SYS_memfd_create, "m", 0));
    TRY(linkat(memory, "", AT_FDCWD, "nine", AT_EMPTY_PATH));
    // The name of a link, and of what it points to.
    MUST(symlink("target", "link"));
    int link_fd = (int)MUST(open("link", O_PATH | O_NOFOLLOW));
    TRY(linkat(link_fd, "", AT_FDCWD, "ten", AT_EMPTY_PATH));
    struct stat status;
    TRY(lstat("ten", &status));
    TRY(linkat(AT_FDCWD, "link", AT_FDCWD, "eleven", AT_SYMLINK_FOLLOW));
    TRY(linkat(AT_FDCWD, "link", AT_FDCWD, "eleven", 0));
    TRY(linkat(AT_FDCWD, "link", AT_FDCWD, "eleven/", 0));
    TRY(linkat(99, "", AT_FDCWD, "twelve", AT_EMPTY_PATH));
    TRY(linkat(99, "/absent", AT_FDCWD, "twelve", 0));
    // Without CAP_DAC_READ_SEARCH.
    put_file("thirteen", "");
    MUST(chmod(".", 0777));
    int before = (int)MUST(open("thirteen", O_RDWR));
    MUST(syscall(SYS_setresuid, 1000, 1000, 0));
    fd = (int)TRY(open(".", O_TMPFILE | O_RDWR, 0600));
    TRY(linkat(AT_FDCWD, proc_path(fd), AT_FDCWD, "fifteen", AT_SYMLINK_FOLLOW));
    TRY(linkat(before, "", AT_FDCWD, "sixteen", AT_EMPTY_PATH));
    return 0;
}
