//! The machine: the bare-metal binary around the pure crates.
//!
//! Nearly all of the kernel's `unsafe` is here, in thin layers: `arch` (CPU), `memory` (frames, page tables, heap), `drivers`
//! (devices) and `platform` (the seams that the crates declare). Decisions are made in the crates.
#![no_std]
#![no_main]

extern crate alloc;

mod arch;
mod drivers;
mod entropy;
mod memory;
mod panic;
mod platform;
mod start;
mod threads;
