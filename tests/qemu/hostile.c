// A program that means harm: `hostile MODE SEED` does what MODE says with arguments drawn from SEED. However it ends, the
// machine must end with a record of it: a status or a signal of the program, never the death of the kernel or silence.
// It refuses to run anywhere else than as the one program of a machine.
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

// Nothing changes between sigsetjmp and the way back to it; and recursion without end is what is wanted.
#pragma GCC diagnostic ignored "-Wclobbered"
#pragma GCC diagnostic ignored "-Winfinite-recursion"

typedef uint64_t u64;
#define PAGE 4096ul
// The memory that calls and wild code may change; registers of wild code point here, so that sums of two of them and any
// displacement stay in the program's half.
#define ARENA 0x10000000000ul
#define ARENA_BYTES (64 * PAGE)
// Memory for arguments, before memory that is not there.
#define scratch ((char *)0x20000000000)
#define SCRATCH_BYTES (16 * PAGE)
#define TICK_US 20000

static u64 state;
static sigjmp_buf recovery;
static volatile sig_atomic_t can_recover, leaves_on_alarm;
static char signal_stack[16 * PAGE] __attribute__((aligned(4096)));
static u64 thread_pointer;

static u64 next(void) {
    state += 0x9e3779b97f4a7c15;
    u64 z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static u64 below(u64 limit) { return next() % limit; }
static int one_in(u64 count) { return below(count) == 0; }

static long call(long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
    long result;
    register u64 r10 __asm__("r10") = d;
    register u64 r8 __asm__("r8") = e;
    register u64 r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

// The same with a stack pointer that points to `stack`.
static long call_on(u64 stack, long number, u64 a, u64 b, u64 c) {
    long result;
    __asm__ volatile("mov %%rsp, %%r12\n"
                     "mov %5, %%rsp\n"
                     "syscall\n"
                     "mov %%r12, %%rsp\n"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(stack)
                     : "rcx", "r11", "r12", "memory");
    return result;
}

// Signals.

static void on_signal(int signal, siginfo_t *info, void *context) {
    call(SYS_arch_prctl, 0x1002, thread_pointer, 0, 0, 0, 0);
    int is_fault = signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE || signal == SIGTRAP;
    if ((is_fault || (signal == SIGALRM && leaves_on_alarm)) && can_recover)
        siglongjmp(recovery, 1);
    if (is_fault) {
        // A fault of this program itself, perhaps of its own doing: a call may have written to its data.
        dprintf(2, "signal %d at %p, address %p\n", signal, (void *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP],
                info->si_addr);
        _exit(3);
    }
    if (one_in(4))
        call(SYS_kill, call(SYS_getpid, 0, 0, 0, 0, 0, 0), 10 + 2 * below(2), 0, 0, 0, 0);
}

static void handle_all(int flags) {
    for (int signal = 1; signal < 65; signal++) {
        struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags};
        if (signal == SIGALRM || one_in(2))
            action.sa_flags |= SA_NODEFER;
        sigaction(signal, &action, NULL);
    }
}

static void restore_signals(void) {
    u64 mask = 0;
    call(SYS_rt_sigprocmask, SIG_SETMASK, (u64)&mask, 0, 8, 0, 0);
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    call(SYS_sigaltstack, (u64)&stack, 0, 0, 0, 0, 0);
    struct itimerval tick = {{0, TICK_US}, {0, TICK_US}};
    call(SYS_setitimer, ITIMER_REAL, (u64)&tick, 0, 0, 0, 0);
}

static void prepare(void) {
    __asm__("mov %%fs:0, %0" : "=r"(thread_pointer));
    mmap((void *)ARENA, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    mmap(scratch, SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    handle_all(SA_ONSTACK);
    restore_signals();
}

// System calls. A letter for each argument says what it should be like:
// f descriptor, p pointer, s path, n length, i small number, x any number, S signal, t time, v vector, P process,
// c command of ioctl, C command of fcntl, o option of prctl, A option of arch_prctl,
// a address in the arena, l length in the arena, k clock, r protection, g flags of open, m mode.

struct kind {
    short number;
    const char *arguments;
};

static const struct kind kinds[] = {
    {SYS_read, "fpn"}, {SYS_write, "fpn"}, {SYS_open, "sgm"}, {SYS_close, "f"}, {SYS_stat, "sp"}, {SYS_fstat, "fp"},
    {SYS_lstat, "sp"}, {SYS_poll, "pii"}, {SYS_lseek, "fxi"}, {SYS_mmap, "alrxfx"}, {SYS_mprotect, "alr"},
    {SYS_munmap, "al"}, {SYS_brk, "x"}, {SYS_rt_sigaction, "Sppi"}, {SYS_rt_sigprocmask, "ippi"}, {SYS_ioctl, "fcp"},
    {SYS_pread64, "fpnx"}, {SYS_pwrite64, "fpnx"}, {SYS_readv, "fvi"}, {SYS_writev, "fvi"}, {SYS_access, "sm"},
    {SYS_pipe, "p"}, {SYS_select, "ipppt"}, {SYS_sched_yield, ""}, {SYS_mremap, "allia"}, {SYS_msync, "ali"},
    {SYS_mincore, "alp"}, {SYS_madvise, "ali"}, {SYS_dup, "f"}, {SYS_dup2, "ff"}, {SYS_nanosleep, "tp"},
    {SYS_getitimer, "ip"}, {SYS_alarm, "i"}, {SYS_setitimer, "ipp"}, {SYS_sendfile, "ffpn"}, {SYS_kill, "PS"},
    {SYS_uname, "p"}, {SYS_fcntl, "fCp"}, {SYS_fcntl, "fCi"}, {SYS_flock, "fi"}, {SYS_fsync, "f"}, {SYS_truncate, "sx"},
    {SYS_ftruncate, "fx"}, {SYS_getdents, "fpn"}, {SYS_getcwd, "pn"}, {SYS_chdir, "s"}, {SYS_fchdir, "f"},
    {SYS_rename, "ss"}, {SYS_mkdir, "sm"}, {SYS_rmdir, "s"}, {SYS_creat, "sm"}, {SYS_link, "ss"}, {SYS_unlink, "s"},
    {SYS_symlink, "ss"}, {SYS_readlink, "spn"}, {SYS_chmod, "sm"}, {SYS_fchmod, "fm"}, {SYS_chown, "sii"},
    {SYS_fchown, "fii"}, {SYS_lchown, "sii"}, {SYS_umask, "m"}, {SYS_gettimeofday, "pp"}, {SYS_getrlimit, "ip"},
    {SYS_getrusage, "ip"}, {SYS_sysinfo, "p"}, {SYS_times, "p"}, {SYS_setpgid, "Pi"}, {SYS_setsid, ""},
    {SYS_getgroups, "ip"}, {SYS_setgroups, "ip"}, {SYS_getresuid, "ppp"}, {SYS_getresgid, "ppp"}, {SYS_getpgid, "P"},
    {SYS_getsid, "P"}, {SYS_capget, "pp"}, {SYS_capset, "pp"}, {SYS_rt_sigpending, "pi"},
    {SYS_rt_sigtimedwait, "ppti"}, {SYS_rt_sigqueueinfo, "PSp"}, {SYS_sigaltstack, "pp"}, {SYS_utime, "sp"},
    {SYS_mknod, "smx"}, {SYS_statfs, "sp"}, {SYS_fstatfs, "fp"}, {SYS_sched_get_priority_max, "i"}, {SYS_mlock, "al"},
    {SYS_munlock, "al"}, {SYS_mlockall, "i"}, {SYS_munlockall, ""}, {SYS_prctl, "opxxx"}, {SYS_sync, ""},
    {SYS_sethostname, "pn"}, {SYS_setdomainname, "pn"}, {SYS_readahead, "fxn"}, {SYS_tkill, "PS"}, {SYS_time, "p"},
    {SYS_sched_getaffinity, "Pnp"}, {SYS_getdents64, "fpn"}, {SYS_restart_syscall, ""}, {SYS_fadvise64, "fxxi"},
    {SYS_timer_create, "kpp"}, {SYS_timer_settime, "iipp"}, {SYS_timer_gettime, "ip"}, {SYS_timer_getoverrun, "i"},
    {SYS_timer_delete, "i"}, {SYS_clock_gettime, "kp"}, {SYS_clock_getres, "kp"}, {SYS_clock_nanosleep, "kitp"},
    {SYS_tgkill, "PPS"}, {SYS_utimes, "sp"}, {SYS_openat, "fsgm"}, {SYS_mkdirat, "fsm"}, {SYS_mknodat, "fsmx"},
    {SYS_fchownat, "fsiix"}, {SYS_futimesat, "fsp"}, {SYS_newfstatat, "fspx"}, {SYS_unlinkat, "fsx"},
    {SYS_renameat, "fsfs"}, {SYS_linkat, "fsfsx"}, {SYS_symlinkat, "sfs"}, {SYS_readlinkat, "fspn"},
    {SYS_fchmodat, "fsm"}, {SYS_faccessat, "fsm"}, {SYS_pselect6, "ippptp"}, {SYS_ppoll, "pitpi"},
    {SYS_set_robust_list, "pn"}, {SYS_get_robust_list, "Ppp"}, {SYS_sync_file_range, "fxxi"},
    {SYS_utimensat, "fspx"}, {SYS_timerfd_create, "kx"}, {SYS_eventfd, "x"}, {SYS_fallocate, "fixx"},
    {SYS_timerfd_settime, "fipp"}, {SYS_timerfd_gettime, "fp"}, {SYS_eventfd2, "xg"}, {SYS_dup3, "ffg"},
    {SYS_pipe2, "pg"}, {SYS_preadv, "fvixx"}, {SYS_pwritev, "fvixx"}, {SYS_rt_tgsigqueueinfo, "PPSp"},
    {SYS_syncfs, "f"}, {SYS_getcpu, "ppp"}, {SYS_renameat2, "fsfsi"}, {SYS_getrandom, "pni"}, {SYS_mlock2, "ali"},
    {SYS_copy_file_range, "fpfpni"}, {SYS_preadv2, "fvixxi"}, {SYS_pwritev2, "fvixxi"}, {SYS_statx, "fsxxp"},
    {SYS_close_range, "ffi"}, {437, "fspn"}, {439, "fsmx"}, {452, "fsmx"}, {SYS_set_tid_address, "p"},
    {SYS_arch_prctl, "Ap"}, {SYS_epoll_create1, "i"}, {SYS_epoll_ctl, "fifp"}, {SYS_epoll_ctl, "fifp"},
    {SYS_epoll_wait, "fpii"}, {SYS_epoll_pwait, "fpiipi"}, {SYS_signalfd4, "fpig"},
    {SYS_prlimit64, "Pipp"}, {SYS_execve, "spp"}, {SYS_clone, "xxppx"}, {SYS_futex, "pixtpx"},
};

static const char *const paths[] = {
    "/", "/tmp", "/tmp/a", "/tmp/b", "/tmp/c/d", "/tmp/c", "/proc", "/proc/self/maps", "/proc/self/fd", "/proc/self/fd/3",
    "/proc/self/exe", "/proc/self/cwd", "/proc/self/root/tmp/a", "/proc/self/stat", "/proc/self/mem", "/proc/meminfo",
    "/proc/mounts", "/proc/sys/kernel/hostname", "/dev", "/dev/null", "/dev/zero", "/dev/full", "/dev/random",
    "/dev/tty", "/dev/console", "/dev/fd/4", "/dev/stdin", "/etc/passwd", "/etc", "", ".", "..", "../..", "a", "b/../a",
    "c/", "/tmp/a/", "/tmp/../tmp/./a", "//", "/tmp/loop", "/tmp/fifo", "/etc/passwd/x", "/nowhere/at/all",
    "/proc/self/fdinfo/3", "/proc/1/status", "/proc/99999/stat", "/proc/self/task", "/proc/self/environ", "/dev/shm/x",
};

static const char constant[64] = "read only";

static u64 pointer(void) {
    u64 small = below(64);
    switch (below(20)) {
    case 0: return 0;
    case 1: return small;
    case 2: return 0xffff800000000000 + (next() >> 20);
    case 3: return ~0ul - small;
    case 4: return next();
    case 5: return 0x7fffffffefff - small;
    case 6: return 0x7ffffffff000 + small;
    case 7: return 0xffffffff80000000 + below(1 << 30);
    case 8: return (u64)constant + small;
    case 9: return ARENA + ARENA_BYTES - small;
    case 10: return ARENA + PAGE * below(64) - small;
    case 11: case 12: case 13: return ARENA + below(ARENA_BYTES);
    default: return (u64)scratch + below(SCRATCH_BYTES - PAGE) / 8 * 8;
    }
}

static u64 number(void) {
    switch (below(8)) {
    case 0: return next();
    case 1: return -below(70);
    case 2: return 1ul << below(64);
    case 3: return (1ul << below(64)) - 1;
    case 4: return PAGE * below(1 << below(30));
    case 5: return next() >> below(64);
    default: return below(100);
    }
}

static u64 path(void) {
    if (one_in(12))
        return pointer();
    const char *text = paths[below(sizeof paths / sizeof *paths)];
    char *place = scratch + below(SCRATCH_BYTES - 2 * PAGE);
    size_t length = strlen(text);
    memcpy(place, text, length + 1);
    if (one_in(20))
        memset(place, 'a' + below(2), below(5000)), place[5000] = 0;
    else if (length && one_in(20))
        place[below(length)] = next();
    return (u64)place;
}

static u64 vector(void) {
    struct iovec *vectors = (struct iovec *)(scratch + below(8) * PAGE);
    for (int i = 0; i < 16; i++)
        vectors[i] = (struct iovec){(void *)pointer(), one_in(4) ? number() : below(9000)};
    return one_in(10) ? pointer() : (u64)vectors;
}

static u64 moment(void) {
    u64 *time = (u64 *)(scratch + below(8) * PAGE);
    time[0] = one_in(8) ? number() : 0;
    time[1] = one_in(8) ? number() : below(3000000);
    return one_in(10) ? pointer() : (u64)time;
}

static u64 argument(char kind) {
    if (one_in(40) && kind != 'a' && kind != 'l' && kind != 'S' && kind != 'P')
        return number();
    switch (kind) {
    case 'f': return one_in(12) ? (u64)-100 : one_in(12) ? number() : below(40);
    case 'p': return pointer();
    case 's': return path();
    case 'n': return one_in(4) ? number() : below(5000);
    case 'i': return one_in(4) ? number() : below(12);
    case 'S': {
        // Not those that nobody can handle.
        u64 signal = below(66);
        return signal == SIGKILL || signal == SIGSTOP || (signal >= 32 && signal <= 34) ? 0 : signal;
    }
    case 't': return moment();
    case 'v': return vector();
    case 'P': return one_in(3) ? 0 : one_in(3) ? (u64)-1 : (u64)getpid();
    case 'a': return ARENA + PAGE * below(64) + (one_in(10) ? below(PAGE) : 0);
    case 'l': return one_in(30) ? number() : PAGE * below(9) + (one_in(10) ? below(PAGE) : 0);
    case 'k': return one_in(8) ? number() : below(12);
    case 'r': return one_in(20) ? number() : below(8);
    case 'g': return one_in(4) ? number() : (below(3) | (one_in(2) ? O_CREAT : 0) | (O_NONBLOCK & next()) | (O_TRUNC & next()));
    case 'c': {
        static const unsigned commands[] = {0x5401, 0x5402, 0x5403, 0x5404, 0x5405, 0x5409, 0x540a, 0x540b, 0x540e, 0x540f,
                                            0x5410, 0x5411, 0x5412, 0x5413, 0x5414, 0x541b, 0x5421, 0x5422, 0x5429, 0x5450,
                                            0x5451, 0x5452, 0x5460, 0x80045430, 1, 2, 0x1260, 0x80085201};
        return commands[below(sizeof commands / sizeof *commands)];
    }
    case 'C': return one_in(2) ? below(40) : 1024 + below(16);
    case 'o': return below(80);
    case 'A': return 0x1001 + below(4);
    case 'm': return one_in(8) ? number() : 0777;
    default: return number();
    }
}

static int is_in_arena(u64 address, u64 length) {
    return address >= ARENA && length <= ARENA_BYTES && address - ARENA <= ARENA_BYTES - length;
}

// Whether the call would only harm the program itself, or wait for ever: that proves nothing.
static int is_pointless(long number, const u64 *a) {
    switch (number) {
    case SYS_munmap: case SYS_mprotect: case SYS_madvise:
        return !is_in_arena(a[0], a[1]);
    case SYS_mmap:
        return (a[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && !is_in_arena(a[0], a[1]);
    case SYS_mremap:
        return !is_in_arena(a[0], a[1]) || ((a[3] & MREMAP_FIXED) && !is_in_arena(a[4], a[2]));
    case SYS_ppoll: case SYS_pselect6: case SYS_epoll_pwait: {
        u64 *words = (u64 *)a[number == SYS_ppoll ? 3 : number == SYS_pselect6 ? 5 : 4];
        // A mask may keep the alarm out.
        return words != NULL && (u64)words < 1ul << 47;
    }
    case SYS_clone:
        return !(a[0] & 0x100);
    case SYS_brk:
        return a[0] < 1ul << 47 && a[0] > (u64)sbrk(0) + (1 << 20);
    case SYS_rt_sigaction:
        return a[0] == SIGALRM;
    case SYS_prlimit64:
        return a[1] == RLIMIT_CPU || a[1] == RLIMIT_NOFILE || !one_in(20);
    case SYS_close:
        return (int)a[0] == 2;
    case SYS_dup2: case SYS_dup3:
        return (int)a[1] == 2;
    case SYS_close_range:
        return (unsigned)a[0] <= 2;
    case SYS_sigaltstack: // One that is everywhere cannot be replaced.
        return !one_in(50);
    case SYS_mlockall: case SYS_capset:
        return !one_in(20);
    }
    return 0;
}

static void open_many(void) {
    static const char *const names[] = {"/tmp/a", "/tmp/b", "/", "/proc", "/proc/self/maps", "/dev/null", "/dev/zero",
                                        "/dev/full", "/dev/urandom", "/dev/tty", "/etc/passwd", "/proc/self/fd"};
    mkdir("/tmp/c", 0777);
    symlink("loop", "/tmp/loop");
    mknod("/tmp/fifo", S_IFIFO | 0666, 0);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (open(names[i], (i < 2 ? O_CREAT | O_RDWR : O_RDONLY) | O_NONBLOCK, 0666) < 0)
            open(names[i], O_PATH);
    open("/tmp/fifo", O_RDWR | O_NONBLOCK);
    int ends[2];
    pipe2(ends, O_NONBLOCK);
    pipe2(ends, 0);
    call(SYS_eventfd2, 1, O_NONBLOCK, 0, 0, 0, 0);
    call(SYS_epoll_create1, 0, 0, 0, 0, 0, 0);
    u64 all = ~0ul;
    call(SYS_signalfd4, -1, (u64)&all, 8, O_NONBLOCK, 0, 0);
    call(SYS_timerfd_create, 1, O_NONBLOCK, 0, 0, 0, 0);
    open("/tmp", O_TMPFILE | O_RDWR, 0600);
    open("/tmp/b", O_WRONLY | O_APPEND);
}

static void random_calls(int count) {
    open_many();
    int is_traced = getenv("TRACE") != NULL;
    for (int i = 0; i < count; i++) {
        const struct kind *kind = &kinds[below(sizeof kinds / sizeof *kinds)];
        u64 a[6] = {next(), next(), next(), next(), next(), next()};
        for (int j = 0; kind->arguments[j]; j++)
            a[j] = argument(kind->arguments[j]);
        if (one_in(16))
            for (int j = 0; j < 64; j++)
                ((u64 *)scratch)[below(SCRATCH_BYTES / 8)] = number();
        if (is_pointless(kind->number, a))
            continue;
        if (is_traced) {
            char line[200];
            int length = snprintf(line, sizeof line, "%d: %d(%lx, %lx, %lx, %lx, %lx, %lx)\n", i, kind->number, a[0], a[1],
                                  a[2], a[3], a[4], a[5]);
            call(SYS_write, 2, (u64)line, length, 0, 0, 0);
        }
        u64 all = ~0ul;
        if (kind->number == SYS_rt_sigaction || kind->number == SYS_timer_settime)
            call(SYS_rt_sigprocmask, SIG_SETMASK, (u64)&all, 0, 8, 0, 0);
        if (sigsetjmp(recovery, 0) == 0) {
            can_recover = 1;
            long result = one_in(16) ? call_on(pointer() & ~7ul, kind->number, a[0], a[1], a[2])
                                     : call(kind->number, a[0], a[1], a[2], a[3], a[4], a[5]);
            (void)result;
            if (one_in(8) && is_in_arena(a[0], 1) && kind->number != SYS_rt_sigprocmask)
                *(volatile char *)a[0] += 1;
        }
        can_recover = 0;
        call(SYS_arch_prctl, 0x1002, thread_pointer, 0, 0, 0, 0);
        if (kind->number == SYS_rt_sigaction)
            handle_all(SA_ONSTACK);
        // A timer that fires all the time would leave no time for anything else.
        for (int id = 0; kind->number == SYS_timer_settime && id < 64; id++)
            call(SYS_timer_delete, id, 0, 0, 0, 0, 0);
        restore_signals();
        if (i % 500 == 499) {
            call(SYS_close_range, 40, ~0u, 0, 0, 0, 0);
            chdir("/");
            for (int fd = 0; fd < 20; fd++)
                ftruncate(fd, 0);
            mmap((void *)ARENA, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        }
    }
}

// Memory: the arena is mapped, changed and touched in all ways.

static void random_memory(int count) {
    int file = open("/tmp/memory", O_CREAT | O_RDWR, 0600), image = open("/proc/self/exe", O_RDONLY);
    ftruncate(file, 20 * PAGE + 100);
    for (int i = 0; i < count; i++) {
        u64 address = ARENA + PAGE * below(64), length = PAGE * (1 + below(8)), other = ARENA + PAGE * below(64);
        if (!is_in_arena(address, length))
            continue;
        int flags = MAP_FIXED | (one_in(2) ? MAP_SHARED : MAP_PRIVATE) | (one_in(6) ? MAP_POPULATE : 0) |
                    (one_in(6) ? MAP_LOCKED : 0) | (one_in(10) ? MAP_GROWSDOWN : 0) | (one_in(10) ? MAP_NORESERVE : 0);
        int with = one_in(3) ? file : one_in(2) ? image : -1;
        switch (below(12)) {
        case 0: case 1:
            call(SYS_mmap, address, length, below(8), flags | (with < 0 ? MAP_ANONYMOUS : 0), with, PAGE * below(30));
            break;
        case 2: call(SYS_munmap, address, length, 0, 0, 0, 0); break;
        case 3: call(SYS_mprotect, address, length, below(8), 0, 0, 0); break;
        case 4:
            if (is_in_arena(other, length + PAGE))
                call(SYS_mremap, address, length, one_in(3) ? length : PAGE * (1 + below(8)), 3 | (one_in(3) ? 4 : 0), other,
                     0);
            break;
        case 5: call(SYS_madvise, address, length, one_in(2) ? 4 : below(26), 0, 0, 0); break;
        case 6: ftruncate(file, below(40 * PAGE)); break;
        case 7: call(one_in(2) ? SYS_mlock : SYS_munlock, address, length, 0, 0, 0, 0); break;
        case 8: pwrite(file, (void *)address, length, below(20 * PAGE)); break;
        case 9: pread(file, (void *)address, length, below(20 * PAGE)); break;
        case 10: call(SYS_msync, address, length, below(8), 0, 0, 0); break;
        case 11: call(SYS_fallocate, file, below(4), PAGE * below(20), PAGE * below(20), 0, 0); break;
        }
        for (int touch = 0; touch < 6; touch++) {
            volatile char *place = (char *)ARENA + below(ARENA_BYTES);
            if (sigsetjmp(recovery, 1) == 0) {
                can_recover = 1;
                if (one_in(2))
                    *place;
                else
                    *place += 1;
            }
            can_recover = 0;
        }
        if (i % 100 == 99)
            call(SYS_mmap, ARENA, ARENA_BYTES, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    }
}

// Signal frames: a handler spoils the frame that it returns to.

static volatile int has_returned;

static void spoil(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    ucontext_t *frame = context;
    int changes = 1 + below(3);
    for (int i = 0; i < changes; i++) {
        switch (below(10)) {
        case 0: frame->uc_mcontext.gregs[below(18)] = one_in(2) ? (long)next() : (long)pointer(); break;
        case 1: frame->uc_mcontext.gregs[REG_EFL] = next(); break;
        case 2: frame->uc_mcontext.gregs[REG_CSGSFS] = next(); break;
        case 3: frame->uc_mcontext.gregs[REG_RIP] = pointer(); break;
        case 4: frame->uc_mcontext.gregs[REG_RSP] = pointer(); break;
        case 5: frame->uc_mcontext.fpregs = (void *)pointer(); break;
        case 6: if (frame->uc_mcontext.fpregs) ((u64 *)frame->uc_mcontext.fpregs)[below(80)] = next(); break;
        case 7: if (frame->uc_mcontext.fpregs) ((uint32_t *)frame->uc_mcontext.fpregs)[below(160)] = number(); break;
        case 8: frame->uc_flags = next(); break;
        case 9: if (one_in(100)) frame->uc_stack.ss_sp = (void *)pointer(); break;
        }
    }
    has_returned = 1;
}

static void random_frames(int count) {
    leaves_on_alarm = 1;
    struct sigaction action = {.sa_sigaction = spoil, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (int i = 0; i < count; i++) {
        handle_all(SA_ONSTACK);
        sigaction(SIGUSR1, &action, NULL);
        restore_signals();
        can_recover = 1;
        if (sigsetjmp(recovery, 1) == 0) {
            if (one_in(4)) {
                for (u64 j = 0; j < 200; j++)
                    ((u64 *)scratch)[j] = one_in(2) ? next() : pointer();
                // An empty signal mask, and an alternate stack that is refused: without them the program ends at once.
                memset(scratch + 37 * 8, 0, 16 * 8);
                for (u64 j = 3; j < 20; j++)
                    ((uint32_t *)scratch)[2 * j] = one_in(8) ? next() : 99;
                call_on(one_in(300) ? pointer() : (u64)scratch + 8 * below(16), SYS_rt_sigreturn, 0, 0, 0);
            } else {
                raise(SIGUSR1);
            }
        }
        __asm__ volatile("cld");
        can_recover = 0;
        call(SYS_arch_prctl, 0x1002, thread_pointer, 0, 0, 0, 0);
    }
}

// Code: one instruction of random bytes at a time, but for those that are privileged: they would really run.

static int is_privileged(const unsigned char *code) {
    int is_far = 0;
    unsigned char opcode = code[0], second = code[1];
    if (opcode == 0x0f) {
        static const unsigned char refused[] = {0x00, 0x01, 0x05, 0x06, 0x07, 0x08, 0x09, 0x20, 0x21, 0x22, 0x23, 0x30,
                                                0x32, 0x33, 0x34, 0x35, 0x37, 0x38, 0xa1, 0xa9, 0xaa, 0xae, 0xb2, 0xb4,
                                                0xb5, 0xc7, 0x24, 0x26, 0x78, 0x79, 0x0a, 0x0c, 0x04, 0x36, 0x39};
        return memchr(refused, second, sizeof refused) != NULL;
    }
    is_far = opcode == 0xff && ((second >> 3 & 7) == 3 || (second >> 3 & 7) == 5);
    static const unsigned char refused[] = {0xf4, 0xfa, 0xfb, 0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef, 0x6c, 0x6d,
                                            0x6e, 0x6f, 0x8e, 0x9d, 0xcf, 0xca, 0xcb, 0xcd, 0x65, 0x62, 0xc4, 0xc5};
    return is_far || memchr(refused, opcode, sizeof refused) != NULL;
}

static int is_prefix(unsigned char byte) {
    return byte == 0x66 || byte == 0x67 || byte == 0xf2 || byte == 0xf3 || byte == 0xf0 || (byte & 0xf0) == 0x40 ||
           byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x26 || byte == 0x64;
}

// Runs `code` with every register at `value`, the stack pointer at `stack`, and DF or AC set if `flags` says so.
static void run(const void *code, u64 value, u64 stack, u64 flags) {
    static u64 target;
    target = (u64)code;
    __asm__ volatile("pushfq\n"
                     "or %2, (%%rsp)\n"
                     "mov %0, %%rax\n"
                     "mov %1, %%r15\n"
                     "mov %%rax, %%rcx\n mov %%rax, %%rdx\n mov %%rax, %%rbx\n mov %%rax, %%rsi\n mov %%rax, %%rdi\n"
                     "mov %%rax, %%rbp\n mov %%rax, %%r8\n mov %%rax, %%r9\n mov %%rax, %%r10\n mov %%rax, %%r11\n"
                     "mov %%rax, %%r12\n mov %%rax, %%r13\n mov %%rax, %%r14\n"
                     "popfq\n"
                     "mov %%r15, %%rsp\n"
                     "mov %%rax, %%r15\n"
                     "jmp *%3\n"
                     :
                     : "r"(value), "r"(stack), "r"(flags), "m"(target)
                     : "memory", "rax", "r15");
    __builtin_unreachable();
}

static void random_code(int count) {
    leaves_on_alarm = 1;
    unsigned char *code = mmap(NULL, 3 * PAGE, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(code + 2 * PAGE, PAGE);
    for (int i = 0; i < count; i++) {
        unsigned char bytes[15];
        do
            for (unsigned j = 0; j < sizeof bytes; j++)
                // Displacements and absolute addresses are not negative: they would be the kernel's.
                bytes[j] = next() & (j > 1 ? 0x7f : 0xff);
        while (is_privileged(bytes) || is_privileged(bytes + 1) || is_prefix(bytes[0]) || memchr(bytes + 2, 0x0f, 13) ||
               memchr(bytes + 2, 0x65, 13) || memchr(bytes + 2, 0x6c, 13) || memchr(bytes + 2, 0x6d, 13) ||
               memchr(bytes + 2, 0x6e, 13) || memchr(bytes + 2, 0x6f, 13));
        // An absolute address cannot be told from others here: no scaled index byte.
        if (bytes[bytes[0] == 0x0f ? 2 : 1] < 0xc0)
            bytes[bytes[0] == 0x0f ? 2 : 1] = (bytes[bytes[0] == 0x0f ? 2 : 1] & 0xb8) | (1 + below(3));
        memset(code, one_in(2) ? 0xcc : 0x06, 2 * PAGE);
        unsigned char *place = one_in(4) ? code + 2 * PAGE - 1 - below(15) : code + PAGE + below(100);
        static const unsigned char prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0x41, 0x2e, 0x3e, 0x64};
        u64 prefix_count = below(4);
        unsigned char whole[20];
        for (u64 j = 0; j < prefix_count; j++)
            whole[j] = prefixes[below(sizeof prefixes)];
        memcpy(whole + prefix_count, bytes, 15);
        u64 length = code + 2 * PAGE - place;
        memcpy(place, whole, length < 15 + prefix_count ? length : 15 + prefix_count);
        if (getenv("TRACE")) {
            fprintf(stderr, "%d:", i);
            for (int j = 0; j < 18; j++)
                fprintf(stderr, " %02x", whole[j]);
            fprintf(stderr, "\n");
        }
        restore_signals();
        if (sigsetjmp(recovery, 1) == 0) {
            can_recover = 1;
            u64 flags = (one_in(4) ? 0x400 : 0) | (one_in(4) ? 0x40000 : 0) | (one_in(6) ? 0x100 : 0);
            run(place, ARENA + 8 * PAGE, one_in(4) ? pointer() : ARENA + 32 * PAGE, flags);
        }
        can_recover = 0;
    }
}

// Jumps to addresses of the program's half, and to such as no page table can hold.
static void random_jumps(int count) {
    leaves_on_alarm = 1;
    for (int i = 0; i < count; i++) {
        u64 target = pointer();
        if (target >> 47 == 0x1ffff || target - (u64)scratch < SCRATCH_BYTES || target - (u64)constant < 64)
            continue;
        restore_signals();
        if (sigsetjmp(recovery, 1) == 0) {
            can_recover = 1;
            run((void *)target, next(), pointer(), 0);
        }
        can_recover = 0;
    }
}

static int depth(volatile int level) { return depth(level + 1) + (int)level; }

// Running out of things.

static void exhaust(u64 what) {
    char name[300];
    switch (what) {
    case 0: // Memory, touched.
        for (;;) {
            char *part = mmap(NULL, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (part == MAP_FAILED)
                return;
            for (u64 i = 0; i < 1 << 20; i += PAGE)
                part[i] = 1;
        }
    case 1: { // A file.
        int file = open("/tmp/big", O_CREAT | O_RDWR, 0600);
        while (write(file, scratch, SCRATCH_BYTES) > 0)
            ;
        break;
    }
    case 2: // Empty files.
        for (int i = 0; i < 2000000; i++) {
            snprintf(name, sizeof name, "/tmp/%0200d", i);
            if (mknod(name, S_IFREG | 0600, 0) < 0)
                return;
        }
        break;
    case 3: { // Descriptors and pipes, full.
        struct rlimit limit = {1 << 20, 1 << 20};
        setrlimit(RLIMIT_NOFILE, &limit);
        int ends[2];
        while (pipe2(ends, O_NONBLOCK) == 0)
            write(ends[1], scratch, SCRATCH_BYTES);
        break;
    }
    case 4: // Mappings.
        for (u64 i = 0; i < 4000000; i++)
            if (mmap((void *)(ARENA + (i << 22)), PAGE, 1 + (i & 1), MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
                MAP_FAILED)
                return;
        break;
    case 5: // Page tables.
        for (u64 i = 0; i < 4000000; i++) {
            char *part = mmap((void *)(ARENA + (i << 30)), PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            if (part == MAP_FAILED)
                return;
            (void)*(volatile char *)part;
        }
        break;
    case 6: { // Queued signals.
        u64 all = ~0ul;
        call(SYS_rt_sigprocmask, SIG_BLOCK, (u64)&all, 0, 8, 0, 0);
        struct rlimit limit = {1 << 30, 1 << 30};
        setrlimit(RLIMIT_SIGPENDING, &limit);
        siginfo_t info = {.si_code = SI_QUEUE};
        for (int i = 0; i < 3000000; i++)
            if (call(SYS_rt_sigqueueinfo, getpid(), 40, (u64)&info, 0, 0, 0) < 0)
                break;
        break;
    }
    case 7: { // Directories within directories.
        for (int i = 0; i < 1000000; i++)
            if (mkdir("d", 0777) < 0 || chdir("d") < 0)
                return;
        break;
    }
    case 8: { // Timers and locks.
        int file = open("/tmp/locks", O_CREAT | O_RDWR, 0600);
        for (u64 i = 0; i < 20000; i++) {
            int id;
            struct flock lock = {.l_type = i & 1 ? F_RDLCK : F_WRLCK, .l_start = 3 * i, .l_len = 1};
            if (fcntl(file, F_SETLK, &lock) < 0 && call(SYS_timer_create, 1, 0, (u64)&id, 0, 0, 0) < 0)
                return;
        }
        break;
    }
    case 9: { // A sparse file, through a mapping.
        int file = open("/tmp/sparse", O_CREAT | O_RDWR, 0600);
        ftruncate(file, 1ul << 40);
        char *part = mmap(NULL, 1ul << 40, 3, MAP_SHARED, file, 0);
        if (part != MAP_FAILED)
            for (u64 i = 0; i < 1ul << 40; i += 1 << 21)
                part[i] = 1;
        break;
    }
    case 10: { // One write after another far apart; ranges allocated that cannot be.
        int file = open("/tmp/far", O_CREAT | O_RDWR, 0600);
        call(SYS_fallocate, file, 0, 0, 1ul << 40, 0, 0);
        call(SYS_fallocate, file, 0, 0, 1ul << 62, 0, 0);
        for (u64 i = 0; i < 1 << 22; i++)
            if (pwrite(file, "x", 1, i << 32) < 0)
                return;
        break;
    }
    case 11: { // Long vectors, long lists of descriptors, long names, a long list of groups.
        struct rlimit limit = {1 << 30, 1 << 30};
        setrlimit(RLIMIT_NOFILE, &limit);
        char *part = mmap(NULL, 1ul << 26, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        call(SYS_poll, (u64)part, 1 << 23, 1, 0, 0, 0);
        call(SYS_select, 1 << 28, (u64)part, (u64)part, (u64)part, (u64)scratch, 0);
        call(SYS_dup2, 0, (1 << 30) - 1, 0, 0, 0, 0);
        call(SYS_dup2, 0, (1 << 28) - 1, 0, 0, 0, 0);
        call(SYS_dup2, 0, (1 << 20) - 1, 0, 0, 0, 0);
        call(SYS_fcntl, 0, F_DUPFD, (1 << 30) - 2, 0, 0, 0);
        call(SYS_setgroups, 65536, (u64)part, 0, 0, 0, 0);
        call(SYS_getdents64, open("/proc", O_RDONLY), (u64)part, 1 << 26, 0, 0, 0);
        call(SYS_getrandom, (u64)part, 1 << 25, 0, 0, 0, 0);
        call(SYS_mincore, (u64)part, 1ul << 26, (u64)part, 0, 0, 0);
        int ends[2];
        pipe(ends);
        call(SYS_fcntl, ends[0], F_SETPIPE_SZ, 1 << 30, 0, 0, 0);
        call(SYS_fcntl, ends[0], F_SETPIPE_SZ, 1 << 20, 0, 0, 0);
        break;
    }
    case 13: { // A long chain of removed directories, that only the working directory keeps.
        int levels = 0, parent = open("/tmp", O_PATH);
        chdir("/tmp");
        while (levels < 20000 && mkdir("d", 0777) == 0 && chdir("d") == 0)
            levels++;
        // Bottom up: each directory is removed by way of the one above it.
        int below_it = open(".", O_PATH);
        for (int i = 0; i < levels; i++) {
            int above = openat(below_it, "..", O_PATH);
            if (unlinkat(above, "d", AT_REMOVEDIR) < 0)
                break;
            close(below_it);
            below_it = above;
        }
        close(below_it), close(parent);
        chdir("/");
        break;
    }
    case 14: { // Timers with no time between.
        struct itimerspec soon = {{0, 1}, {0, 1}};
        for (int clock = 0; clock < 8; clock++) {
            int file = call(SYS_timerfd_create, clock, O_NONBLOCK, 0, 0, 0, 0), id = -1;
            call(SYS_timerfd_settime, file, 0, (u64)&soon, 0, 0, 0);
            if (call(SYS_timer_create, clock, 0, (u64)&id, 0, 0, 0) == 0)
                call(SYS_timer_settime, id, 0, (u64)&soon, 0, 0, 0);
        }
        struct itimerval tick = {{0, 1}, {0, 1}};
        for (int which = 0; which < 3; which++)
            setitimer(which, &tick, NULL);
        for (volatile int i = 0; i < 3000000; i++)
            ;
        break;
    }
    case 15: { // Watchers that watch watchers.
        int first = call(SYS_epoll_create1, 0, 0, 0, 0, 0, 0), last = first;
        uint32_t event[3] = {1 | 1u << 31, 0, 0};
        for (int i = 0; i < 900; i++) {
            int new = call(SYS_epoll_create1, 0, 0, 0, 0, 0, 0);
            call(SYS_epoll_ctl, new, 1, last, (u64)event, 0, 0);
            call(SYS_epoll_ctl, last, 1, new, (u64)event, 0, 0);
            last = new;
        }
        int ends[2];
        pipe(ends);
        call(SYS_epoll_ctl, first, 1, ends[0], (u64)event, 0, 0);
        write(ends[1], "x", 1);
        call(SYS_epoll_wait, last, (u64)scratch, 10, 0, 0, 0);
        break;
    }
    case 16: { // Links that lead to links, long paths, many names for one file.
        for (int i = 0; i < 3000; i++) {
            snprintf(name, sizeof name, "/tmp/l%d", i);
            char to[300];
            snprintf(to, sizeof to, "/tmp/l%d/../l%d/.", i + 1, i + 2);
            symlink(to, name);
        }
        open("/tmp/l0", O_RDONLY);
        memset(scratch, '/', SCRATCH_BYTES);
        for (int i = 0; i < 4094; i += 2)
            scratch[i] = '.';
        scratch[4095] = 0;
        for (int i = 0; i < 100; i++)
            open(scratch, O_RDONLY);
        break;
    }
    case 12: // Locked memory, and memory that grows by brk.
        mlockall(7);
        while (sbrk(1 << 20) != (void *)-1)
            ;
        break;
    }
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "calls";
    u64 seed = count > 2 ? strtoul(arguments[2], NULL, 0) : 1;
    int rounds = count > 3 ? atoi(arguments[3]) : 4000;
    if (getpid() != 1)
        return 2; // This would harm a system that has more than one process.
    state = seed;
    prepare();
    if (!strcmp(mode, "calls"))
        random_calls(rounds);
    else if (!strcmp(mode, "memory"))
        random_memory(rounds);
    else if (!strcmp(mode, "frames"))
        random_frames(rounds);
    else if (!strcmp(mode, "code"))
        random_code(rounds);
    else if (!strcmp(mode, "jumps"))
        random_jumps(rounds);
    else if (!strcmp(mode, "depth"))
        depth(0);
    else if (!strcmp(mode, "exhaust"))
        signal(SIGALRM, SIG_IGN), exhaust(seed);
    call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}
