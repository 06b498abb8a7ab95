//! The journal against e2fsprogs: journals made by `debugfs`, replays by `e2fsck`; and against models, over power cuts.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod concurrent;
mod model;
mod recovery;
mod running;
mod support;
