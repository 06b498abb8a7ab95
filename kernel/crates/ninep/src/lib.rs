//! The client of 9P2000.L, the protocol by which a host shares a directory: no files and no names here, only what is said.
//!
//! - [`Transport`]: the seam to the driver: takes an [`Exchange`], completes it later.
//! - [`Client`]: a session with a server. Any number of threads use it at once.
//! - [`Fid`]: a file of the server that this side has a hold of; [`OpenFid`]: one that is open. They let go when they are dropped.
//!
//! # 1. The protocol
//!
//! 9P (Plan 9 manual, section 5) is requests and replies. A request has a *tag*, which its reply repeats; replies come in any order.
//! A *fid* is a number that this side chooses for a file: `attach` names the root by one, `walk` names a child by another, and
//! `clunk` lets it go. A *qid* is the server's name for the file itself: two fids of one file have the same qid. The dialect
//! 9P2000.L (described in the documentation of `diod`) has requests for what Linux's file calls need, and its error numbers.
//!
//! # 2. Where data lies
//!
//! A request and the room for its reply lie in frames of memory ([`mm::Frame`]), which the exchange holds until it is complete. Bytes of files
//! lie in frames of the caller, which the device reads and writes itself: they are not copied here.
//!
//! # 3. Trust
//!
//! The server is not believed: sizes, tags and kinds of replies are checked, and what it sends is read through [`codec::Decoder`], which
//! cannot leave its bytes. A reply that makes no sense is `EIO`, and a line in the log when there is the first of them,
//! the second, the fourth, and so on.
//!
//! # 4. Sleeping, locks and failures
//!
//! Every call sleeps until its reply is there, and is not interruptible. No lock is held meanwhile. A server that answers nobody
//! anything for [`TIMEOUT_NS`] is given up, as is one that answers others but not one of them for [`TIMEOUTS_MAX`]
//! times as long: its device is reset, and everything under way and everything later is `EIO`. Letting a fid go never
//! sleeps, so it may be dropped anywhere. Lock ranks: `DRIVER` for the free numbers.
//!
//! # What it does not do
//!
//! It keeps nothing: attributes, names and contents are asked for each time. No authentication, and no `flush`: nothing is
//! called off.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
// The machine that unit tests run on.
#[cfg(test)]
extern crate testkit;

mod buffer;
mod client;
pub mod codec;
mod exchange;
mod fid;
pub mod message;
mod numbers;

pub use client::Client;
pub use exchange::{Exchange, Transport};
pub use fid::{Fid, Listed, NewTime, OpenFid, SetAttributes};

/// How long a server may answer nothing at all before it is given up. Behind it is a file system of the host, which may be a slow one.
pub const TIMEOUT_NS: u64 = 120_000_000_000;
/// How many times as long it may leave one request without an answer while it answers others.
pub const TIMEOUTS_MAX: u32 = 10;
/// The longest name in a directory, as Linux has it.
pub const NAME_LEN_MAX: usize = 255;
/// The longest target of a symbolic link.
pub const TARGET_LEN_MAX: usize = 4095;
