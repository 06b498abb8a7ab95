//! What e2fsprogs writes is read, and e2fsprogs reads what is written here.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

mod attributes;
mod directory_model;
mod directory_reading;
mod image;
