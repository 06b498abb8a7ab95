//! The records that the kernel writes to the control port, one a line.

use std::io::{BufRead, BufReader, Read};

/// A longer line is no record.
const LINE_SIZE_MAX: u64 = 4096;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It left with this status.
    Exited(u8),
    /// This signal killed it.
    Signalled(u8),
    /// The kernel failed.
    Panicked,
    /// The kernel could not start it, and has said why.
    Error,
}

/// What the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The program has ended.
    Ended(Outcome),
    /// A message for the user.
    Error(String),
}

impl Record {
    /// Reads a line without its end. Anything but a record is `None`.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(line);
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match word {
            "exit" => rest.parse().ok().map(|status| Self::Ended(Outcome::Exited(status))),
            "signal" => rest.parse().ok().map(|signal| Self::Ended(Outcome::Signalled(signal))),
            "panic" if rest.is_empty() => Some(Self::Ended(Outcome::Panicked)),
            "error" => Some(Self::Error(rest.chars().filter(|letter| !letter.is_control()).collect())),
            _ => None,
        }
    }
}

/// Reads records until the port closes or `found` says that it has seen enough.
pub fn read_records(port: impl Read, mut found: impl FnMut(Record) -> bool) {
    let mut port = BufReader::new(port);
    let mut line = Vec::new();
    loop {
        line.clear();
        match port.by_ref().take(LINE_SIZE_MAX).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            _ => return,
        }
        // A line that was cut short is no record: the machine stopped in the middle of it.
        let record = line.strip_suffix(b"\n").and_then(Record::parse);
        if record.is_some_and(|record| !found(record)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(bytes: &[u8]) -> Vec<Record> {
        let mut all = Vec::new();
        read_records(bytes, |record| {
            all.push(record);
            true
        });
        all
    }

    #[test]
    fn records_are_read() {
        let ended = Record::Ended;
        assert_eq!(records(b"exit 0\n"), [ended(Outcome::Exited(0))]);
        assert_eq!(records(b"exit 255\nsignal 11\n"), [ended(Outcome::Exited(255)), ended(Outcome::Signalled(11))]);
        assert_eq!(records(b"panic\n"), [ended(Outcome::Panicked)]);
        assert_eq!(records(b"error no memory\x1b[2J\n"), [Record::Error("no memory[2J".to_owned())]);
    }

    #[test]
    fn other_lines_are_no_records() {
        for line in ["exit 256\n", "exit -1\n", "exit\n", "exit 1", "exits 1\n", "panic now\n", "\n", "\u{0}\n", ""] {
            assert_eq!(records(line.as_bytes()), [], "{line:?}");
        }
        let long = [vec![b'x'; 10_000], b"\nexit 3\n".to_vec()].concat();
        assert_eq!(records(&long), [Record::Ended(Outcome::Exited(3))]);
    }
}
