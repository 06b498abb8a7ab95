//! Open files without blocking: what every kind of file answers, and what a descriptor refers to.
//!
//! A [`File`] is an open object (a pipe end, a terminal, a file of some file system). It never blocks: an operation answers
//! [`Progress::Done`] or [`Progress::WouldBlock`] and wakes its wait queue later; waiting, `O_NONBLOCK`, signals and time-outs
//! belong to the layer above. An [`OpenFile`] is Linux's open file description (status flags and position), and an
//! [`FdTable`] maps descriptor numbers to them.
//!
//! The files that need no file system live here too: [`pipe`], [`eventfd`], [`port`] (a byte stream of the machine, such as the
//! standard streams) and [`tty`] (a port seen through Linux's line discipline).
//!
//! This crate sends no signals and knows no processes: it answers `EPIPE` or reports a signal to a
//! [`tty::SignalSink`].
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod attributes;
pub mod eventfd;
mod file;
pub mod lease;
pub mod lock;
mod open_file;
mod owner;
pub mod pipe;
pub mod port;
mod table;
pub mod tty;

pub use attributes::Attributes;
pub use file::{CallFlags, DirectorySink, File, IoResult, Progress};
pub use open_file::{OpenFile, ReleaseWatcher};
pub use owner::{FileOwner, Listening, Owner, OwnerKind, OwnerListener, OwnerUsers};
pub use port::{Direction, Port, PortFile};
pub use table::{DESCRIPTORS_MAX, FdRef, FdTable, LockOwner, Reservation};
