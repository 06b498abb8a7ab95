//! FAT, with the programs of dosfstools and mtools as second opinion: they make the images, check what this kernel left, and read it.
//!
//! Without these programs nothing is tested, and the output says so; `scripts/setup.sh` installs them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod corrupt;
mod crash;
mod damage;
mod images;
mod large;
mod names;
mod random;
mod removed;
#[path = "../support/mod.rs"]
mod support;
mod trim;
mod written;
