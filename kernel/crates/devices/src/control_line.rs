//! The lines on the control port: from the host `signal N` and `winsize ROWS COLUMNS`, to the host how it all ended.
//!
//! [`Lines`] gathers bytes into lines as they come; a line longer than [`LINE_LEN_BYTES_MAX`] is dropped whole, and so is
//! one that is not understood.

use core::fmt;

/// Bytes of the longest line from the host.
pub const LINE_LEN_BYTES_MAX: usize = 64;

/// What the host asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The program is to get this signal.
    Signal(u8),
    /// The terminal has this size now.
    WindowSize {
        /// Lines.
        rows: u16,
        /// Characters a line.
        columns: u16,
    },
}

impl Request {
    /// Parses one line without its end.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let request = match words.next()? {
            b"signal" => {
                Self::Signal(number(words.next()?)?.try_into().ok().filter(|signal| (1..=64).contains(signal))?)
            }
            b"winsize" => Self::WindowSize { rows: number(words.next()?)?, columns: number(words.next()?)? },
            _ => return None,
        };
        words.next().is_none().then_some(request)
    }
}

/// What the kernel tells the host; written as one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report<'a> {
    /// The program ended with this status (128 + signal if a signal killed it).
    Exit(u8),
    /// The program died of this signal.
    Signal(u8),
    /// The kernel panicked.
    Panic,
    /// The program could not be started.
    Error(&'a str),
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => writeln!(formatter, "exit {status}"),
            Self::Signal(signal) => writeln!(formatter, "signal {signal}"),
            Self::Panic => writeln!(formatter, "panic"),
            Self::Error(message) => writeln!(formatter, "error {message}"),
        }
    }
}

/// Bytes on their way to becoming lines.
pub struct Lines {
    line: [u8; LINE_LEN_BYTES_MAX],
    len: usize,
    is_too_long: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Lines {
    /// No bytes yet.
    pub const fn new() -> Self {
        Self { line: [0; LINE_LEN_BYTES_MAX], len: 0, is_too_long: false }
    }

    /// Takes one byte; the request that it completes, if any.
    pub fn push(&mut self, byte: u8) -> Option<Request> {
        if byte != b'\n' {
            match self.line.get_mut(self.len) {
                Some(slot) => (*slot, self.len) = (byte, self.len + 1),
                None => self.is_too_long = true,
            }
            return None;
        }
        let line = self.line.get(..self.len).filter(|_| !self.is_too_long);
        let request = line.and_then(Request::parse);
        (self.len, self.is_too_long) = (0, false);
        request
    }
}

fn number(word: &[u8]) -> Option<u16> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u16, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u16::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(bytes: &[u8]) -> Vec<Request> {
        let mut lines = Lines::new();
        bytes.iter().filter_map(|byte| lines.push(*byte)).collect()
    }

    #[test]
    fn lines_become_requests() {
        assert_eq!(
            requests(b"signal 15\nwinsize 24 80\n\nsignal 2\nsignal"),
            [Request::Signal(15), Request::WindowSize { rows: 24, columns: 80 }, Request::Signal(2)]
        );
    }

    #[test]
    fn nonsense_is_dropped() {
        let long = [&[b'x'; 100][..], b"\nsignal 1\n"].concat();
        assert_eq!(requests(&long), [Request::Signal(1)]);
        assert_eq!(requests(b"signal 0\nsignal 65\nsignal 99999\nsignal x\nsignal\nwinsize 1\nsignal 1 2\nquit\n"), []);
    }

    #[test]
    fn reports_are_lines() {
        assert_eq!(Report::Exit(255).to_string(), "exit 255\n");
        assert_eq!(Report::Signal(11).to_string(), "signal 11\n");
        assert_eq!(Report::Panic.to_string(), "panic\n");
        assert_eq!(Report::Error("no memory").to_string(), "error no memory\n");
    }
}
