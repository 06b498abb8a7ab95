// EFAULT: every call that is given a bad address says so and changes nothing.
#include "observe.h"
#include <grp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/uio.h>

static long call(long number, long a, long b, long c, long d, long e) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
    return result;
}

#define BAD(number, a, b, c, d, e)                                                              \
    do {                                                                                      \
        long result = call(SYS_##number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e)); \
        if (result != -EFAULT)                                                                \
            printf(#number " with %s: %ld\n", places[i].name, result);                          \
        calls++;                                                                              \
    } while (0)

int main(void) {
    fresh_dir("/tmp");
    MUST(setgroups(1, (gid_t[]){7}));
    put_file("file", "0123456789");
    int fd = MUST(open("file", O_RDWR)), p[2], folder = MUST(open(".", O_RDONLY)), calls = 0;
    MUST(pipe(p));
    char *reserved = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *unmapped = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(unmapped, 8192);
    const struct {
        const char *name;
        unsigned long address;
    } places[] = {
        {"a small number", 0x10},
        {"unmapped memory", (unsigned long)unmapped},
        {"reserved memory", (unsigned long)reserved},
        {"an address that is none", 0x800000000000},
        {"the kernel's half", 0xffff800000000000},
        {"the kernel's image", 0xffffffff80000000},
        {"the last page", 0xfffffffffffff000},
    };
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        unsigned long bad = places[i].address;
        BAD(read, fd, bad, 10, 0, 0);
        BAD(write, fd, bad, 10, 0, 0);
        BAD(pread64, fd, bad, 10, 0, 0);
        BAD(pwrite64, fd, bad, 10, 0, 0);
        BAD(readv, fd, bad, 1, 0, 0);
        BAD(writev, fd, bad, 1, 0, 0);
        BAD(open, bad, O_RDONLY, 0, 0, 0);
        BAD(openat, AT_FDCWD, bad, O_RDONLY, 0, 0);
        BAD(stat, "file", bad, 0, 0, 0);
        BAD(stat, bad, reserved, 0, 0, 0);
        BAD(lstat, "file", bad, 0, 0, 0);
        BAD(fstat, fd, bad, 0, 0, 0);
        BAD(newfstatat, AT_FDCWD, "file", bad, 0, 0);
        BAD(statx, AT_FDCWD, "file", 0, 0x7ff, bad);
        BAD(statfs, "file", bad, 0, 0, 0);
        BAD(fstatfs, fd, bad, 0, 0, 0);
        BAD(access, bad, F_OK, 0, 0, 0);
        BAD(getdents64, folder, bad, 4096, 0, 0);
        BAD(getcwd, bad, 4096, 0, 0, 0);
        BAD(chdir, bad, 0, 0, 0, 0);
        BAD(mkdir, bad, 0755, 0, 0, 0);
        BAD(rmdir, bad, 0, 0, 0, 0);
        BAD(unlink, bad, 0, 0, 0, 0);
        BAD(rename, bad, "x", 0, 0, 0);
        BAD(rename, "file", bad, 0, 0, 0);
        BAD(link, "file", bad, 0, 0, 0);
        BAD(symlink, bad, "x", 0, 0, 0);
        BAD(readlink, bad, reserved, 10, 0, 0);
        BAD(chmod, bad, 0644, 0, 0, 0);
        BAD(truncate, bad, 0, 0, 0, 0);
        BAD(utimensat, AT_FDCWD, "file", bad, 0, 0);
        BAD(pipe, bad, 0, 0, 0, 0);
        BAD(pipe2, bad, 0, 0, 0, 0);
        BAD(poll, bad, 1, 0, 0, 0);
        BAD(select, 10, bad, 0, 0, 0);
        BAD(ioctl, p[0], 0x541b, bad, 0, 0);
        BAD(fcntl, fd, F_SETLK, bad, 0, 0);
        BAD(uname, bad, 0, 0, 0, 0);
        BAD(sysinfo, bad, 0, 0, 0, 0);
        BAD(getrlimit, RLIMIT_NOFILE, bad, 0, 0, 0);
        BAD(setrlimit, RLIMIT_NOFILE, bad, 0, 0, 0);
        BAD(prlimit64, 0, RLIMIT_NOFILE, 0, bad, 0);
        BAD(getrusage, RUSAGE_SELF, bad, 0, 0, 0);
        BAD(times, bad, 0, 0, 0, 0);
        BAD(clock_gettime, 1, bad, 0, 0, 0);
        BAD(clock_getres, 1, bad, 0, 0, 0);
        BAD(nanosleep, bad, 0, 0, 0, 0);
        BAD(gettimeofday, bad, 0, 0, 0, 0);
        BAD(time, bad, 0, 0, 0, 0);
        BAD(rt_sigaction, SIGUSR1, bad, 0, 8, 0);
        BAD(rt_sigaction, SIGUSR1, 0, bad, 8, 0);
        BAD(rt_sigprocmask, SIG_BLOCK, bad, 0, 8, 0);
        BAD(rt_sigprocmask, SIG_BLOCK, 0, bad, 8, 0);
        BAD(sigaltstack, bad, 0, 0, 0, 0);
        BAD(sigaltstack, 0, bad, 0, 0, 0);
        BAD(getrandom, bad, 16, 0, 0, 0);
        BAD(getgroups, 64, bad, 0, 0, 0);
        BAD(getresuid, bad, bad, bad, 0, 0);
        BAD(getcpu, bad, 0, 0, 0, 0);
        BAD(arch_prctl, 0x1003, bad, 0, 0, 0);
        BAD(sched_getaffinity, 0, 1024, bad, 0, 0);
        BAD(openat2, AT_FDCWD, "file", bad, 24, 0);
    }
    printf("%d calls made\n", calls);
    show_file("file");
    return 0;
}
