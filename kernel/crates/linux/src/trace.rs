//! Tracing system calls, for `TRACE=` of the runner. It costs nothing while it is off: what is traced has another function in the
//! table of [`crate::dispatch`].
//!
//! There are two kinds; one is chosen before the program starts and stays.
//!
//! - Records. [`record_call`] gives [`Platform::observe`] a line for each of the chosen calls when it is done:
//!   `call TID NUMBER ARGUMENT... iN=BYTES... oN=BYTES... ANSWER`. There are six arguments, registers in hexadecimal; the answer is a
//!   signed decimal number, -512 to -516 for a call that is to be restarted. For arguments that are addresses follows what they
//!   point at, in hexadecimal, at most [`MEMORY_LEN_MAX`] bytes: `iN` before the call, `oN` after it where that differs. The
//!   host knows what all that means, and makes lines for people from it.
//! - Counts. [`count_call`] counts calls, errors and time by number and CPU; [`counts`] gives the sums.
//!
//! Memory is read as the program would read it, which may page it in and has no other effect. What runs out of memory for its record
//! goes unseen.
//!
//! [`Platform::observe`]: crate::Platform::observe

use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mm::UserReader;
use sync::{Once, machine};

use crate::dispatch::{self, Answer, ENTRY_COUNT, Entry};
use crate::registers::Registers;
use crate::thread::{Deferred, Thread};

/// The most bytes of memory that a record shows for one argument.
const MEMORY_LEN_MAX: usize = 256;
const ARGUMENTS_MAX: usize = 6;
/// All that a record can contain: words, and memory before and after the call.
const RECORD_LEN_MAX: usize = 256 + ARGUMENTS_MAX * 2 * (2 * MEMORY_LEN_MAX + 8);
/// How the table types an argument that is an address.
const POINTER: &str = "UserPtr";

/// What is to be traced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// A record of every call.
    All,
    /// A record of each call with one of these numbers, separated by commas.
    Numbers(&'a [u8]),
    /// Counts of all calls.
    Count,
}

impl<'a> Request<'a> {
    /// Reads the value of `trace=` on the kernel's command line: `all`, `count` or numbers.
    pub fn parse(value: &'a [u8]) -> Self {
        match value {
            b"all" => Self::All,
            b"count" => Self::Count,
            numbers => Self::Numbers(numbers),
        }
    }

    fn includes(self, number: usize) -> bool {
        let Self::Numbers(numbers) = self else { return true };
        let parse = |word: &[u8]| core::str::from_utf8(word).ok()?.parse().ok();
        numbers.split(|byte| *byte == b',').any(|word| parse(word) == Some(number))
    }
}

/// Starts to trace, on a machine with so many CPUs. Before the first thread runs.
pub fn start(request: Request<'_>, cpu_count: u32) {
    let entry: Entry = match request {
        Request::Count => {
            COUNTS.call_once(|| (0..cpu_count).map(|_| CountTable::new()).collect());
            count_call
        }
        Request::All | Request::Numbers(_) => record_call,
    };
    for number in (0..ENTRY_COUNT).filter(|number| request.includes(*number)) {
        dispatch::replace(number, entry);
    }
}

/// Serves a call and tells of it.
extern "C" fn record_call(thread: &Thread, registers: &Registers) -> Answer {
    let number = dispatch::number(registers);
    let handler = dispatch::handler(number);
    let Some(mut record) = Record::begin(thread.tid(), number, registers) else {
        return handler(thread, registers);
    };
    let answer = handler(thread, registers);
    if thread.has_deferred() {
        return defer_record(thread, record, answer);
    }
    record.end(answer.value());
    thread.platform().observe(&record.text);
    answer
}

/// Tells of a call whose answer is made on the way out. In a batch it is not made, and goes unseen.
fn defer_record(thread: &Thread, mut record: Record, answer: Answer) -> Answer {
    let deferred = thread.take_deferred();
    thread.defer(Deferred::other(move |thread, registers| {
        let answer = match deferred {
            Some(making @ Deferred::Clone(_)) => {
                making.finish(thread, registers);
                registers.rax.cast_signed()
            }
            other => {
                // Another program begins: what is left in its registers is no answer.
                other.into_iter().for_each(|starting| starting.finish(thread, registers));
                answer.value()
            }
        };
        record.end(answer);
        thread.platform().observe(&record.text);
    }));
    answer
}

/// A record while it is written.
struct Record {
    text: Vec<u8>,
    arguments: [u64; ARGUMENTS_MAX],
    /// Where the bytes that each argument points at are in the text, empty for one that is no address.
    before: [core::ops::Range<usize>; ARGUMENTS_MAX],
    pointers: [bool; ARGUMENTS_MAX],
}

impl Record {
    /// The part of a record that can be written before the call. `None`: there is no memory for it.
    fn begin(tid: u32, number: usize, registers: &Registers) -> Option<Self> {
        let mut text = Vec::new();
        text.try_reserve_exact(RECORD_LEN_MAX).ok()?;
        let r = registers;
        let arguments = [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9];
        let mut record = Self { text, arguments, before: [const { 0..0 }; ARGUMENTS_MAX], pointers: pointers(number) };
        record.put(format_args!("call {tid} {number}"));
        for argument in arguments {
            record.put(format_args!(" {argument:x}"));
        }
        for index in 0..ARGUMENTS_MAX {
            record.before[index] = record.put_memory('i', index).unwrap_or_default();
        }
        Some(record)
    }

    fn end(&mut self, answer: i64) {
        for index in 0..ARGUMENTS_MAX {
            let start = self.text.len();
            if let Some(after) = self.put_memory('o', index)
                && self.text[after] == self.text[self.before[index].clone()]
            {
                self.text.truncate(start);
            }
        }
        self.put(format_args!(" {answer}\n"));
    }

    /// Appends what an argument points at, and says where that is. `None`: it is no address, or one of nothing.
    fn put_memory(&mut self, letter: char, index: usize) -> Option<core::ops::Range<usize>> {
        if !self.pointers[index] {
            return None;
        }
        let address = usize::try_from(self.arguments[index]).ok()?;
        let mut bytes = [0; MEMORY_LEN_MAX];
        let len = UserReader::new(address, MEMORY_LEN_MAX).ok()?.read(&mut bytes).ok()?;
        self.put(format_args!(" {letter}{index}="));
        let start = self.text.len();
        for byte in &bytes[..len] {
            self.put(format_args!("{byte:02x}"));
        }
        Some(start..self.text.len())
    }

    fn put(&mut self, arguments: fmt::Arguments<'_>) {
        // Formatting numbers does not fail, and the text has room for them.
        let _ = self.write_fmt(arguments);
    }
}

impl Write for Record {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        debug_assert!(self.text.len() + text.len() <= self.text.capacity(), "a record has room for all that is in it");
        self.text.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Which arguments of a call are addresses.
fn pointers(number: usize) -> [bool; ARGUMENTS_MAX] {
    let mut pointers = [false; ARGUMENTS_MAX];
    if let Some(row) = abi::SYSCALLS.iter().find(|row| usize::from(row.number) == number) {
        for (is_pointer, (_, kind)) in pointers.iter_mut().zip(row.arguments) {
            *is_pointer = *kind == POINTER;
        }
    }
    pointers
}

/// What was counted of one call.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Count {
    /// How often it was made.
    pub calls: u64,
    /// How often it failed; calls that were interrupted are among them.
    pub errors: u64,
    /// How long it took in all, with the time it waited.
    pub taken_ns: u64,
}

/// The counts of one CPU.
struct CountTable(Vec<Counters>);

#[derive(Default)]
struct Counters {
    calls: AtomicU64,
    errors: AtomicU64,
    taken_ns: AtomicU64,
}

/// One table a CPU, while calls are counted.
static COUNTS: Once<Vec<CountTable>> = Once::new();

impl CountTable {
    fn new() -> Self {
        Self((0..ENTRY_COUNT).map(|_| Counters::default()).collect())
    }
}

/// Serves a call and counts it.
extern "C" fn count_call(thread: &Thread, registers: &Registers) -> Answer {
    let number = dispatch::number(registers);
    let start_ns = machine::now_ns();
    let answer = dispatch::handler(number)(thread, registers);
    let taken_ns = machine::now_ns().saturating_sub(start_ns);
    let cpu = usize::try_from(thread.platform().current_cpu()).ok();
    let table = cpu.and_then(|cpu| COUNTS.get()?.get(cpu));
    if let Some(counters) = table.and_then(|table| table.0.get(number)) {
        counters.calls.fetch_add(1, Relaxed);
        counters.errors.fetch_add(u64::from(answer.is_error()), Relaxed);
        counters.taken_ns.fetch_add(taken_ns, Relaxed);
    }
    answer
}

/// The sums over all CPUs of the calls that were made, by number. `None`: calls are not counted.
pub fn counts() -> Option<impl Iterator<Item = (usize, Count)>> {
    let tables = COUNTS.get()?;
    let sums = (0..ENTRY_COUNT).map(|number| {
        let mut sum = Count::default();
        for counters in tables.iter().filter_map(|table| table.0.get(number)) {
            sum.calls += counters.calls.load(Relaxed);
            sum.errors += counters.errors.load(Relaxed);
            sum.taken_ns += counters.taken_ns.load(Relaxed);
        }
        (number, sum)
    });
    Some(sums.filter(|(_, count)| count.calls > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_calls() {
        assert_eq!(Request::parse(b"all"), Request::All);
        assert_eq!(Request::parse(b"count"), Request::Count);
        let some = Request::parse(b"0,257,x,,9999999999999999999999");
        assert!(some.includes(0) && some.includes(257));
        assert!(!some.includes(1) && !some.includes(25));
    }

    #[test]
    fn addresses_are_known_from_the_table() {
        assert_eq!(pointers(0), [false, true, false, false, false, false]);
        assert_eq!(pointers(100_000), [false; 6]);
    }
}
