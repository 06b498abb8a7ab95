//! The facts of the Linux x86-64 system call interface, without behaviour: numbers, structures, flags, error numbers.
//!
//! The heart is the table in [`table`]: one row a system call, from which come the typed dispatch of the kernel, the
//! names in its log and the support list of `docs/SYSCALLS.md`. Structures are `#[repr(C)]`, name every byte, assert
//! their size, and convert to and from bytes without `unsafe`. Flags are `bitflags` types whose `from_bits` refuses
//! what Linux does not know.
//!
//! Structures and their fields, and constants, bear Linux's names; the flags of a `bitflags` type bear them without the
//! common prefix (`OpenFlags::CREAT`, `PollEvents::IN`).
//!
//! Nothing here acts; what a call does is in the `linux` crate.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod argument;
pub mod directory;
pub mod documentation;
pub mod errno;
pub mod fiemap;
pub mod inet;
pub mod inotify;
pub mod interface;
pub mod io;
mod layout;
pub mod mman;
pub mod mount;
pub mod native;
pub mod netlink;
pub mod open;
pub mod process;
pub mod resource;
pub mod sequence;
pub mod signal;
pub mod socket;
pub mod stat;
pub mod table;
pub mod time;
pub mod tty;
pub mod xattr;

pub use argument::{Fd, SyscallArgument, UserPtr};
pub use directory::{LinuxDirent, LinuxDirent64};
pub use errno::Errno;
pub use io::{EpollEvent, Iovec, PollEvents, Pollfd, SigsetArgument};
pub use mman::{MapFlags, MlockallFlags, MremapFlags, MsyncFlags, PAGE_SIZE, ProtFlags};
pub use mount::{MountCallFlags, UmountFlags};
pub use open::{
    AccessMode, AccessRights, AtFlags, Cachestat, CachestatRange, CloseRangeFlags, FallocateFlags, Flock, MemfdFlags,
    OpenFlags, OpenHow, RenameFlags, ResolveFlags, RwFlags, Utimbuf,
};
pub use process::{
    CapabilityData, CapabilityHeader, CloneArgs, CloneFlags, FutexWaitv, RobustListHead, WaitFlags, auxv,
};
pub use resource::{GetrandomFlags, Rlimit, Rusage, SchedAttr, SchedParam, Sysinfo, Utsname};
pub use sequence::{Rseq, RseqCs};
pub use signal::{
    FpxSwBytes, RtSigframe, Sigaction, SigactionFlags, Sigaltstack, Sigcontext, Sigevent, Siginfo, Signal,
    SignalfdSiginfo, Sigset, Ucontext, UserSiginfo,
};
pub use stat::{Stat, Statfs, Statx, StatxMask, StatxTimestamp};
pub use table::{Level, SYSCALLS, SyscallRow, name};
pub use time::{Itimerspec, Itimerval, Timespec, Timeval, Timex, Timezone, Tms};
pub use tty::{Termios, Termios2, Winsize, ioctl};
