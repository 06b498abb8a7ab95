// Record locks: those of a process never conflict with each other, those of open file descriptions do.
#include "observe.h"
#include <sys/file.h>

#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

static int lock(int fd, int command, int type, long start, long len) {
    struct flock request = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, command, &request);
}

static void query(int fd, int command, int type, long start, long len) {
    struct flock request = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    if (fcntl(fd, command, &request) < 0) {
        printf("query: %s\n", error_name(errno));
        return;
    }
    if (request.l_type == F_UNLCK)
        printf("query %ld+%ld: free\n", start, len);
    else
        printf("query %ld+%ld: type %d at %ld+%ld pid %d\n", start, len, request.l_type, (long)request.l_start,
               (long)request.l_len, request.l_pid == -1 ? -1 : request.l_pid == getpid());
}

// What locks an open file has lasts as long as the last mapping that was made of it.
static void mapped(void) {
    int one = MUST(open("file", O_RDWR)), two = MUST(open("file", O_RDWR));
    char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, one, 0), *moved;
    TRY(flock(one, LOCK_EX));
    TRY(lock(one, F_OFD_SETLK, F_WRLCK, 10, 10));
    TRY(lock(one, F_SETLK, F_WRLCK, 40, 10));
    MUST(close(one));
    TRY(flock(two, LOCK_EX | LOCK_NB));
    query(two, F_OFD_GETLK, F_WRLCK, 0, 0);
    query(two, F_OFD_GETLK, F_WRLCK, 20, 0);
    MUST(munmap(memory + 4096, 4096));
    TRY(flock(two, LOCK_EX | LOCK_NB));
    moved = mremap(memory, 4096, 16384, MREMAP_MAYMOVE);
    TRY(flock(two, LOCK_EX | LOCK_NB));
    MUST(munmap(moved, 16384));
    TRY(flock(two, LOCK_EX | LOCK_NB));
    query(two, F_OFD_GETLK, F_WRLCK, 0, 0);
    MUST(close(two));
}

int main(void) {
    fresh_dir("/tmp");
    put_file("file", "0123456789");
    int one = MUST(open("file", O_RDWR)), two = MUST(open("file", O_RDWR)), reader = MUST(open("file", O_RDONLY));
    TRY(lock(one, F_SETLK, F_WRLCK, 0, 10));
    TRY(lock(two, F_SETLK, F_WRLCK, 5, 10));
    query(two, F_GETLK, F_WRLCK, 0, 0);
    TRY(lock(reader, F_SETLK, F_WRLCK, 100, 1));
    TRY(lock(reader, F_SETLK, F_RDLCK, 100, 1));
    TRY(lock(one, F_SETLK, F_UNLCK, 0, 0));
    TRY(lock(one, F_SETLK, 9, 0, 0));
    TRY(lock(one, F_SETLK, F_RDLCK, -1, 1));
    TRY(lock(99, F_SETLK, F_RDLCK, 0, 1));
    TRY(fcntl(one, F_SETLK, (void *)1));

    TRY(lock(one, F_OFD_SETLK, F_WRLCK, 10, 10));
    TRY(lock(two, F_OFD_SETLK, F_WRLCK, 15, 10));
    TRY(lock(two, F_OFD_SETLK, F_RDLCK, 20, 10));
    query(two, F_OFD_GETLK, F_RDLCK, 0, 0);
    query(one, F_OFD_GETLK, F_WRLCK, 0, 0);
    query(one, F_OFD_GETLK, F_RDLCK, 0, 0);
    TRY(lock(one, F_OFD_SETLK, F_UNLCK, 12, 3));
    query(two, F_OFD_GETLK, F_WRLCK, 12, 2);
    query(two, F_OFD_GETLK, F_WRLCK, 0, 12);
    query(two, F_OFD_GETLK, F_WRLCK, 12, 8);
    MUST(close(one));
    TRY(lock(two, F_OFD_SETLK, F_WRLCK, 0, 0));
    MUST(close(two));
    mapped();
    return 0;
}
