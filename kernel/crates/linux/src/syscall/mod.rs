//! The handlers of system calls, one file a family.
//!
//! A handler has the name and the arguments of its row in `abi/syscalls/src/table.rs`, takes the calling thread first and
//! answers a [`crate::SyscallResult`]. To add one: write it in its family's file, give the row its level, and write
//! `docs/SYSCALLS.md` anew; a new file is declared and re-exported below. A row stays `Absent` until its handler is there.

mod identity;
mod limits;
mod prctl;
mod process;
mod scheduling;
mod signal;
mod system;
mod time;

pub(crate) use identity::*;
pub(crate) use limits::*;
pub(crate) use prctl::*;
pub(crate) use process::*;
pub(crate) use scheduling::*;
pub(crate) use signal::*;
pub(crate) use system::*;
pub(crate) use time::*;
