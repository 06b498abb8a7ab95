//! What stands behind each argument of a system call, by its name in the table and by the call.

use abi::{Fd, Signal, SyscallArgument, SyscallRow};

use super::{Call, flags, structures};

/// So much of a buffer is shown.
const BUFFER_SHOWN_MAX: usize = 32;
/// Names of arguments that are paths, or other strings that end in a zero.
const STRINGS: [&str; 5] = ["path", "old_path", "new_path", "target", "name"];
/// Calls whose `buffer` the program fills.
const WRITERS: [&str; 3] = ["write", "pwrite64", "sendto"];
/// Calls whose `buffer` the kernel fills with as many bytes as the call answers.
const READERS: [&str; 7] = ["read", "pread64", "recvfrom", "readlink", "readlinkat", "getrandom", "getcwd"];

/// All arguments of a call that it uses.
pub(super) fn list(call: &Call, row: &SyscallRow) -> Vec<String> {
    let mut list: Vec<String> =
        row.arguments.iter().enumerate().map(|(index, (name, kind))| one(call, row.name, index, name, kind)).collect();
    if row.name == "fcntl" && flags::has_no_argument(call.registers[1]) {
        list.truncate(2);
    }
    // A mode without a file to be made says nothing.
    let flags_at = match row.name {
        "open" => Some(1),
        "openat" => Some(2),
        _ => None,
    };
    if flags_at.is_some_and(|at| !flags::makes_file(call.registers[at])) {
        list.truncate(list.len() - 1);
    }
    list
}

fn one(call: &Call, call_name: &str, index: usize, name: &str, kind: &str) -> String {
    let register = call.registers.get(index).copied().unwrap_or_default();
    match kind {
        "Fd" => descriptor(Fd::from_register(register)),
        "UserPtr" => pointer(call, call_name, index, name, register),
        _ => {
            let value = widen(kind, register);
            flags::show(call_name, name, value, call).unwrap_or_else(|| number(call_name, name, kind, register, value))
        }
    }
}

fn descriptor(fd: Fd) -> String {
    if fd.is_cwd() { "AT_FDCWD".to_owned() } else { fd.raw().to_string() }
}

/// The value of a register of this type, extended by its sign to 64 bits.
fn widen(kind: &str, register: u64) -> i64 {
    match kind {
        "i32" => i64::from(i32::from_register(register)),
        "u32" => i64::from(u32::from_register(register)),
        "u16" => i64::from(u16::from_register(register)),
        _ => register.cast_signed(),
    }
}

fn number(call_name: &str, name: &str, kind: &str, register: u64, value: i64) -> String {
    match name {
        "address" | "new_address" | "stack" | "tls" | "area" if register == 0 => "NULL".to_owned(),
        "address" | "new_address" | "stack" | "tls" => format!("{register:#x}"),
        "offset" if call_name == "mmap" && register != 0 => format!("{register:#x}"),
        "mode" => format!("{value:#05o}").replace("0o", "0"),
        "signal" => u8::try_from(value).ok().and_then(Signal::new).map_or_else(|| value.to_string(), |s| s.to_string()),
        "third" | "fourth" | "fifth" | "second" | "argument" => format!("{register:#x}"),
        "timeout" if kind == "u64" => {
            if register == 0 {
                "NULL".to_owned()
            } else {
                format!("{register:#x}")
            }
        }
        _ if kind == "u64" || kind == "usize" => register.to_string(),
        _ => value.to_string(),
    }
}

fn pointer(call: &Call, call_name: &str, index: usize, name: &str, address: u64) -> String {
    if address == 0 {
        return "NULL".to_owned();
    }
    let shown = if STRINGS.contains(&name) && call_name != "sethostname" {
        call.memory_before(index).map(string)
    } else if name == "buffer" && WRITERS.contains(&call_name) {
        let len = usize::try_from(call.registers[2]).unwrap_or(usize::MAX);
        call.memory_before(index).map(|bytes| buffer(bytes, len))
    } else if name == "buffer" && READERS.contains(&call_name) {
        let len = usize::try_from(call.answer).ok().filter(|_| call.has_succeeded());
        len.and_then(|len| {
            Some(if call_name == "getcwd" {
                string(call.memory_after(index)?)
            } else {
                buffer(call.memory_after(index)?, len)
            })
        })
    } else {
        structures::show(call, call_name, index, name)
    };
    shown.unwrap_or_else(|| format!("{address:#x}"))
}

/// A string up to its zero; one that goes on behind what was recorded ends in dots.
fn string(bytes: &[u8]) -> String {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => quoted(&bytes[..end]),
        None => format!("{}...", quoted(bytes)),
    }
}

/// The beginning of `len` bytes.
fn buffer(bytes: &[u8], len: usize) -> String {
    let shown = bytes.len().min(len).min(BUFFER_SHOWN_MAX);
    let dots = if shown < len { "..." } else { "" };
    format!("{}{dots}", quoted(&bytes[..shown]))
}

/// Bytes between quotation marks, as C writes them; octal numbers are as short as what follows allows.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\r' => text.push_str("\\r"),
            0x0b => text.push_str("\\v"),
            0x0c => text.push_str("\\f"),
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => {
                let is_followed_by_digit = bytes.get(index + 1).is_some_and(u8::is_ascii_digit);
                text.push_str(&if is_followed_by_digit { format!("\\{byte:03o}") } else { format!("\\{byte:o}") });
            }
        }
    }
    text.push('"');
    text
}
