//! The atomics of the kernel: `core`'s, or loom's in a model test.
//!
//! Every atomic that two contexts share is named through this module, so that a loom test can explore it. loom treats
//! `SeqCst` loads and stores as `AcqRel`: where an algorithm rests on one total order (each side writes its own flag,
//! then reads the other's), write `fence(SeqCst)` between the two accesses.
//!
//! Under loom the constructors are not `const`.

#[cfg(not(loom))]
pub use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

#[cfg(loom)]
pub use loom::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
