//! The host tools behind `make image` and `make run`.
//!
//! `image-builder` puts a program, its files and the kernel into one ELF file; [`build`] is its whole job, in the order
//! [`program`] (is it one we can run?), [`root`] (which files?), [`kernel_file`] (where does it go?).
//!
//! Nothing here is `unsafe`, and whatever the user gives is answered with one line that says what is wrong.
#![forbid(unsafe_code)]

pub mod analysis;
pub mod build;
pub mod disk_root;
mod failure;
pub mod kernel_file;
pub mod profile;
pub mod program;
pub mod report;
pub mod root;
pub mod run;
mod symbol_name;
#[cfg(test)]
mod testing;
pub mod trace;
pub mod words;

pub use failure::{Failure, Result};
