//! The seams of the crates, implemented on this machine, and the way from a running kernel to a running program.

pub(crate) mod deferred;
mod disks;
pub(crate) mod end;
mod linux_platform;
pub(crate) mod log;
mod mounts;
mod network;
mod observe;
pub(crate) mod profile;
mod program;
mod seam;
mod shares;
pub(crate) mod vdso;
mod write_back;

pub(crate) use end::fail;
pub(crate) use program::{expire_timers, run};
