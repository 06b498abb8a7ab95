//! The journal against e2fsprogs: journals made by `debugfs`, replays by `e2fsck`, and the journal's own model.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod recovery;
mod support;
