//! The handlers of system calls, one file a family.
//!
//! A handler has the name and the arguments of its row in `abi/syscalls/src/table.rs`, takes the calling thread first and
//! answers a [`crate::SyscallResult`]. To add one: write it in its family's file, give the row its level, and write
//! `docs/SYSCALLS.md` anew; a new file is declared and re-exported below. A row stays `Absent` until its handler is there.

mod affinity;
mod attributes;
mod clock;
mod clone;
mod descriptor;
mod directory;
mod epoll;
mod exec;
mod filesystem;
mod futex;
mod identity;
mod ioctl;
mod limits;
mod link;
mod membarrier;
mod mman;
mod open;
mod pipe;
mod poll;
mod prctl;
mod priority;
mod process;
mod read_write;
mod rseq;
mod scheduling;
mod signal;
mod signalfd;
mod socket;
mod socket_ioctl;
mod socket_message;
mod socket_option;
mod stat;
mod system;
mod time;
mod timer;
mod transfer;

pub(crate) use affinity::*;
pub(crate) use attributes::*;
pub(crate) use clock::*;
pub(crate) use clone::*;
pub(crate) use descriptor::*;
pub(crate) use directory::*;
pub(crate) use epoll::*;
pub(crate) use exec::*;
pub(crate) use filesystem::*;
pub(crate) use futex::*;
pub(crate) use identity::*;
pub(crate) use ioctl::*;
pub(crate) use limits::*;
pub(crate) use link::*;
pub(crate) use membarrier::*;
pub(crate) use mman::*;
pub(crate) use open::*;
pub(crate) use pipe::*;
pub(crate) use poll::*;
pub(crate) use prctl::*;
pub(crate) use priority::*;
pub(crate) use process::*;
pub(crate) use read_write::*;
pub(crate) use rseq::*;
pub(crate) use scheduling::*;
pub(crate) use signal::*;
pub(crate) use signalfd::*;
pub(crate) use socket::*;
pub(crate) use socket_message::*;
pub(crate) use socket_option::*;
pub(crate) use stat::*;
pub(crate) use system::*;
pub(crate) use time::*;
pub(crate) use timer::*;
pub(crate) use transfer::*;
