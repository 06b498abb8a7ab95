//! Directories of e2fsprogs are read, and e2fsck reads ours.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

mod image;
mod model;
mod reading;
