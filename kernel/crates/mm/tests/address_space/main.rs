//! The address space against Linux's answers, a fake machine and a model.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod calls;
mod faults;
mod model;
mod peek;
mod rewriting;
mod support;
mod threads;
mod words;
