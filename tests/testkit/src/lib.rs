//! The machine of the host tests: fakes of every seam that the crates of the kernel declare.
//!
//! A test crate names this one as a dev-dependency and says `extern crate testkit;` or uses something of it; that links the
//! `nacre_*` functions of `sync::machine`, which live in `seam.rs`.
//!
//! - [`clock`]: real, standing still, ticking, or skipping to deadlines;
//! - [`threads`]: threads that park; [`threads::spawn`] starts one on the same machine;
//! - [`user`]: program memory: a small [`user::Arena`], or the address space of a [`Cpu`];
//! - [`frames`]: frames on the heap, counted, with a budget;
//! - [`FakePageTable`], [`Cpu`]: page tables as maps, and a CPU that faults as hardware does;
//! - [`disk`]: a disk that remembers, fails and loses its power;
//! - [`share`]: a server that shares a directory of this host by 9P;
//! - [`liar`]: a server of 9P that lies as a script says;
//! - [`entropy`], [`Random`]: the same numbers in every run;
//! - [`WakeCounter`]: what a wait queue wakes.
//!
//! # Each test has a machine of its own
//!
//! The test harness runs tests side by side, each on a thread. Clock, frame counts and entropy belong to a machine, and a
//! thread that never asked has one to itself; threads started by [`threads::spawn`] share that of their parent. Program
//! memory is chosen by each thread, as each CPU chooses its page tables, and inherited by [`threads::spawn`].
//!
//! # Unit tests of `mm`, and of `sync`
//!
//! The unit tests inside `mm/src` are another crate than the `mm` this one is built on, so its [`frames`] are not theirs:
//! tests that need frames go to `mm/tests`. `sync` has a small seam of its own, for the same reason.
//!
//! What is not here: files and processes. Test support that needs upper layers belongs to those who test them.

pub mod clock;
mod cpu;
pub mod disk;
pub mod entropy;
mod exchange;
pub mod frames;
pub mod liar;
mod machine;
mod page_table;
mod random;
mod seam;
pub mod share;
pub mod threads;
pub mod user;
mod wake;

pub use cpu::{Cpu, MMAP_BASE};
pub use page_table::{Entry, FakePageTable};
pub use random::Random;
pub use wake::WakeCounter;
