//! Lines for people from the kernel's records of system calls, in the form of strace(1): names, arguments by their types, flags by
//! name, the result or the error.
//!
//! `linux::trace` in the kernel says what a record is. What arguments are called and how they are typed comes from the table in `abi`;
//! [`arguments`] knows what stands behind them, [`flags`] the names of bits and numbers, [`structures`] what lies in memory. A
//! call is shown when it is done, so those of several threads stand in the order in which they ended.

mod arguments;
mod flags;
mod structures;

use std::fmt::Write;

use abi::{Errno, SYSCALLS};

use crate::{Failure, Result};

/// The column of the equals sign, where lines are not longer.
const RESULT_COLUMN: usize = 40;
const ARGUMENTS_MAX: usize = 6;
/// Calls that do not return, or not to where they were made.
const ENDLESS: [&str; 3] = ["exit", "exit_group", "rt_sigreturn"];

/// One system call.
#[derive(Debug, Default)]
struct Call {
    tid: u32,
    number: u64,
    registers: [u64; ARGUMENTS_MAX],
    /// What the arguments pointed at before the call.
    before: [Option<Vec<u8>>; ARGUMENTS_MAX],
    /// The same behind it, where it has changed.
    after: [Option<Vec<u8>>; ARGUMENTS_MAX],
    answer: i64,
}

impl Call {
    /// Reads what follows the word `call`.
    fn parse(record: &str) -> Option<Self> {
        let mut words: Vec<&str> = record.split(' ').collect();
        let answer = words.pop()?.parse().ok()?;
        let mut words = words.into_iter();
        let mut call =
            Self { tid: words.next()?.parse().ok()?, number: words.next()?.parse().ok()?, answer, ..Self::default() };
        for register in &mut call.registers {
            *register = u64::from_str_radix(words.next()?, 16).ok()?;
        }
        for word in words {
            let (place, bytes) = word.split_once('=')?;
            let index: usize = place.get(1..)?.parse().ok()?;
            let memory = if place.starts_with('i') { &mut call.before } else { &mut call.after };
            *memory.get_mut(index)? = Some(parse_hexadecimal(bytes)?);
        }
        Some(call)
    }

    /// Whether the call did not fail.
    fn has_succeeded(&self) -> bool {
        !(-4095..0).contains(&self.answer)
    }

    /// What an argument points at, as the call left it.
    fn memory_after(&self, index: usize) -> Option<&[u8]> {
        self.after.get(index)?.as_deref().or(self.memory_before(index))
    }

    fn memory_before(&self, index: usize) -> Option<&[u8]> {
        self.before.get(index)?.as_deref()
    }
}

fn parse_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The line for a record, without its end; what follows the word `call` is given. `has_threads`: say which thread it was.
pub fn line(record: &str, has_threads: bool) -> Option<String> {
    let call = Call::parse(record)?;
    let row = SYSCALLS.iter().find(|row| u64::from(row.number) == call.number);
    let (name, arguments) = match row {
        Some(row) => (row.name.to_owned(), arguments::list(&call, row)),
        None => (format!("syscall_{:#x}", call.number), Vec::new()),
    };
    let mut text = if has_threads { format!("[pid {:5}] ", call.tid) } else { String::new() };
    let _ = write!(text, "{name}({})", arguments.join(", "));
    let column = RESULT_COLUMN - 1 + if has_threads { "[pid     0] ".len() } else { 0 };
    let _ = write!(text, "{:width$} = {}", "", result(&call, &name), width = column.saturating_sub(text.len()));
    Some(text)
}

/// What the call answered.
fn result(call: &Call, name: &str) -> String {
    let restart = match call.answer {
        -512 => Some("ERESTARTSYS (To be restarted if SA_RESTART is set)"),
        -513 => Some("ERESTARTNOINTR (To be restarted)"),
        -514 => Some("ERESTARTNOHAND (To be restarted if no handler)"),
        -516 => Some("ERESTART_RESTARTBLOCK (Interrupted by signal)"),
        _ => None,
    };
    if let Some(restart) = restart {
        return format!("? {restart}");
    }
    if ENDLESS.contains(&name) && call.has_succeeded() {
        return "?".to_owned();
    }
    if !call.has_succeeded() {
        let errno = u16::try_from(-call.answer).ok().and_then(Errno::from_raw);
        return errno
            .map_or_else(|| call.answer.to_string(), |errno| format!("-1 {} ({})", errno.name(), words(errno)));
    }
    match name {
        "mmap" | "mremap" | "brk" => format!("{:#x}", call.answer),
        "umask" => format!("{:#o}", call.answer),
        "fcntl" => flags::fcntl_result(call.registers[1], call.answer),
        _ => call.answer.to_string(),
    }
}

/// What the C library calls an error.
fn words(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw().into()).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// What the kernel is asked to trace: names of calls, `all` or `count`, as its command line says it.
///
/// # Errors
/// Names the call that there is not.
pub fn request(names: &str) -> Result<String> {
    if matches!(names, "all" | "count") {
        return Ok(names.to_owned());
    }
    let numbers: Result<Vec<String>> = names.split(',').map(|name| number(name.trim())).collect();
    Ok(numbers?.join(","))
}

fn number(name: &str) -> Result<String> {
    let row = SYSCALLS.iter().find(|row| row.name == name);
    row.map(|row| row.number.to_string())
        .ok_or_else(|| Failure::new(format!("TRACE: no system call is named {name:?}")))
}

/// Counts of calls as a table, those that took longest first.
#[derive(Debug, Default)]
pub struct Counts(Vec<(u64, [u64; 3])>);

impl Counts {
    /// Takes what follows the word `count`: number, calls, errors, time in ns.
    pub fn add(&mut self, record: &str) -> Option<()> {
        let mut numbers = record.split(' ').map(|word| word.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        self.0.push((next()?, [next()?, next()?, next()?]));
        Some(())
    }

    /// The table; empty if nothing was counted.
    pub fn table(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut rows = self.0.clone();
        rows.sort_by_key(|(_, [_, _, taken_ns])| std::cmp::Reverse(*taken_ns));
        let total = rows.iter().fold([0; 3], |sum: [u64; 3], (_, row)| [0, 1, 2].map(|at| sum[at] + row[at]));
        let mut text = String::from("     seconds  usecs/call     calls    errors syscall\n");
        let rule = "------------ ----------- --------- --------- ----------------\n";
        text.push_str(rule);
        let mut put = |name: &str, [calls, errors, taken_ns]: [u64; 3]| {
            let errors = if errors == 0 { String::new() } else { errors.to_string() };
            let (seconds, rest) = (taken_ns / 1_000_000_000, taken_ns / 1000 % 1_000_000);
            let each = taken_ns / 1000 / calls.max(1);
            let _ = writeln!(text, "{seconds:5}.{rest:06} {each:11} {calls:9} {errors:>9} {name}");
        };
        for (number, row) in rows {
            put(abi::name(number).unwrap_or("unknown"), row);
        }
        put("total", total);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn shown(record: &str) -> String {
        line(record, false).unwrap()
    }

    #[test]
    fn lines_look_like_those_of_strace() {
        let path = hexadecimal(b"/etc/passwd\0rest");
        assert_eq!(
            shown(&format!("1 257 ffffff9c 4000 80000 0 0 0 i1={path} 3")),
            "openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3"
        );
        assert_eq!(
            shown(&format!("1 257 ffffff9c 4000 241 1a4 0 0 i1={path} -2")),
            "openat(AT_FDCWD, \"/etc/passwd\", O_WRONLY|O_CREAT|O_TRUNC, 0644) = -1 ENOENT (No such file or directory)"
        );
        assert_eq!(shown("1 39 0 0 0 0 0 0 7"), "getpid()                                = 7");
        assert_eq!(shown("1 231 3 0 0 0 0 0 0"), "exit_group(3)                           = ?");
        assert_eq!(shown("1 12 0 0 0 0 0 0 4198400"), "brk(NULL)                               = 0x401000");
        assert_eq!(
            shown("1 9999 0 0 0 0 0 0 -38"),
            "syscall_0x270f()                        = -1 ENOSYS (Function not implemented)"
        );
        assert_eq!(
            shown("1 0 0 7000 10 0 0 0 -512"),
            "read(0, 0x7000, 16)                     = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"
        );
        let with_thread = line("12 39 0 0 0 0 0 0 7", true);
        assert_eq!(with_thread.as_deref(), Some("[pid    12] getpid()                                = 7"));
    }

    #[test]
    fn buffers_are_shown_as_far_as_they_were_used() {
        let bytes = hexadecimal(b"hello\n\0\x1b\xff0and much more than there is room for here");
        assert_eq!(
            shown(&format!("1 1 1 7000 6 0 0 0 i1={bytes} 6")),
            "write(1, \"hello\\n\", 6)                  = 6"
        );
        assert_eq!(
            shown(&format!("1 0 0 7000 100 0 0 0 i1=00 o1={bytes} 40")),
            "read(0, \"hello\\n\\0\\33\\3770and much more than the\"..., 256) = 40"
        );
    }

    #[test]
    fn nonsense_is_no_line() {
        for record in
            ["", "1", "1 0 0 0 0 0 0 0", "x 0 0 0 0 0 0 0 0", "1 0 0 0 0 0 0 0 i9=00 0", "1 0 0 0 0 0 0 0 i1=zz 0"]
        {
            assert_eq!(line(record, false), None, "{record:?}");
        }
    }

    #[test]
    fn names_become_numbers() {
        assert_eq!(request("openat, read").unwrap(), "257,0");
        assert_eq!(request("all").unwrap(), "all");
        assert!(request("opemat").unwrap_err().to_string().contains("opemat"));
    }

    #[test]
    fn counts_become_a_table() {
        let mut counts = Counts::default();
        assert!(counts.table().is_empty());
        counts.add("0 10 2 5000").unwrap();
        counts.add("1 1 0 2000000000").unwrap();
        assert!(counts.add("1 x").is_none());
        let table = counts.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[2], "    2.000000     2000000         1           write");
        assert_eq!(lines[3], "    0.000005           0        10         2 read");
        assert_eq!(lines[4], "    2.000005      181818        11         2 total");
    }
}
