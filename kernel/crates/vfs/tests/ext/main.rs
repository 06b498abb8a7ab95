//! ext2, ext3 and ext4, with the programs of e2fsprogs as second opinion: they make the images, and check what this kernel left.
//!
//! Without these programs nothing is tested, and the output says so; `scripts/setup.sh` installs them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod acls;
mod concurrent;
mod corrupt;
mod crash;
mod damage;
mod images;
#[path = "../support/mod.rs"]
mod support;

mod many;
mod memory;
mod orphans;
mod protected;
mod read;
mod removed;
mod replaced;
mod shifts;
mod trim;
mod write;
mod xattrs;
