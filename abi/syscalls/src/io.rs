//! Vectors of buffers, polling and epoll.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::abi_struct;

abi_struct! {
    /// `struct iovec`.
    pub struct Iovec: 16 {
        pub iov_base: usize,
        pub iov_len: usize,
    }

    /// `struct pollfd`.
    pub struct Pollfd: 8 {
        pub fd: i32,
        pub events: u16,
        pub revents: u16,
    }

    /// The sixth argument of `pselect6`: a mask and its size.
    pub struct SigsetArgument: 16 {
        pub address: u64,
        pub size: u64,
    }
}

/// `struct epoll_event`, packed on x86-64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub struct EpollEvent {
    pub events: u32,
    pub data: u64,
}

const _: () = assert!(size_of::<EpollEvent>() == 12, "the size Linux gives it");

bitflags::bitflags! {
    /// `POLL*`, and `EPOLL*` which has the same values.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PollEvents: u32 {
        const IN = 0x1;
        const PRI = 0x2;
        const OUT = 0x4;
        const ERR = 0x8;
        const HUP = 0x10;
        const NVAL = 0x20;
        const RDNORM = 0x40;
        const RDBAND = 0x80;
        const WRNORM = 0x100;
        const WRBAND = 0x200;
        const MSG = 0x400;
        const REMOVE = 0x1000;
        const RDHUP = 0x2000;
        /// Readable, in both spellings.
        const READABLE = 0x41;
        /// Writable, in both spellings.
        const WRITABLE = 0x104;
    }
}

impl PollEvents {
    /// Reported whether asked for or not.
    pub const ALWAYS: Self = Self::ERR.union(Self::HUP).union(Self::NVAL);
}

/// The longest vector of buffers a call takes.
pub const IOV_MAX: usize = 1024;
/// The most bytes one read or write moves; Linux cuts longer requests to this.
pub const RW_COUNT_MAX: usize = 0x7fff_f000;
/// The bytes of an `fd_set` of glibc and musl.
pub const FD_SETSIZE: usize = 1024;

pub const EPOLL_CTL_ADD: i32 = 1;
pub const EPOLL_CTL_DEL: i32 = 2;
pub const EPOLL_CTL_MOD: i32 = 3;
pub const EPOLLEXCLUSIVE: u32 = 1 << 28;
pub const EPOLLWAKEUP: u32 = 1 << 29;
pub const EPOLLONESHOT: u32 = 1 << 30;
pub const EPOLLET: u32 = 1 << 31;
pub const EPOLL_CLOEXEC: u32 = 0o2_000_000;

pub const SPLICE_F_MOVE: u32 = 1;
pub const SPLICE_F_NONBLOCK: u32 = 2;
pub const SPLICE_F_MORE: u32 = 4;
pub const SPLICE_F_GIFT: u32 = 8;
/// All flags of `splice` and its relatives.
pub const SPLICE_F_ALL: u32 = 15;

pub const EFD_SEMAPHORE: u32 = 1;
pub const EFD_CLOEXEC: u32 = 0o2_000_000;
pub const EFD_NONBLOCK: u32 = 0o4000;
