//@ run: split
//@ run: order
//@ run: access
//@ run: limits
//@ run: whole
// Record locks and flock: how ranges are split and joined, which conflict is told of, who may lock what, and the ends
// of ranges.
#include "observe.h"
#include <sys/file.h>

#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#define F_OFD_SETLKW 38
#endif

static long lock(int fd, int command, int kind, int whence, long start, long len) {
    struct flock wanted = {.l_type = (short)kind, .l_whence = (short)whence, .l_start = start, .l_len = len};
    return fcntl(fd, command, &wanted);
}

// What is in the way of a lock.
static void show(int fd, int command, int kind, long start, long len) {
    static const char *const names[] = {"shared", "exclusive", "free"};
    struct flock told = {.l_type = (short)kind, .l_start = start, .l_len = len};
    long result = fcntl(fd, command, &told);
    printf("  %s %ld+%ld: ", names[kind], start, len);
    if (result < 0)
        printf("%s\n", error_name(errno));
    else
        printf("%s %ld+%ld of %s\n", names[told.l_type], (long)told.l_start, (long)told.l_len,
               told.l_pid == -1 ? "an open file" : told.l_pid == getpid() ? "the process" : "nobody");
}

static int open_it(int flags) {
    return (int)MUST(open("f", flags));
}

static void split(void) {
    int a = open_it(O_RDWR), b = open_it(O_RDWR);
    TRY(lock(a, F_OFD_SETLK, F_WRLCK, SEEK_SET, 0, 100));
    TRY(lock(a, F_OFD_SETLK, F_UNLCK, SEEK_SET, 20, 10));
    TRY(lock(a, F_OFD_SETLK, F_RDLCK, SEEK_SET, 50, 10));
    show(b, F_OFD_GETLK, F_WRLCK, 0, 0);
    show(b, F_OFD_GETLK, F_WRLCK, 20, 10);
    show(b, F_OFD_GETLK, F_WRLCK, 25, 30);
    show(b, F_OFD_GETLK, F_RDLCK, 45, 30);
    show(b, F_OFD_GETLK, F_RDLCK, 50, 5);
    show(b, F_OFD_GETLK, F_WRLCK, 55, 3);
    show(a, F_OFD_GETLK, F_WRLCK, 0, 0);
    show(a, F_GETLK, F_WRLCK, 0, 0);
    show(a, F_OFD_GETLK, F_UNLCK, 0, 0);
    show(b, F_OFD_GETLK, F_UNLCK, 0, 0);
    show(a, F_GETLK, F_UNLCK, 0, 0);
    TRY(lock(b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 50, 10));
    TRY(lock(b, F_OFD_SETLK, F_WRLCK, SEEK_SET, 50, 10));
    TRY(lock(b, F_SETLK, F_WRLCK, SEEK_SET, 10, 5));
    TRY(lock(b, F_SETLK, F_WRLCK, SEEK_SET, 20, 10));
    show(a, F_OFD_GETLK, F_WRLCK, 15, 30);
    TRY(lock(a, F_OFD_SETLK, F_WRLCK, SEEK_SET, 50, 10));
    // A lock of the process goes when any descriptor of the file is closed, one of an open file with that.
    TRY(lock(a, F_SETLK, F_WRLCK, SEEK_SET, 1000, 10));
    show(b, F_OFD_GETLK, F_WRLCK, 1000, 10);
    close(open_it(O_RDONLY));
    show(b, F_OFD_GETLK, F_WRLCK, 1000, 10);
    show(b, F_OFD_GETLK, F_WRLCK, 0, 10);
    close(a);
    show(b, F_OFD_GETLK, F_WRLCK, 0, 10);
}

// Which of several is told of: the first of who came first.
static void order(void) {
    int a = open_it(O_RDWR), b = open_it(O_RDWR), c = open_it(O_RDONLY);
    TRY(lock(a, F_OFD_SETLK, F_RDLCK, SEEK_SET, 50, 10));
    TRY(lock(b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 0, 60));
    show(c, F_OFD_GETLK, F_WRLCK, 0, 0);
    TRY(lock(a, F_OFD_SETLK, F_RDLCK, SEEK_SET, 0, 10));
    TRY(lock(a, F_OFD_SETLK, F_RDLCK, SEEK_SET, 10, 10));
    TRY(lock(a, F_OFD_SETLK, F_RDLCK, SEEK_SET, 30, 10));
    show(c, F_OFD_GETLK, F_WRLCK, 0, 0);
    TRY(lock(a, F_OFD_SETLK, F_RDLCK, SEEK_SET, 20, 10));
    show(c, F_OFD_GETLK, F_WRLCK, 5, 0);
    TRY(lock(b, F_OFD_SETLK, F_UNLCK, SEEK_SET, 0, 0));
    TRY(lock(a, F_OFD_SETLK, F_WRLCK, SEEK_SET, 15, 2));
    show(c, F_OFD_GETLK, F_RDLCK, 0, 0);
    show(c, F_OFD_GETLK, F_WRLCK, 0, 0);
    show(c, F_OFD_GETLK, F_WRLCK, 17, 0);
    TRY(lock(b, F_OFD_SETLK, F_RDLCK, SEEK_SET, 0, 5));
    TRY(lock(a, F_OFD_SETLK, F_UNLCK, SEEK_SET, 0, 20));
    show(c, F_OFD_GETLK, F_WRLCK, 0, 0);
    TRY(lock(a, F_OFD_SETLK, F_UNLCK, SEEK_SET, 0, 0));
    TRY(lock(a, F_OFD_SETLK, F_RDLCK, SEEK_SET, 0, 5));
    show(c, F_OFD_GETLK, F_WRLCK, 0, 0);
}

static void rights(void) {
    int both = open_it(O_RDWR), reader = open_it(O_RDONLY), writer = open_it(O_WRONLY), place = open_it(O_PATH), p[2];
    int folder = (int)MUST(open(".", O_RDONLY));
    MUST(pipe(p));
    TRY(lock(reader, F_SETLK, F_WRLCK, SEEK_SET, 200, 1));
    TRY(lock(writer, F_SETLK, F_RDLCK, SEEK_SET, 200, 1));
    TRY(lock(reader, F_OFD_SETLK, F_WRLCK, SEEK_SET, 200, 1));
    TRY(lock(writer, F_SETLK, F_WRLCK, SEEK_SET, 200, 1));
    show(reader, F_GETLK, F_WRLCK, 200, 1);
    show(writer, F_GETLK, F_RDLCK, 200, 1);
    show(reader, F_OFD_GETLK, F_WRLCK, 200, 1);
    TRY(lock(place, F_SETLK, F_RDLCK, SEEK_SET, 0, 0));
    TRY(lock(p[0], F_SETLK, F_RDLCK, SEEK_SET, 0, 0));
    TRY(lock(p[0], F_SETLK, F_RDLCK, SEEK_END, 0, 0));
    TRY(lock(p[1], F_SETLK, F_WRLCK, SEEK_CUR, 0, 0));
    TRY(lock(folder, F_SETLK, F_RDLCK, SEEK_SET, 0, 0));
    TRY(lock(folder, F_SETLK, F_WRLCK, SEEK_SET, 0, 0));
    struct flock named = {.l_type = F_WRLCK, .l_pid = 5};
    TRY(fcntl(both, F_OFD_SETLK, &named));
    TRY(fcntl(both, F_OFD_GETLK, &named));
    TRY(fcntl(both, F_OFD_SETLKW, &named));
    TRY(fcntl(both, F_SETLK, &named));
    TRY(fcntl(both, F_SETLK, 8));
    TRY(fcntl(both, F_OFD_GETLK, 8));
}

static void limits(void) {
    static const struct {
        int whence;
        long start, len;
    } ranges[] = {
        {SEEK_SET, LONG_MAX, 0}, {SEEK_SET, LONG_MAX, 1},   {SEEK_SET, LONG_MAX, 2},        {SEEK_SET, LONG_MAX - 1, 2},
        {SEEK_SET, -1, 0},       {SEEK_SET, -1, 5},         {SEEK_SET, 300, -10},           {SEEK_SET, 5, -10},
        {SEEK_SET, 0, -1},       {SEEK_SET, 300, LONG_MIN}, {SEEK_SET, LONG_MAX, LONG_MIN}, {SEEK_END, LONG_MAX, 0},
        {SEEK_END, -14, 3},      {SEEK_END, -15, 3},        {3, 0, 3}};
    int a = open_it(O_RDWR), b = open_it(O_RDWR);
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        printf("%d %ld %ld: ", ranges[i].whence, ranges[i].start, ranges[i].len);
        TRY(lock(a, F_SETLK, F_WRLCK, ranges[i].whence, ranges[i].start, ranges[i].len));
    }
    TRY(lock(a, F_SETLK, 3, SEEK_SET, 0, 3));
    TRY(lock(a, F_SETLK, -1, SEEK_SET, 0, 3));
    TRY(lock(a, F_GETLK, 3, SEEK_SET, 0, 3));
    TRY(lock(a, F_OFD_GETLK, 3, SEEK_SET, 0, 3));
    show(b, F_OFD_GETLK, F_WRLCK, 250, 0);
    show(b, F_OFD_GETLK, F_WRLCK, LONG_MAX - 1, 0);
    show(b, F_OFD_GETLK, F_WRLCK, LONG_MAX, 0);
}

static void whole(void) {
    int reader = open_it(O_RDONLY), writer = open_it(O_WRONLY), place = open_it(O_PATH), p[2];
    MUST(pipe(p));
    TRY(flock(p[0], LOCK_EX));
    TRY(flock(place, LOCK_EX));
    TRY(flock((int)MUST(open(".", O_RDONLY)), LOCK_EX));
    TRY(flock(reader, LOCK_EX));
    TRY(flock(writer, LOCK_SH | LOCK_NB));
    TRY(flock(reader, LOCK_SH));
    TRY(flock(writer, LOCK_SH | LOCK_NB));
    TRY(flock(reader, LOCK_EX | LOCK_NB));
    TRY(flock(writer, LOCK_EX | LOCK_NB));
    TRY(flock(reader, LOCK_UN));
    TRY(flock(writer, LOCK_UN | LOCK_NB));
    TRY(flock(writer, LOCK_SH | LOCK_EX));
    TRY(flock(writer, 0));
    TRY(flock(writer, LOCK_NB));
    // Mandatory locks of old, which do nothing.
    TRY(flock(writer, LOCK_SH | 32));
    TRY(flock(writer, 32 | 64));
    TRY(flock(99, 32));
    TRY(flock(writer, 64));
    TRY(flock(99, LOCK_SH));
    TRY(flock(99, 0));
    int copy = (int)MUST(dup(reader)), other = open_it(O_RDWR);
    TRY(flock(reader, LOCK_EX));
    close(reader);
    TRY(flock(other, LOCK_EX | LOCK_NB));
    TRY(flock(copy, LOCK_UN));
    TRY(flock(other, LOCK_EX | LOCK_NB));
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    fresh_dir("/tmp");
    put_file("f", "some text here");
    if (strcmp(part, "split") == 0)
        split();
    else if (strcmp(part, "order") == 0)
        order();
    else if (strcmp(part, "access") == 0)
        rights();
    else if (strcmp(part, "limits") == 0)
        limits();
    else if (strcmp(part, "whole") == 0)
        whole();
    return 0;
}
