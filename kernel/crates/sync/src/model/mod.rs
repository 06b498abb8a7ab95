//! Model tests: loom runs each under every interleaving and every outcome of the memory model that the orderings permit.
//!
//! loom remembers only the last load of an atomic when it looks for interleavings to try, so a thread that loads an atomic
//! before it changes it hides the earlier loads of others. Where that matters, the writer runs first, on the main thread,
//! and the reader is spawned.
//!
//! A lost wake shows as a deadlock, missing exclusion as a concurrent access to a cell. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p sync --release`.

mod batch_queue;
mod change_count;
mod keyed;
mod leaving;
mod lookout;
mod mutex;
mod park;
mod rcu;
mod ring;
mod seqlock;
mod spinlock;
mod wait_queue;

use crate::test_machine;

/// Explores every execution of `test`.
fn explore(test: impl Fn() + Send + Sync + 'static) {
    explore_bounded(None, test);
}

/// Explores the executions of `test` with at most `preemptions_max` preemptions, for tests whose full space is too large.
/// Real bugs need few preemptions (M. Musuvathi and S. Qadeer, "Iterative context bounding", PLDI 2007).
fn explore_bounded(preemptions_max: Option<usize>, test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions_max;
    builder.max_branches = 10_000;
    builder.check(move || {
        test_machine::reset();
        test();
    });
}
