//! From a system call number to its handler.
//!
//! The match is generated from the table of `abi`: each row that is not absent calls the function of its name in
//! [`crate::syscall`] with the arguments typed as the row says. Numbers without a handler answer `ENOSYS` and are named
//! once in the log.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::{Errno, Fd, SyscallArgument, UserPtr};

use crate::SyscallResult;
use crate::error::{Restart, SyscallError};
use crate::exit;
use crate::registers::Registers;
use crate::syscall;
use crate::thread::Thread;

/// Serves a system call: reads its number and arguments from the registers, leaves its result there, and does all there
/// is to do before the program continues.
#[inline]
pub fn syscall_entry(thread: &Thread, registers: &mut Registers) {
    let mut restart = None;
    let result = match dispatch(thread, registers.original_rax, registers.arguments()) {
        Ok(value) => value.cast_signed(),
        Err(SyscallError::Errno(errno)) => errno.as_negative(),
        Err(SyscallError::Restart(how)) => {
            restart = Some(how);
            Errno::EINTR.as_negative()
        }
    };
    registers.rax = result.cast_unsigned() as u64;
    if thread.needs_attention() || restart.is_some() {
        leave(thread, registers, restart);
    }
}

#[cold]
fn leave(thread: &Thread, registers: &mut Registers, restart: Option<Restart>) {
    exit::leave(thread, registers, restart);
}

/// Calls a handler with as many arguments as it has.
macro_rules! call {
    ($name:ident($thread:ident, $words:ident)) => {
        syscall::$name($thread)
    };
    ($name:ident($thread:ident, $words:ident) $a:ty) => {
        syscall::$name($thread, word::<$a>($words[0]))
    };
    ($name:ident($thread:ident, $words:ident) $a:ty, $b:ty) => {
        syscall::$name($thread, word::<$a>($words[0]), word::<$b>($words[1]))
    };
    ($name:ident($thread:ident, $words:ident) $a:ty, $b:ty, $c:ty) => {
        syscall::$name($thread, word::<$a>($words[0]), word::<$b>($words[1]), word::<$c>($words[2]))
    };
    ($name:ident($thread:ident, $words:ident) $a:ty, $b:ty, $c:ty, $d:ty) => {
        syscall::$name(
            $thread,
            word::<$a>($words[0]),
            word::<$b>($words[1]),
            word::<$c>($words[2]),
            word::<$d>($words[3]),
        )
    };
    ($name:ident($thread:ident, $words:ident) $a:ty, $b:ty, $c:ty, $d:ty, $e:ty) => {
        syscall::$name(
            $thread,
            word::<$a>($words[0]),
            word::<$b>($words[1]),
            word::<$c>($words[2]),
            word::<$d>($words[3]),
            word::<$e>($words[4]),
        )
    };
    ($name:ident($thread:ident, $words:ident) $a:ty, $b:ty, $c:ty, $d:ty, $e:ty, $f:ty) => {
        syscall::$name(
            $thread,
            word::<$a>($words[0]),
            word::<$b>($words[1]),
            word::<$c>($words[2]),
            word::<$d>($words[3]),
            word::<$e>($words[4]),
            word::<$f>($words[5]),
        )
    };
}

/// What a row does: nothing when it is absent, but its types must exist.
macro_rules! row {
    (Absent $number:literal $name:ident($($call:tt)*) $($types:ty),*) => {{
        let _: Option<fn($($types),*)> = None;
        absent($number)
    }};
    ($level:ident $number:literal $name:ident($($call:tt)*) $($types:ty),*) => { call!($name($($call)*) $($types),*) };
}

macro_rules! generate_dispatch {
    ($($number:literal $name:ident($($argument:ident: $type:ty),*) = $level:ident($note:literal);)*) => {
        /// Calls the handler of a number with the argument registers.
        pub(crate) fn dispatch(thread: &Thread, number: u64, words: [u64; 6]) -> SyscallResult {
            match number {
                $($number => row!($level $number $name(thread, words) $($type),*),)*
                unknown => absent(unknown),
            }
        }
    };
}

abi::for_each_syscall!(generate_dispatch);

/// An argument register as the type of its parameter.
#[inline]
fn word<T: SyscallArgument>(register: u64) -> T {
    T::from_register(register)
}

/// Numbers above this are not worth remembering.
const NUMBER_MAX: u64 = 512;
const WORD_BITS: u64 = 64;

/// The numbers already named in the log.
static NAMED: [AtomicU64; (NUMBER_MAX / WORD_BITS) as usize] =
    [const { AtomicU64::new(0) }; (NUMBER_MAX / WORD_BITS) as usize];

/// Answers a call nobody handles.
#[cold]
fn absent(number: u64) -> SyscallResult {
    let is_new = usize::try_from(number / WORD_BITS).ok().and_then(|index| NAMED.get(index)).is_some_and(|named| {
        let bit = 1 << (number % WORD_BITS);
        named.fetch_or(bit, Relaxed) & bit == 0
    });
    if is_new {
        log::warn!("system call {} ({number}) is not implemented", abi::name(number).unwrap_or("unknown"));
    }
    Err(Errno::ENOSYS.into())
}
