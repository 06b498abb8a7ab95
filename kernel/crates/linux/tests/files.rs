//! Replays system calls on files as Linux answered them, recorded by `record_files.c`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::fmt::Write;

use abi::{Flock, Pollfd, Sigaction, SigactionFlags, Signal, Sigset, Stat};
use support::*;

/// Program memory for each argument.
const ARGUMENT_LEN: u64 = 0x2000;

fn number_of(name: &str) -> u64 {
    abi::SYSCALLS.iter().find(|row| row.name == name).unwrap().number.into()
}

/// A machine as the recorder makes a process.
fn prepare() -> (Machine, u64) {
    let mut machine = boot();
    // Registers the devices that node numbers stand for.
    vfs::fs::dev::new().unwrap();
    let memory = machine.syscall(9, &[0, 6 * ARGUMENT_LEN, 3, 0x22, u64::MAX, 0]);
    assert!(memory > 0);
    let memory = memory.cast_unsigned();
    for (call, path, arguments) in [
        ("chmod", "/", [0o755, 0]),
        ("mkdir", "/w", [0o755, 0]),
        ("chown", "/w", [1000, 1000]),
        ("chdir", "/w", [0, 0]),
    ] {
        put(&machine, memory, &[path.as_bytes(), b"\0"].concat());
        assert_eq!(machine.syscall(number_of(call), &[memory, arguments[0], arguments[1]]), 0, "{call}");
    }
    let ignored = Sigaction {
        handler: Sigaction::SIG_IGN,
        flags: SigactionFlags::empty().bits(),
        restorer: 0,
        mask: Sigset::EMPTY,
    };
    machine.set_action(Signal::SIGPIPE, &ignored);
    (machine, memory)
}

fn put(machine: &Machine, address: u64, bytes: &[u8]) {
    for (offset, byte) in bytes.iter().enumerate() {
        machine.write(address + offset as u64, byte);
    }
}

fn get(machine: &Machine, address: u64, len: usize) -> Vec<u8> {
    (0..len).map(|offset| machine.read::<u8>(address + offset as u64)).collect()
}

fn numbers(text: &str) -> Vec<i64> {
    text.split([',', ':']).filter(|part| !part.is_empty()).map(|part| part.parse().unwrap()).collect()
}

/// Puts an argument into memory, if it is a pointer, and answers its register.
fn argument(machine: &Machine, at: u64, token: &str) -> u64 {
    let (kind, rest) = token.split_at(1);
    match kind {
        "i" => return rest.parse::<i64>().unwrap().cast_unsigned(),
        "x" => return 1,
        "n" => return 0,
        "p" => put(machine, at, &[rest.as_bytes(), b"\0"].concat()),
        "d" => {
            let bytes: Vec<u8> = (0..rest.len() / 2)
                .map(|index| u8::from_str_radix(&rest[2 * index..2 * index + 2], 16).unwrap())
                .collect();
            put(machine, at, &bytes);
        }
        "O" => machine.write(at, &rest.parse::<i64>().unwrap()),
        "L" => {
            let [l_type, l_whence, l_start, l_len] = numbers(rest)[..] else { panic!("{token}") };
            let lock = Flock {
                l_type: l_type.try_into().unwrap(),
                l_whence: l_whence.try_into().unwrap(),
                l_start,
                l_len,
                ..Flock::zeroed()
            };
            machine.write(at, &lock);
        }
        "P" => {
            for (index, pair) in numbers(rest).chunks(2).enumerate() {
                let entry =
                    Pollfd { fd: pair[0].try_into().unwrap(), events: pair[1].try_into().unwrap(), revents: 0x7777 };
                machine.write(at + 8 * index as u64, &entry);
            }
        }
        "o" | "s" | "g" | "q" => {}
        _ => panic!("unknown argument {token}"),
    }
    at
}

/// What the call left in the memory of an argument, as the recorder shows it.
fn shown(machine: &Machine, at: u64, token: &str, result: i64) -> String {
    let (kind, rest) = token.split_at(1);
    let mut text = String::new();
    match kind {
        "o" => {
            text.push(' ');
            let len = usize::try_from(result).unwrap().min(rest.parse().unwrap());
            get(machine, at, len).iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        }
        "s" => {
            let s: Stat = machine.read(at);
            write!(text, " {:o},{},{},{},", s.st_mode, s.st_nlink, s.st_uid, s.st_gid).unwrap();
            if s.st_mode & 0o170_000 == 0o040_000 {
                text.push('-');
            } else {
                write!(text, "{},{}", s.st_size, s.st_blocks).unwrap();
            }
        }
        "g" => {
            let bytes = get(machine, at, result.try_into().unwrap());
            let mut entries = Vec::new();
            let mut begin = 0;
            while begin < bytes.len() {
                let record = usize::from(u16::from_le_bytes([bytes[begin + 16], bytes[begin + 17]]));
                let name = bytes[begin + 19..begin + record].split(|byte| *byte == 0).next().unwrap();
                entries.push(format!("{}:{}", str::from_utf8(name).unwrap(), bytes[begin + 18]));
                begin += record;
            }
            entries.sort();
            entries.iter().for_each(|entry| write!(text, " {entry}").unwrap());
        }
        "q" => {
            let [first, second] = machine.read::<[i32; 2]>(at);
            write!(text, " {first},{second}").unwrap();
        }
        "O" => write!(text, " {}", machine.read::<i64>(at)).unwrap(),
        "L" => {
            let l: Flock = machine.read(at);
            let pid = if l.l_pid > 0 { 1 } else { l.l_pid };
            write!(text, " {},{},{},{},{pid}", l.l_type, l.l_whence, l.l_start, l.l_len).unwrap();
        }
        "P" => {
            text.push(' ');
            for index in 0..numbers(rest).len() / 2 {
                let entry: Pollfd = machine.read(at + 8 * index as u64);
                write!(text, "{:x},", entry.revents).unwrap();
            }
        }
        _ => {}
    }
    text
}

/// Does one recorded call; the message says how the answer differs.
fn replay(machine: &mut Machine, memory: u64, line: &str) -> Result<(), String> {
    let (call, expected) = line.split_once(" = ").unwrap();
    let mut tokens = call.split(' ');
    let name = tokens.next().unwrap();
    let tokens: Vec<&str> = tokens.collect();
    let places = (0..).map(|index| memory + index * ARGUMENT_LEN);
    let registers: Vec<u64> =
        tokens.iter().zip(places.clone()).map(|(token, at)| argument(machine, at, token)).collect();
    let result = machine.syscall(number_of(name), &registers);
    let is_listing = name == "getdents64" && result >= 0;
    let mut answer = if is_listing { 0 } else { result }.to_string();
    if result >= 0 {
        for (token, at) in tokens.iter().zip(places) {
            answer.push_str(&shown(machine, at, token, result));
        }
    }
    if answer == expected { Ok(()) } else { Err(format!("{line}\n      got {answer}")) }
}

#[test]
fn does_what_linux_did() {
    let path =
        std::env::var("FILES_RECORD").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/files.txt").into());
    let record = std::fs::read_to_string(path).unwrap();
    let mut failures = Vec::new();
    for (number, case) in record.split("case\n").filter(|case| !case.is_empty()).enumerate() {
        let (mut machine, memory) = prepare();
        for (index, line) in case.lines().enumerate() {
            if let Err(message) = replay(&mut machine, memory, line) {
                failures.push(format!("case {} line {}: {message}", number + 1, index + 1));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures[..failures.len().min(40)].join("\n"));
}
