//! The names of bits and numbers, by the call and the name of the argument in the table.

use abi::Signal;

use super::Call;

/// Names of single bits, or of groups of bits, which come first.
type Bits = &'static [(u64, &'static str)];
/// Names of values.
type Values = &'static [(i64, &'static str)];

const O_ACCESS_MODE: u64 = 3;
const O_CREAT: u64 = 0o100;
const O_TMPFILE: u64 = 0o20_000_000;
/// A signal action that names its own way back.
pub(super) const SA_RESTORER: u64 = 0x0400_0000;

#[rustfmt::skip]
const OPEN: Bits = &[
    (0o20_200_000, "O_TMPFILE"), (0o4_010_000, "O_SYNC"),
    (0o100, "O_CREAT"), (0o200, "O_EXCL"), (0o400, "O_NOCTTY"), (0o1000, "O_TRUNC"), (0o2000, "O_APPEND"), (0o4000, "O_NONBLOCK"),
    (0o10_000, "O_DSYNC"), (0o20_000, "O_ASYNC"), (0o40_000, "O_DIRECT"), (0o100_000, "O_LARGEFILE"), (0o200_000, "O_DIRECTORY"),
    (0o400_000, "O_NOFOLLOW"), (0o1_000_000, "O_NOATIME"), (0o2_000_000, "O_CLOEXEC"), (0o10_000_000, "O_PATH"),
];
#[rustfmt::skip]
const AT: Bits = &[
    (0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_REMOVEDIR"), (0x400, "AT_SYMLINK_FOLLOW"), (0x800, "AT_NO_AUTOMOUNT"),
    (0x1000, "AT_EMPTY_PATH"), (0x2000, "AT_STATX_FORCE_SYNC"), (0x4000, "AT_STATX_DONT_SYNC"),
];
const PROTECTION: Bits = &[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC"), (0x0100_0000, "PROT_GROWSDOWN")];
#[rustfmt::skip]
const MAP: Bits = &[
    (3, "MAP_SHARED_VALIDATE"), (1, "MAP_SHARED"), (2, "MAP_PRIVATE"), (0x10, "MAP_FIXED"), (0x20, "MAP_ANONYMOUS"),
    (0x40, "MAP_32BIT"), (0x100, "MAP_GROWSDOWN"), (0x800, "MAP_DENYWRITE"), (0x2000, "MAP_LOCKED"), (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"), (0x1_0000, "MAP_NONBLOCK"), (0x2_0000, "MAP_STACK"), (0x4_0000, "MAP_HUGETLB"),
    (0x10_0000, "MAP_FIXED_NOREPLACE"),
];
const MREMAP: Bits = &[(1, "MREMAP_MAYMOVE"), (2, "MREMAP_FIXED"), (4, "MREMAP_DONTUNMAP")];
const MSYNC: Bits = &[(1, "MS_ASYNC"), (2, "MS_INVALIDATE"), (4, "MS_SYNC")];
#[rustfmt::skip]
const CLONE: Bits = &[
    (0x100, "CLONE_VM"), (0x200, "CLONE_FS"), (0x400, "CLONE_FILES"), (0x800, "CLONE_SIGHAND"), (0x1000, "CLONE_PIDFD"),
    (0x2000, "CLONE_PTRACE"), (0x4000, "CLONE_VFORK"), (0x8000, "CLONE_PARENT"), (0x1_0000, "CLONE_THREAD"), (0x2_0000, "CLONE_NEWNS"),
    (0x4_0000, "CLONE_SYSVSEM"), (0x8_0000, "CLONE_SETTLS"), (0x10_0000, "CLONE_PARENT_SETTID"), (0x20_0000, "CLONE_CHILD_CLEARTID"),
    (0x40_0000, "CLONE_DETACHED"), (0x80_0000, "CLONE_UNTRACED"), (0x100_0000, "CLONE_CHILD_SETTID"),
];
#[rustfmt::skip]
const MESSAGE: Bits = &[
    (1, "MSG_OOB"), (2, "MSG_PEEK"), (4, "MSG_DONTROUTE"), (0x20, "MSG_TRUNC"), (0x40, "MSG_DONTWAIT"), (0x80, "MSG_EOR"),
    (0x100, "MSG_WAITALL"), (0x800, "MSG_CONFIRM"), (0x2000, "MSG_ERRQUEUE"), (0x4000, "MSG_NOSIGNAL"), (0x8000, "MSG_MORE"),
    (0x1_0000, "MSG_WAITFORONE"), (0x400_0000, "MSG_ZEROCOPY"), (0x4000_0000, "MSG_CMSG_CLOEXEC"),
];
const SPLICE: Bits = &[(1, "SPLICE_F_MOVE"), (2, "SPLICE_F_NONBLOCK"), (4, "SPLICE_F_MORE"), (8, "SPLICE_F_GIFT")];
const RANDOM: Bits = &[(1, "GRND_NONBLOCK"), (2, "GRND_RANDOM"), (4, "GRND_INSECURE")];
const ACCESS: Bits = &[(4, "R_OK"), (2, "W_OK"), (1, "X_OK")];
const SOCKET_TYPE_FLAGS: Bits = &[(0o4000, "SOCK_NONBLOCK"), (0o2_000_000, "SOCK_CLOEXEC")];
const EVENTFD: Bits = &[(1, "EFD_SEMAPHORE"), (0o4000, "EFD_NONBLOCK"), (0o2_000_000, "EFD_CLOEXEC")];
const TIMERFD: Bits = &[(0o4000, "TFD_NONBLOCK"), (0o2_000_000, "TFD_CLOEXEC")];
const SIGNALFD: Bits = &[(0o4000, "SFD_NONBLOCK"), (0o2_000_000, "SFD_CLOEXEC")];
const EPOLL_CREATE: Bits = &[(0o2_000_000, "EPOLL_CLOEXEC")];
#[rustfmt::skip]
const EPOLL_EVENTS: Bits = &[
    (1, "EPOLLIN"), (2, "EPOLLPRI"), (4, "EPOLLOUT"), (8, "EPOLLERR"), (0x10, "EPOLLHUP"), (0x40, "EPOLLRDNORM"), (0x80, "EPOLLRDBAND"),
    (0x100, "EPOLLWRNORM"), (0x200, "EPOLLWRBAND"), (0x400, "EPOLLMSG"), (0x2000, "EPOLLRDHUP"), (0x1000_0000, "EPOLLEXCLUSIVE"),
    (0x2000_0000, "EPOLLWAKEUP"), (0x4000_0000, "EPOLLONESHOT"), (0x8000_0000, "EPOLLET"),
];
#[rustfmt::skip]
const POLL_EVENTS: Bits = &[
    (1, "POLLIN"), (2, "POLLPRI"), (4, "POLLOUT"), (8, "POLLERR"), (0x10, "POLLHUP"), (0x20, "POLLNVAL"), (0x40, "POLLRDNORM"),
    (0x80, "POLLRDBAND"), (0x100, "POLLWRNORM"), (0x200, "POLLWRBAND"), (0x2000, "POLLRDHUP"),
];
#[rustfmt::skip]
const SIGNAL_ACTION: Bits = &[
    (1, "SA_NOCLDSTOP"), (2, "SA_NOCLDWAIT"), (4, "SA_SIGINFO"), (SA_RESTORER, "SA_RESTORER"), (0x0800_0000, "SA_ONSTACK"),
    (0x1000_0000, "SA_RESTART"), (0x4000_0000, "SA_NODEFER"), (0x8000_0000, "SA_RESETHAND"),
];
const TIMER_SET: Bits = &[(1, "TIMER_ABSTIME")];
const CLOSE_RANGE: Bits = &[(2, "CLOSE_RANGE_UNSHARE"), (4, "CLOSE_RANGE_CLOEXEC")];
const FALLOCATE: Bits = &[
    (1, "FALLOC_FL_KEEP_SIZE"),
    (2, "FALLOC_FL_PUNCH_HOLE"),
    (8, "FALLOC_FL_COLLAPSE_RANGE"),
    (0x10, "FALLOC_FL_ZERO_RANGE"),
    (0x20, "FALLOC_FL_INSERT_RANGE"),
];

const WHENCE: Values = &[(0, "SEEK_SET"), (1, "SEEK_CUR"), (2, "SEEK_END"), (3, "SEEK_DATA"), (4, "SEEK_HOLE")];
#[rustfmt::skip]
const CLOCKS: Values = &[
    (0, "CLOCK_REALTIME"), (1, "CLOCK_MONOTONIC"), (2, "CLOCK_PROCESS_CPUTIME_ID"), (3, "CLOCK_THREAD_CPUTIME_ID"),
    (4, "CLOCK_MONOTONIC_RAW"), (5, "CLOCK_REALTIME_COARSE"), (6, "CLOCK_MONOTONIC_COARSE"), (7, "CLOCK_BOOTTIME"),
    (8, "CLOCK_REALTIME_ALARM"), (9, "CLOCK_BOOTTIME_ALARM"), (11, "CLOCK_TAI"),
];
#[rustfmt::skip]
const MADVISE: Values = &[
    (0, "MADV_NORMAL"), (1, "MADV_RANDOM"), (2, "MADV_SEQUENTIAL"), (3, "MADV_WILLNEED"), (4, "MADV_DONTNEED"), (8, "MADV_FREE"),
    (9, "MADV_REMOVE"), (10, "MADV_DONTFORK"), (11, "MADV_DOFORK"), (14, "MADV_HUGEPAGE"), (15, "MADV_NOHUGEPAGE"),
    (16, "MADV_DONTDUMP"), (17, "MADV_DODUMP"), (20, "MADV_COLD"), (21, "MADV_PAGEOUT"), (22, "MADV_POPULATE_READ"),
    (23, "MADV_POPULATE_WRITE"),
];
#[rustfmt::skip]
const FCNTL: Values = &[
    (0, "F_DUPFD"), (1, "F_GETFD"), (2, "F_SETFD"), (3, "F_GETFL"), (4, "F_SETFL"), (5, "F_GETLK"), (6, "F_SETLK"), (7, "F_SETLKW"),
    (8, "F_SETOWN"), (9, "F_GETOWN"), (1030, "F_DUPFD_CLOEXEC"), (1031, "F_SETPIPE_SZ"), (1032, "F_GETPIPE_SZ"),
    (1033, "F_ADD_SEALS"), (1034, "F_GET_SEALS"),
];
const FAMILIES: Values = &[
    (0, "AF_UNSPEC"),
    (1, "AF_UNIX"),
    (2, "AF_INET"),
    (10, "AF_INET6"),
    (16, "AF_NETLINK"),
    (17, "AF_PACKET"),
    (40, "AF_VSOCK"),
];
const SOCKET_TYPES: Values =
    &[(1, "SOCK_STREAM"), (2, "SOCK_DGRAM"), (3, "SOCK_RAW"), (4, "SOCK_RDM"), (5, "SOCK_SEQPACKET")];
const PROTOCOLS: Values = &[(0, "IPPROTO_IP"), (1, "IPPROTO_ICMP"), (6, "IPPROTO_TCP"), (17, "IPPROTO_UDP")];
const LEVELS: Values = &[(0, "SOL_IP"), (1, "SOL_SOCKET"), (6, "SOL_TCP"), (17, "SOL_UDP"), (41, "SOL_IPV6")];
#[rustfmt::skip]
const SOCKET_OPTIONS: Values = &[
    (2, "SO_REUSEADDR"), (3, "SO_TYPE"), (4, "SO_ERROR"), (5, "SO_DONTROUTE"), (6, "SO_BROADCAST"), (7, "SO_SNDBUF"), (8, "SO_RCVBUF"),
    (9, "SO_KEEPALIVE"), (10, "SO_OOBINLINE"), (12, "SO_PRIORITY"), (13, "SO_LINGER"), (15, "SO_REUSEPORT"), (16, "SO_PASSCRED"),
    (17, "SO_PEERCRED"), (18, "SO_RCVLOWAT"), (20, "SO_RCVTIMEO_OLD"), (21, "SO_SNDTIMEO_OLD"), (30, "SO_ACCEPTCONN"),
];
#[rustfmt::skip]
const TCP_OPTIONS: Values = &[
    (1, "TCP_NODELAY"), (2, "TCP_MAXSEG"), (3, "TCP_CORK"), (4, "TCP_KEEPIDLE"), (5, "TCP_KEEPINTVL"), (6, "TCP_KEEPCNT"),
    (9, "TCP_DEFER_ACCEPT"), (11, "TCP_INFO"), (12, "TCP_QUICKACK"), (13, "TCP_CONGESTION"), (18, "TCP_USER_TIMEOUT"),
    (23, "TCP_FASTOPEN"),
];
const SHUTDOWN: Values = &[(0, "SHUT_RD"), (1, "SHUT_WR"), (2, "SHUT_RDWR")];
const EPOLL_OPERATIONS: Values = &[(1, "EPOLL_CTL_ADD"), (2, "EPOLL_CTL_DEL"), (3, "EPOLL_CTL_MOD")];
const MASK_HOW: Values = &[(0, "SIG_BLOCK"), (1, "SIG_UNBLOCK"), (2, "SIG_SETMASK")];
const ARCHITECTURE: Values =
    &[(0x1001, "ARCH_SET_GS"), (0x1002, "ARCH_SET_FS"), (0x1003, "ARCH_GET_FS"), (0x1004, "ARCH_GET_GS")];
#[rustfmt::skip]
const RESOURCES: Values = &[
    (0, "RLIMIT_CPU"), (1, "RLIMIT_FSIZE"), (2, "RLIMIT_DATA"), (3, "RLIMIT_STACK"), (4, "RLIMIT_CORE"), (5, "RLIMIT_RSS"),
    (6, "RLIMIT_NPROC"), (7, "RLIMIT_NOFILE"), (8, "RLIMIT_MEMLOCK"), (9, "RLIMIT_AS"), (10, "RLIMIT_LOCKS"),
    (11, "RLIMIT_SIGPENDING"), (12, "RLIMIT_MSGQUEUE"), (13, "RLIMIT_NICE"), (14, "RLIMIT_RTPRIO"), (15, "RLIMIT_RTTIME"),
];
const USAGE: Values = &[(0, "RUSAGE_SELF"), (-1, "RUSAGE_CHILDREN"), (1, "RUSAGE_THREAD")];
#[rustfmt::skip]
const IOCTLS: Values = &[
    (0x5401, "TCGETS"), (0x5402, "TCSETS"), (0x5403, "TCSETSW"), (0x5404, "TCSETSF"), (0x540f, "TIOCGPGRP"), (0x5410, "TIOCSPGRP"),
    (0x5413, "TIOCGWINSZ"), (0x5414, "TIOCSWINSZ"), (0x541b, "FIONREAD"), (0x5421, "FIONBIO"), (0x5450, "FIONCLEX"),
    (0x5451, "FIOCLEX"),
];
#[rustfmt::skip]
const FUTEX: Values = &[
    (0, "FUTEX_WAIT"), (1, "FUTEX_WAKE"), (3, "FUTEX_REQUEUE"), (4, "FUTEX_CMP_REQUEUE"), (5, "FUTEX_WAKE_OP"), (6, "FUTEX_LOCK_PI"),
    (7, "FUTEX_UNLOCK_PI"), (8, "FUTEX_TRYLOCK_PI"), (9, "FUTEX_WAIT_BITSET"), (10, "FUTEX_WAKE_BITSET"),
    (11, "FUTEX_WAIT_REQUEUE_PI"), (12, "FUTEX_CMP_REQUEUE_PI"), (13, "FUTEX_LOCK_PI2"),
];
/// The first real-time signal, as the kernel counts.
const RT_FIRST: u8 = 32;
const FUTEX_PRIVATE: i64 = 0x80;
const FUTEX_CLOCK_REALTIME: i64 = 0x100;
const F_GETFL: u64 = 3;
/// F_GETFD, F_GETFL, F_GETOWN, F_GETSIG, F_GETPIPE_SZ, F_GET_SEALS.
const FCNTL_WITHOUT_ARGUMENT: [u64; 6] = [1, F_GETFL, 9, 11, 1032, 1034];
const F_SETFL: i64 = 4;

/// Shows the value of an argument by names. `None`: a number has to do.
pub(super) fn show(call: &str, name: &str, value: i64, of: &Call) -> Option<String> {
    let bits = value.cast_unsigned();
    Some(match (call, name) {
        ("open" | "openat", "flags") => open(bits),
        ("mmap" | "mprotect" | "pkey_mprotect", "protection") => set(bits, PROTECTION, "PROT_NONE"),
        ("mmap", "flags") => set(bits, MAP, "0"),
        ("mremap", "flags") => set(bits, MREMAP, "0"),
        ("msync", "flags") => set(bits, MSYNC, "0"),
        ("clone", "flags") => clone(bits),
        ("unshare", "flags") => set(bits, CLONE, "0"),
        ("access" | "faccessat" | "faccessat2", "mode") => set(bits, ACCESS, "F_OK"),
        ("sendto" | "recvfrom" | "sendmsg" | "recvmsg" | "sendmmsg" | "recvmmsg", "flags") => set(bits, MESSAGE, "0"),
        ("splice" | "tee" | "vmsplice", "flags") => set(bits, SPLICE, "0"),
        ("getrandom", "flags") => set(bits, RANDOM, "0"),
        ("pipe2" | "dup3", "flags") => set(bits, OPEN, "0"),
        ("eventfd2", "flags") => set(bits, EVENTFD, "0"),
        ("timerfd_create", "flags") => set(bits, TIMERFD, "0"),
        ("signalfd4", "flags") => set(bits, SIGNALFD, "0"),
        ("accept4", "flags") => set(bits, SOCKET_TYPE_FLAGS, "0"),
        ("epoll_create1", "flags") => set(bits, EPOLL_CREATE, "0"),
        ("clock_nanosleep" | "timer_settime" | "timerfd_settime", "flags") => set(bits, TIMER_SET, "0"),
        ("close_range", "flags") => set(bits, CLOSE_RANGE, "0"),
        ("fallocate", "mode") => set(bits, FALLOCATE, "0"),
        (
            "newfstatat" | "unlinkat" | "fchownat" | "linkat" | "utimensat" | "faccessat2" | "statx" | "execveat"
            | "fchmodat2",
            "flags",
        ) => set(bits, AT, "0"),
        ("socket" | "socketpair", "kind") => {
            let kind = one_of(value & 0xf, SOCKET_TYPES);
            let flags = set(bits & !0xf, SOCKET_TYPE_FLAGS, "");
            if flags.is_empty() { kind } else { format!("{kind}|{flags}") }
        }
        ("futex", "operation") => futex(value),
        ("fcntl", "argument") if of.registers[1].cast_signed() == F_SETFL => open(bits),
        ("fcntl", "argument") if of.registers[1] == 2 => set(bits, &[(1, "FD_CLOEXEC")], "0"),
        ("getsockopt" | "setsockopt", "option") => match of.registers[1] {
            1 => one_of(value, SOCKET_OPTIONS),
            6 => one_of(value, TCP_OPTIONS),
            _ => return None,
        },
        _ => {
            let values = values(call, name)?;
            one_of(value, values)
        }
    })
}

/// The values of arguments that are one of several.
fn values(call: &str, name: &str) -> Option<Values> {
    Some(match (call, name) {
        ("lseek", "whence") => WHENCE,
        ("madvise", "advice") => MADVISE,
        ("fcntl", "command") => FCNTL,
        ("ioctl", "command") => IOCTLS,
        ("socket" | "socketpair", "domain") => FAMILIES,
        ("socket", "protocol") => PROTOCOLS,
        ("getsockopt" | "setsockopt", "level") => LEVELS,
        ("shutdown", "how") => SHUTDOWN,
        ("epoll_ctl", "operation") => EPOLL_OPERATIONS,
        ("rt_sigprocmask", "how") => MASK_HOW,
        ("arch_prctl", "option") => ARCHITECTURE,
        ("getrusage", "who") => USAGE,
        ("getrlimit" | "setrlimit" | "prlimit64", "resource") => RESOURCES,
        (_, "clock") => CLOCKS,
        _ => return None,
    })
}

/// Whether an open with these flags may make a file, so that its mode counts.
pub(super) fn makes_file(flags: u64) -> bool {
    flags & (O_CREAT | O_TMPFILE) != 0
}

/// Whether a command of `fcntl` has no argument.
pub(super) fn has_no_argument(command: u64) -> bool {
    FCNTL_WITHOUT_ARGUMENT.contains(&command)
}

/// What `fcntl` answers.
pub(super) fn fcntl_result(command: u64, answer: i64) -> String {
    match command {
        F_GETFL => format!("{answer:#x} (flags {})", open(answer.cast_unsigned())),
        1 if answer == 1 => "0x1 (flags FD_CLOEXEC)".to_owned(),
        _ => answer.to_string(),
    }
}

/// A set of signals, as `[INT TERM]`; one that lacks less than half is shown by what it lacks.
pub(super) fn signal_set(bits: u64) -> String {
    let is_inverted = bits.count_ones() > 32;
    let shown = if is_inverted { !bits } else { bits };
    let names: Vec<String> = (1..=64_u8)
        .filter(|number| shown & 1 << (number - 1) != 0)
        .filter_map(Signal::new)
        .map(|signal| match signal.number() {
            RT_FIRST => "RTMIN".to_owned(),
            number if number > RT_FIRST => format!("RT_{}", number - RT_FIRST),
            _ => signal.to_string().trim_start_matches("SIG").to_owned(),
        })
        .collect();
    format!("{}[{}]", if is_inverted { "~" } else { "" }, names.join(" "))
}

/// The flags of a signal action.
pub(super) fn signal_action(bits: u64) -> String {
    set(bits, SIGNAL_ACTION, "0")
}

/// What an epoll instance is to look for, or has found.
pub(super) fn epoll_events(bits: u64) -> String {
    set(bits, EPOLL_EVENTS, "0")
}

/// What `poll` is to look for.
pub(super) fn poll_events(bits: u64) -> String {
    set(bits, POLL_EVENTS, "0")
}

fn open(bits: u64) -> String {
    let mode = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"];
    let mode = usize::try_from(bits & O_ACCESS_MODE).ok().and_then(|index| mode.get(index)).unwrap_or(&"");
    let rest = set(bits & !O_ACCESS_MODE, OPEN, "");
    if rest.is_empty() { (*mode).to_owned() } else { format!("{mode}|{rest}") }
}

fn clone(bits: u64) -> String {
    let flags = set(bits & !0xff, CLONE, "");
    let signal = u8::try_from(bits & 0xff).ok().and_then(Signal::new).map(|signal| signal.to_string());
    match (flags.is_empty(), signal) {
        (true, None) => "0".to_owned(),
        (true, Some(signal)) => signal,
        (false, None) => flags,
        (false, Some(signal)) => format!("{flags}|{signal}"),
    }
}

fn futex(value: i64) -> String {
    let operation = value & !(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME);
    let mut text = one_of(operation, FUTEX);
    if value & FUTEX_PRIVATE != 0 {
        text.push_str("_PRIVATE");
    }
    if value & FUTEX_CLOCK_REALTIME != 0 {
        text.push_str("|FUTEX_CLOCK_REALTIME");
    }
    text
}

fn one_of(value: i64, values: Values) -> String {
    let found = values.iter().find(|(known, _)| *known == value);
    found.map_or_else(|| format!("{value:#x}"), |(_, name)| (*name).to_owned())
}

/// The names of all bits; those without one as a number. `none` stands for no bit at all.
fn set(mut bits: u64, names: Bits, none: &str) -> String {
    let mut found = Vec::new();
    for (bit, name) in names {
        if bits & bit == *bit {
            found.push((*name).to_owned());
            bits &= !bit;
        }
    }
    if bits != 0 {
        found.push(format!("{bits:#x}"));
    }
    if found.is_empty() { none.to_owned() } else { found.join("|") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_names_and_the_rest_is_a_number() {
        assert_eq!(set(3, PROTECTION, "PROT_NONE"), "PROT_READ|PROT_WRITE");
        assert_eq!(set(0, PROTECTION, "PROT_NONE"), "PROT_NONE");
        assert_eq!(set(0x22, MAP, "0"), "MAP_PRIVATE|MAP_ANONYMOUS");
        assert_eq!(set(0x8000_0001, MAP, "0"), "MAP_SHARED|0x80000000");
        assert_eq!(open(0o2_000_002), "O_RDWR|O_CLOEXEC");
        assert_eq!(clone(17), "SIGCHLD");
        assert_eq!(futex(0x80), "FUTEX_WAIT_PRIVATE");
    }

    #[test]
    fn sets_of_signals_are_short() {
        assert_eq!(signal_set(0), "[]");
        assert_eq!(signal_set(1 << 1 | 1 << 14), "[INT TERM]");
        assert_eq!(signal_set(!(1 << 8)), "~[KILL]");
        assert_eq!(signal_set(1 << 31 | 1 << 33), "[RTMIN RT_2]");
    }
}
