// What the programs of this folder share: printing what a call answered, and a fresh folder to work in.
#ifndef OBSERVE_H
#define OBSERVE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

static inline const char *error_name(int error) {
    static const struct {
        int number;
        const char *name;
    } names[] = {
#define NAME(error) {error, #error}
        NAME(EPERM), NAME(ENOENT), NAME(ESRCH), NAME(EINTR), NAME(EIO), NAME(ENXIO), NAME(E2BIG), NAME(ENOEXEC),
        NAME(EBADF), NAME(ECHILD), NAME(EAGAIN), NAME(ENOMEM), NAME(EACCES), NAME(EFAULT), NAME(ENOTBLK), NAME(EBUSY),
        NAME(EEXIST), NAME(EXDEV), NAME(ENODEV), NAME(ENOTDIR), NAME(EISDIR), NAME(EINVAL), NAME(ENFILE), NAME(EMFILE),
        NAME(ENOTTY), NAME(ETXTBSY), NAME(EFBIG), NAME(ENOSPC), NAME(ESPIPE), NAME(EROFS), NAME(EMLINK), NAME(EPIPE),
        NAME(EDOM), NAME(ERANGE), NAME(EDEADLK), NAME(ENAMETOOLONG), NAME(ENOLCK), NAME(ENOSYS), NAME(ENOTEMPTY),
        NAME(ELOOP), NAME(ENODATA), NAME(ETIME), NAME(EOVERFLOW), NAME(EILSEQ), NAME(ENOTSOCK), NAME(EOPNOTSUPP),
        NAME(ETIMEDOUT), NAME(EDESTADDRREQ), NAME(EMSGSIZE), NAME(EPROTOTYPE), NAME(ENOPROTOOPT), NAME(EPROTONOSUPPORT),
        NAME(ESOCKTNOSUPPORT), NAME(EPFNOSUPPORT), NAME(EAFNOSUPPORT), NAME(EADDRINUSE), NAME(EADDRNOTAVAIL),
        NAME(ENETDOWN), NAME(ENETUNREACH), NAME(ENETRESET), NAME(ECONNABORTED), NAME(ECONNRESET), NAME(ENOBUFS),
        NAME(EISCONN), NAME(ENOTCONN), NAME(ESHUTDOWN), NAME(ETOOMANYREFS), NAME(ECONNREFUSED), NAME(EHOSTDOWN),
        NAME(EHOSTUNREACH), NAME(EALREADY), NAME(EINPROGRESS), NAME(ESTALE), NAME(ECANCELED), NAME(EOWNERDEAD), NAME(ENOTRECOVERABLE),
#undef NAME
    };
    static char unknown[32];
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].number == error)
            return names[i].name;
    snprintf(unknown, sizeof unknown, "errno %d", error);
    return unknown;
}

// Prints the call as written and what it answered: a number, or the name of the error.
#define TRY(call) try_print(#call, (long)(call))

static inline long try_print(const char *text, long result) {
    int error = errno;
    if (result == -1)
        printf("%s: %s\n", text, error_name(error));
    else
        printf("%s: %ld\n", text, result);
    return result;
}

// The same for calls that answer an address, which is not printed.
#define TRY_ADDRESS(call) try_address_print(#call, (void *)(call))

static inline void *try_address_print(const char *text, void *result) {
    printf("%s: %s\n", text, result == MAP_FAILED ? error_name(errno) : "an address");
    return result;
}

// Prints whether a claim holds.
#define CHECK(claim) printf("%s: %s\n", #claim, (claim) ? "yes" : "no")

// As CHECK, for claims that are made very often: says nothing of one that holds.
#define EXPECT(claim) ((claim) ? (void)0 : (void)printf("line %d: %s: no\n", __LINE__, #claim))

// Ends the program with a message when a step fails that the test takes for granted.
#define MUST(call) must_check(__LINE__, #call, (long)(call))

static inline long must_check(int line, const char *text, long result) {
    if (result == -1) {
        printf("line %d: %s: %s\n", line, text, error_name(errno));
        exit(99);
    }
    return result;
}

static inline int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static char fresh_dir_path[64];

static inline void remove_fresh_dir(void) {
    // A program may have given up its rights for a while.
    syscall(SYS_setresuid, 0, 0, 0);
    if (chdir("/") == 0)
        nftw(fresh_dir_path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// Makes an empty folder, enters it, and removes it when the program exits. `below` is "/tmp" or "/dev/shm"; the latter is
// a tmpfs on every Linux and serves tests of what differs from one file system to another.
static inline const char *fresh_dir(const char *below) {
    snprintf(fresh_dir_path, sizeof fresh_dir_path, "%s/observe-XXXXXX", below);
    if (!mkdtemp(fresh_dir_path) || chdir(fresh_dir_path) != 0) {
        printf("cannot make a folder below %s: %s\n", below, error_name(errno));
        exit(99);
    }
    atexit(remove_fresh_dir);
    return fresh_dir_path;
}

// Creates a file with the given text.
static inline void put_file(const char *path, const char *text) {
    int fd = (int)MUST(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    MUST(write(fd, text, strlen(text)));
    MUST(close(fd));
}

// Prints a file's content in one line, unprintable bytes as \xHH.
static inline void print_bytes(const char *label, const void *data, size_t len) {
    const unsigned char *bytes = data;
    printf("%s: %zu bytes \"", label, len);
    for (size_t i = 0; i < len; i++)
        if (bytes[i] >= 32 && bytes[i] < 127)
            putchar(bytes[i]);
        else
            printf("\\x%02x", bytes[i]);
    printf("\"\n");
}

static inline void show_file(const char *path) {
    static char buffer[65536];
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, error_name(errno));
        return;
    }
    ssize_t len = read(fd, buffer, sizeof buffer);
    close(fd);
    if (len < 0)
        printf("%s: %s\n", path, error_name(errno));
    else
        print_bytes(path, buffer, (size_t)len);
}

// A program that is killed must not lose what it printed; and what the caller left open must not move the numbers of
// descriptors.
__attribute__((constructor)) static void prepare(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int fd = 3; fd < 64; fd++)
        close(fd);
}

#endif
