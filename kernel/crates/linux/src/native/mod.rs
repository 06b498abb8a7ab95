//! The native calls: handlers of the table in [`abi::native`], which Linux does not have.
//!
//! Their numbers are beyond the table of Linux's calls, so the way to them is that of unknown numbers, and costs the others nothing.

mod batch;

use abi::native::{NATIVE_CALLS, NATIVE_FIRST};
use abi::{SyscallArgument, UserPtr};

use crate::SyscallResult;
use crate::registers::Registers;
use crate::thread::Thread;
use batch::batch;

/// What serves a native call.
pub(crate) type Handler = fn(&Thread, &Registers) -> SyscallResult;

macro_rules! generate_handlers {
    ($($offset:literal $name:ident($a:ident: $a_type:ty, $b:ident: $b_type:ty, $c:ident: $c_type:ty) = $note:literal;)*) => {
        static HANDLERS: [Handler; NATIVE_CALLS.len()] = [$(
            |thread, registers| $name(
                thread,
                registers,
                <$a_type>::from_register(registers.rdi),
                <$b_type>::from_register(registers.rsi),
                <$c_type>::from_register(registers.rdx),
            )
        ),*];
    };
}

abi::for_each_native_call!(generate_handlers);

/// The handler of a number, if it is a native call's.
pub(crate) fn handler(number: u64) -> Option<Handler> {
    let index = number.checked_sub(u64::from(NATIVE_FIRST))?;
    usize::try_from(index).ok().and_then(|index| HANDLERS.get(index)).copied()
}
