//! The native calls: what Nacre has beyond Linux, one row each, with numbers far beyond Linux's.
//!
//! A row is `OFFSET name(argument: Type, ...) = "what it does";`, its number [`NATIVE_FIRST`] and the offset. Each has a handler of
//! the same name and arguments in the kernel's `native` module; names and the list in `docs/SYSCALLS.md` come from here too.
//! Linux answers `ENOSYS` to all of them. The crate `nacre` (libc-shim/rust) is how programs make them.

use crate::layout::abi_struct;

/// The number of the first.
pub const NATIVE_FIRST: u32 = 0x4e_0000;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct NativeRow {
    /// The number in `rax`.
    pub number: u32,
    /// The name.
    pub name: &'static str,
    /// The arguments in order: name and type.
    pub arguments: &'static [(&'static str, &'static str)],
    /// What it does.
    pub note: &'static str,
}

/// Calls `callback!` with all rows.
#[macro_export]
macro_rules! for_each_native_call {
    ($callback:ident) => {
        $callback! {
        0 batch(calls: UserPtr, count: usize, flags: u64) = "makes many calls in order; answers how many it made";
                }
    };
}

macro_rules! collect_rows {
    ($($offset:literal $name:ident($($argument:ident: $type:ty),*) = $note:literal;)*) => {
        /// All rows, in the order of their numbers.
        pub const NATIVE_CALLS: &[NativeRow] = &[$(NativeRow {
            number: NATIVE_FIRST + $offset,
            name: stringify!($name),
            arguments: &[$((stringify!($argument), stringify!($type))),*],
            note: $note,
        },)*];
    };
}

crate::for_each_native_call!(collect_rows);

/// The most calls of a batch.
pub const BATCH_CALLS_MAX: usize = 1024;
/// A batch ends behind the first call that fails.
pub const BATCH_STOP_ON_ERROR: u64 = 1;

abi_struct! {
    /// A call of a batch.
    pub struct BatchCall: 64 {
        /// Its number.
        pub number: u64,
        /// Its arguments.
        pub arguments: [u64; 6],
        /// Where its answer goes.
        pub answer: i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order_and_none_is_linux_s() {
        for (index, row) in NATIVE_CALLS.iter().enumerate() {
            assert_eq!(row.number as usize, NATIVE_FIRST as usize + index, "{}", row.name);
            assert!(!row.note.is_empty(), "{}", row.name);
        }
        assert!(crate::SYSCALLS.iter().all(|row| u32::from(row.number) < NATIVE_FIRST));
    }
}
