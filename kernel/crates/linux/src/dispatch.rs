//! From a system call number to its handler.
//!
//! A table of functions is generated from the table of `abi`: the one of a row that is not absent calls the function of
//! its name in [`crate::syscall`] with the arguments typed as the row says. Numbers without a handler answer `ENOSYS` and
//! are named once in the log.
//!
//! Every call takes this road, so it is kept short: a handler is compiled into its entry of the table, and how the call
//! ended travels in one register ([`Answer`]) instead of a `Result` in memory.
//!
//! The table is there twice: [`ENTRIES`], where the machine's entry code jumps, and what it was at first. So [`crate::trace`] can
//! take the place of a handler and still call it.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

use abi::{Errno, Fd, SyscallArgument, UserPtr};

use crate::SyscallResult;
use crate::error::{Restart, SyscallError};
use crate::exit;
use crate::native;
use crate::registers::Registers;
use crate::syscall;
use crate::thread::{Attention, Thread};

/// How a call ended, in one register: a result, a negated error number, or one of [`RESTARTS`].
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Answer(i64);

/// Results that say how an interrupted call goes on, until [`syscall_exit`] has settled it. Linux's own numbers; no call
/// answers them otherwise.
const RESTARTS: [(i64, Restart); 4] =
    [(-512, Restart::IfAllowed), (-513, Restart::Always), (-514, Restart::IfNoHandler), (-516, Restart::Continue)];

/// Answers from here to -1 are errors.
const ERROR_FIRST: i64 = -4095;

impl Answer {
    fn is_restart(self) -> bool {
        (RESTARTS[3].0..=RESTARTS[0].0).contains(&self.0)
    }

    /// The number that the program finds, unless the call is to be restarted.
    pub(crate) fn value(self) -> i64 {
        self.0
    }

    /// Whether the call failed or was interrupted.
    pub(crate) fn is_error(self) -> bool {
        (ERROR_FIRST..0).contains(&self.0)
    }

    fn restart(self) -> Option<Restart> {
        if !self.is_restart() {
            return None;
        }
        RESTARTS.iter().find(|(number, _)| *number == self.0).map(|(_, restart)| *restart)
    }
}

impl From<Errno> for Answer {
    fn from(errno: Errno) -> Self {
        Self(errno.as_negative() as i64)
    }
}

impl From<Restart> for Answer {
    fn from(how: Restart) -> Self {
        let number = RESTARTS.iter().find(|(_, restart)| *restart == how).map(|(number, _)| *number);
        number.map_or(Errno::EINTR.into(), Self)
    }
}

/// The answer of a call that ended in this way.
#[inline]
fn answer(thread: &Thread, result: SyscallResult) -> Answer {
    match result {
        Ok(value) => Answer(value.cast_signed() as i64),
        Err(SyscallError::Errno(errno)) => errno.into(),
        Err(error) => interrupted(thread, error),
    }
}

/// The answer of a call that was interrupted. What interrupted it may be gone: the exit path settles how it goes on all the
/// same, and nothing but the attention word leads there.
#[cold]
fn interrupted(thread: &Thread, error: SyscallError) -> Answer {
    thread.note(Attention::SIGNAL);
    match error {
        SyscallError::Errno(errno) => errno.into(),
        SyscallError::RestartIfAllowed => Restart::IfAllowed.into(),
        SyscallError::RestartAlways => Restart::Always.into(),
        SyscallError::RestartIfNoHandler => Restart::IfNoHandler.into(),
        SyscallError::RestartContinue => Restart::Continue.into(),
    }
}

/// What serves one call. Callee-saved registers in the frame are neither read nor written.
pub type Entry = extern "C" fn(&Thread, &Registers) -> Answer;

/// Serves a system call as the machine's entry code does: reads its number and arguments from the registers and leaves its
/// result there. True: the call was interrupted, and [`syscall_exit`] must run; it must run as well when
/// [`Thread::needs_attention`].
pub fn syscall_entry(thread: &Thread, registers: &mut Registers) -> bool {
    let answer = handler(number(registers))(thread, registers);
    registers.rax = answer.0.cast_unsigned();
    answer.is_restart()
}

/// Serves one call of a batch. `None`: it was interrupted.
pub(crate) fn serve(thread: &Thread, registers: &Registers) -> Option<Result<i64, Errno>> {
    let answer = handler(number(registers))(thread, registers);
    if answer.is_restart() {
        return None;
    }
    if !answer.is_error() {
        return Some(Ok(answer.0));
    }
    let errno = Errno::ALL.iter().find(|errno| errno.as_negative() as i64 == answer.0);
    Some(errno.map_or(Ok(answer.0), |errno| Err(*errno)))
}

/// The number of the call that a program makes: the low half of rax alone counts, as in Linux.
pub(crate) fn number(registers: &Registers) -> usize {
    word::<u32>(registers.original_rax) as usize
}

/// What serves the call with this number.
pub(crate) fn handler(number: usize) -> Entry {
    HANDLERS.get(number).copied().unwrap_or(absent)
}

/// Makes `entry` serve a call. Before the first program runs: what is being served is not waited for.
pub(crate) fn replace(number: usize, entry: Entry) {
    if let Some(place) = ENTRIES.get(number) {
        place.store(entry as *mut (), Relaxed);
    }
}

/// Does everything there is to do between a system call and the program's next instruction; all registers are in place.
pub fn syscall_exit(thread: &Thread, registers: &mut Registers) {
    let restart = Answer(registers.rax.cast_signed()).restart();
    if restart.is_some() {
        registers.rax = Answer::from(Errno::EINTR).0.cast_unsigned();
    }
    exit::leave(thread, registers, restart);
}

/// Calls a handler with as many arguments as it has. One is told of the program's stack pointer as well.
macro_rules! call {
    (sigaltstack $thread:ident $registers:ident; $a:ty, $b:ty) => {
        syscall::sigaltstack($thread, $registers.rsp, word::<$a>($registers.rdi), word::<$b>($registers.rsi))
    };
    ($name:ident $thread:ident $registers:ident;) => {
        syscall::$name($thread)
    };
    ($name:ident $thread:ident $registers:ident; $a:ty) => {
        syscall::$name($thread, word::<$a>($registers.rdi))
    };
    ($name:ident $thread:ident $registers:ident; $a:ty, $b:ty) => {
        syscall::$name($thread, word::<$a>($registers.rdi), word::<$b>($registers.rsi))
    };
    ($name:ident $thread:ident $registers:ident; $a:ty, $b:ty, $c:ty) => {
        syscall::$name($thread, word::<$a>($registers.rdi), word::<$b>($registers.rsi), word::<$c>($registers.rdx))
    };
    ($name:ident $thread:ident $registers:ident; $a:ty, $b:ty, $c:ty, $d:ty) => {
        syscall::$name(
            $thread,
            word::<$a>($registers.rdi),
            word::<$b>($registers.rsi),
            word::<$c>($registers.rdx),
            word::<$d>($registers.r10),
        )
    };
    ($name:ident $thread:ident $registers:ident; $a:ty, $b:ty, $c:ty, $d:ty, $e:ty) => {
        syscall::$name(
            $thread,
            word::<$a>($registers.rdi),
            word::<$b>($registers.rsi),
            word::<$c>($registers.rdx),
            word::<$d>($registers.r10),
            word::<$e>($registers.r8),
        )
    };
    ($name:ident $thread:ident $registers:ident; $a:ty, $b:ty, $c:ty, $d:ty, $e:ty, $f:ty) => {
        syscall::$name(
            $thread,
            word::<$a>($registers.rdi),
            word::<$b>($registers.rsi),
            word::<$c>($registers.rdx),
            word::<$d>($registers.r10),
            word::<$e>($registers.r8),
            word::<$f>($registers.r9),
        )
    };
}

/// The entry of a row. An absent one has no handler, but its types must exist.
macro_rules! entry {
    (Absent $name:ident($($types:ty),*)) => {{
        let _: Option<fn($($types),*)> = None;
        absent as Entry
    }};
    ($level:ident $name:ident($($types:ty),*)) => {{
        extern "C" fn $name(thread: &Thread, registers: &Registers) -> Answer {
            // Not all calls have arguments.
            let _ = registers;
            answer(thread, call!($name thread registers; $($types),*))
        }
        $name as Entry
    }};
}

macro_rules! generate_entries {
    ($($number:literal $name:ident($($argument:ident: $type:ty),*) = $level:ident($note:literal);)*) => {
        /// What serves the call of every number.
        static HANDLERS: [Entry; ENTRY_COUNT] = FIRST_ENTRIES;

        const FIRST_ENTRIES: [Entry; ENTRY_COUNT] = {
            let mut entries: [Entry; ENTRY_COUNT] = [absent; ENTRY_COUNT];
            $(entries[$number] = entry!($level $name($($type),*));)*
            entries
        };
    };
}

/// The entry of every number, an [`Entry`] each. The machine's entry code calls them itself: with the low half of rax below
/// [`ENTRY_COUNT`] the entry at that place, else [`absent`].
pub static ENTRIES: [AtomicPtr<()>; ENTRY_COUNT] = {
    let mut entries = [const { AtomicPtr::new(core::ptr::null_mut()) }; ENTRY_COUNT];
    let mut number = 0;
    while number < ENTRY_COUNT {
        entries[number] = AtomicPtr::new(FIRST_ENTRIES[number] as *mut ());
        number += 1;
    }
    entries
};

/// One more than the largest number in the table.
pub const ENTRY_COUNT: usize = match abi::SYSCALLS.last() {
    Some(row) => row.number as usize + 1,
    None => 0,
};

abi::for_each_syscall!(generate_entries);

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
pub extern "C" fn absent(thread: &Thread, registers: &Registers) -> Answer {
    let number = u64::from(word::<u32>(registers.original_rax));
    if let Some(handler) = native::handler(number) {
        return answer(thread, handler(thread, registers));
    }
    let is_new = usize::try_from(number / WORD_BITS).ok().and_then(|index| NAMED.get(index)).is_some_and(|named| {
        let bit = 1 << (number % WORD_BITS);
        named.fetch_or(bit, Relaxed) & bit == 0
    });
    if is_new {
        log::warn!("system call {} ({number}) is not implemented", abi::name(number).unwrap_or("unknown"));
    }
    Errno::ENOSYS.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_carry_how_a_call_ended() {
        for restart in [Restart::IfAllowed, Restart::Always, Restart::IfNoHandler, Restart::Continue] {
            let answer = Answer::from(restart);
            assert!(answer.is_restart());
            assert_eq!(answer.restart(), Some(restart));
        }
        for errno in Errno::ALL {
            let answer = Answer::from(*errno);
            assert!(!answer.is_restart() && answer.restart().is_none());
            assert_eq!(answer.0, errno.as_negative() as i64);
        }
    }
}
