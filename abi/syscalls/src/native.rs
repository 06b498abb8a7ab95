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
        1 wait_many(things: UserPtr, count: usize, timeout: UserPtr, flags: u64)
            = "waits for descriptors, futex words and threads at once; answers how many have something to tell";
        2 receive_in_place(fd: Fd, pieces: UserPtr, count: usize, address: UserPtr, address_length: UserPtr, flags: u32)
            = "lends what a socket has received; answers how many pieces";
        3 give_back(loans: UserPtr, count: usize) = "ends loans of receive_in_place; answers how many";
        4 memory_events(level: u32, flags: u32) = "a descriptor that is readable when memory is short";
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

/// The most things that are waited for at once.
pub const WAIT_THINGS_MAX: usize = 1024;
/// Not a thing; never found.
pub const WAIT_NOTHING: u32 = 0;
/// A descriptor: `events` are those of `poll`.
pub const WAIT_DESCRIPTOR: u32 = 1;
/// A word of 32 bits: `events` are flags of `futex_waitv`, `value` is what it has as long as there is reason to wait.
pub const WAIT_WORD: u32 = 2;
/// A thread of the process, by its number, until it has ended.
pub const WAIT_THREAD: u32 = 3;
/// Found of a word: it has another value.
pub const WAIT_FOUND_CHANGED: u32 = 1;
/// Found of a word: this thread was woken, and the wake is counted.
pub const WAIT_FOUND_WOKEN: u32 = 2;
/// Found of a thread: it has ended.
pub const WAIT_FOUND_ENDED: u32 = 1;

abi_struct! {
    /// Something that is waited for.
    pub struct WaitThing: 32 {
        /// `WAIT_DESCRIPTOR` and so on.
        pub kind: u32,
        /// As the kind has it.
        pub events: u32,
        /// The descriptor, the address of the word, the number of the thread.
        pub subject: u64,
        /// Of words alone.
        pub value: u64,
        /// What was found; 0 for nothing. Events of `poll`, or `WAIT_FOUND_`.
        pub found: u32,
        /// Zero.
        pub reserved: u32,
    }
}

/// The most pieces of one receive.
pub const RECEIVED_PIECES_MAX: usize = 64;
/// The most loans that a process has at once.
pub const LOANS_MAX: usize = 1024;

abi_struct! {
    /// Bytes that were received, lent where they lie.
    pub struct ReceivedPiece: 24 {
        /// Where they are. They may be read, until the loan is given back; system calls do not take such an address.
        pub address: u64,
        /// How many.
        pub length: u64,
        /// The number of the loan.
        pub loan: u64,
    }
}

/// Memory gets short: the machine drops what it keeps for speed alone from here on.
pub const MEMORY_LOW: u32 = 1;
/// Programs are about to be refused memory, or ended.
pub const MEMORY_CRITICAL: u32 = 2;

abi_struct! {
    /// What a read of the descriptor of `memory_events` gives.
    pub struct MemoryEvent: 16 {
        /// `MEMORY_LOW` or `MEMORY_CRITICAL`.
        pub level: u32,
        /// Zero.
        pub reserved: u32,
        /// So much given back would end the shortage.
        pub wanted_bytes: u64,
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
