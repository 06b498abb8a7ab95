//! Resource limits and usage, and the figures of the whole system.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::{layout::abi_struct, time::Timeval};

abi_struct! {
    /// `struct rlimit` and `struct rlimit64`, the same on x86-64.
    pub struct Rlimit: 16 {
        pub rlim_cur: u64,
        pub rlim_max: u64,
    }

    /// `struct rusage`.
    pub struct Rusage: 144 {
        pub ru_utime: Timeval,
        pub ru_stime: Timeval,
        pub ru_maxrss: i64,
        pub ru_ixrss: i64,
        pub ru_idrss: i64,
        pub ru_isrss: i64,
        pub ru_minflt: i64,
        pub ru_majflt: i64,
        pub ru_nswap: i64,
        pub ru_inblock: i64,
        pub ru_oublock: i64,
        pub ru_msgsnd: i64,
        pub ru_msgrcv: i64,
        pub ru_nsignals: i64,
        pub ru_nvcsw: i64,
        pub ru_nivcsw: i64,
    }

    /// `struct sysinfo`.
    pub struct Sysinfo: 112 {
        pub uptime: i64,
        pub loads: [u64; 3],
        pub totalram: u64,
        pub freeram: u64,
        pub sharedram: u64,
        pub bufferram: u64,
        pub totalswap: u64,
        pub freeswap: u64,
        pub procs: u16,
        pub _pad0: u16,
        pub _pad1: u32,
        pub totalhigh: u64,
        pub freehigh: u64,
        pub mem_unit: u32,
        pub _pad2: u32,
    }

    /// `struct new_utsname`.
    pub struct Utsname: 390 {
        pub sysname: [u8; UTSNAME_FIELD],
        pub nodename: [u8; UTSNAME_FIELD],
        pub release: [u8; UTSNAME_FIELD],
        pub version: [u8; UTSNAME_FIELD],
        pub machine: [u8; UTSNAME_FIELD],
        pub domainname: [u8; UTSNAME_FIELD],
    }

    /// `struct sched_param`.
    pub struct SchedParam: 4 {
        pub sched_priority: i32,
    }

    /// `struct sched_attr`. Its first version ends before `sched_util_min`.
    pub struct SchedAttr: 56 {
        pub size: u32,
        pub sched_policy: u32,
        pub sched_flags: u64,
        pub sched_nice: i32,
        pub sched_priority: u32,
        pub sched_runtime: u64,
        pub sched_deadline: u64,
        pub sched_period: u64,
        pub sched_util_min: u32,
        pub sched_util_max: u32,
    }
}

/// The bytes of one field of `struct new_utsname`, with its terminating zero.
pub const UTSNAME_FIELD: usize = 65;

impl Rlimit {
    /// No limit.
    pub const INFINITY: u64 = u64::MAX;

    pub const fn new(soft: u64, hard: u64) -> Self {
        Self { rlim_cur: soft, rlim_max: hard }
    }

    pub const fn unlimited() -> Self {
        Self::new(Self::INFINITY, Self::INFINITY)
    }
}

pub const RLIMIT_CPU: usize = 0;
pub const RLIMIT_FSIZE: usize = 1;
pub const RLIMIT_DATA: usize = 2;
pub const RLIMIT_STACK: usize = 3;
pub const RLIMIT_CORE: usize = 4;
pub const RLIMIT_RSS: usize = 5;
pub const RLIMIT_NPROC: usize = 6;
pub const RLIMIT_NOFILE: usize = 7;
pub const RLIMIT_MEMLOCK: usize = 8;
pub const RLIMIT_AS: usize = 9;
pub const RLIMIT_LOCKS: usize = 10;
pub const RLIMIT_SIGPENDING: usize = 11;
pub const RLIMIT_MSGQUEUE: usize = 12;
pub const RLIMIT_NICE: usize = 13;
pub const RLIMIT_RTPRIO: usize = 14;
pub const RLIMIT_RTTIME: usize = 15;
/// The number of resources that have a limit.
pub const RLIM_NLIMITS: usize = 16;

/// The limits' names as `/proc/self/limits` shows them, with their units, in the order of their numbers.
pub const RLIMIT_NAMES: [(&str, &str); RLIM_NLIMITS] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

pub const RUSAGE_SELF: i32 = 0;
pub const RUSAGE_CHILDREN: i32 = -1;
pub const RUSAGE_THREAD: i32 = 1;

pub const SCHED_OTHER: i32 = 0;
pub const SCHED_FIFO: i32 = 1;
pub const SCHED_RR: i32 = 2;
pub const SCHED_BATCH: i32 = 3;
pub const SCHED_IDLE: i32 = 5;
pub const SCHED_DEADLINE: i32 = 6;
pub const SCHED_EXT: i32 = 7;
pub const SCHED_RESET_ON_FORK: i32 = 0x4000_0000;

/// The size of the first version of `struct sched_attr`.
pub const SCHED_ATTR_SIZE_VER0: usize = 48;

/// As `SCHED_RESET_ON_FORK`, in `sched_flags`.
pub const SCHED_FLAG_RESET_ON_FORK: u64 = 1;
pub const SCHED_FLAG_RECLAIM: u64 = 2;
pub const SCHED_FLAG_DL_OVERRUN: u64 = 4;
pub const SCHED_FLAG_KEEP_POLICY: u64 = 8;
pub const SCHED_FLAG_KEEP_PARAMS: u64 = 0x10;
pub const SCHED_FLAG_UTIL_CLAMP: u64 = 0x60;
pub const SCHED_FLAG_ALL: u64 = 0x7f;

pub const NICE_MIN: i32 = -20;
pub const NICE_MAX: i32 = 19;

pub const PRIO_PROCESS: i32 = 0;
pub const PRIO_PGRP: i32 = 1;
pub const PRIO_USER: i32 = 2;

pub const IOPRIO_WHO_PROCESS: i32 = 1;
pub const IOPRIO_WHO_PGRP: i32 = 2;
pub const IOPRIO_WHO_USER: i32 = 3;
pub const IOPRIO_CLASS_NONE: u16 = 0;
pub const IOPRIO_CLASS_RT: u16 = 1;
pub const IOPRIO_CLASS_BE: u16 = 2;
pub const IOPRIO_CLASS_IDLE: u16 = 3;
/// An I/O priority is a class above this many bits, and a level.
pub const IOPRIO_CLASS_SHIFT: u32 = 13;
/// The levels of a class that has levels, from 0, the most urgent.
pub const IOPRIO_NR_LEVELS: u16 = 8;

bitflags::bitflags! {
    /// `GRND_*` of `getrandom`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct GetrandomFlags: u32 {
        const NONBLOCK = 1;
        const RANDOM = 2;
        const INSECURE = 4;
    }
}
