//! The native calls: handlers of the table in [`abi::native`], which Linux does not have.
//!
//! Their numbers are beyond the table of Linux's calls, so the way to them is that of unknown numbers, and costs the others nothing.

mod batch;
mod in_place;
mod loans;
mod memory_events;
mod wait_many;

use abi::native::{NATIVE_CALLS, NATIVE_FIRST};
use abi::{Fd, SyscallArgument, UserPtr};

use crate::SyscallResult;
use crate::registers::Registers;
use crate::thread::Thread;
use batch::batch;
use in_place::{give_back, receive_in_place};
pub(crate) use loans::Loans;
use memory_events::memory_events;
use wait_many::wait_many;

/// What serves a native call.
pub(crate) type Handler = fn(&Thread, &Registers) -> SyscallResult;

/// Calls a handler with as many arguments as it has. The one with three makes calls itself, with registers like the
/// caller's.
macro_rules! call {
    ($name:ident $thread:ident $registers:ident; $a:ty, $b:ty) => {
        $name($thread, <$a>::from_register($registers.rdi), <$b>::from_register($registers.rsi))
    };
    ($name:ident $thread:ident $registers:ident; $a:ty, $b:ty, $c:ty) => {
        $name(
            $thread,
            $registers,
            <$a>::from_register($registers.rdi),
            <$b>::from_register($registers.rsi),
            <$c>::from_register($registers.rdx),
        )
    };
    ($name:ident $thread:ident $registers:ident; $a:ty, $b:ty, $c:ty, $d:ty) => {
        $name(
            $thread,
            <$a>::from_register($registers.rdi),
            <$b>::from_register($registers.rsi),
            <$c>::from_register($registers.rdx),
            <$d>::from_register($registers.r10),
        )
    };
    ($name:ident $thread:ident $registers:ident; $a:ty, $b:ty, $c:ty, $d:ty, $e:ty, $f:ty) => {
        $name(
            $thread,
            <$a>::from_register($registers.rdi),
            <$b>::from_register($registers.rsi),
            <$c>::from_register($registers.rdx),
            <$d>::from_register($registers.r10),
            <$e>::from_register($registers.r8),
            <$f>::from_register($registers.r9),
        )
    };
}

macro_rules! generate_handlers {
    ($($offset:literal $name:ident($($argument:ident: $type:ty),*) = $note:literal;)*) => {
        static HANDLERS: [Handler; NATIVE_CALLS.len()] =
            [$(|thread, registers| call!($name thread registers; $($type),*)),*];
    };
}

abi::for_each_native_call!(generate_handlers);

/// The handler of a number, if it is a native call's.
pub(crate) fn handler(number: u64) -> Option<Handler> {
    let index = number.checked_sub(u64::from(NATIVE_FIRST))?;
    usize::try_from(index).ok().and_then(|index| HANDLERS.get(index)).copied()
}
