//! `/dev/kmsg`: one record a read, as `priority,number,microseconds,-;text`.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::stat::S_IFCHR;
use abi::{Errno, PollEvents, open};
use file::{Attributes, File, IoResult, OpenFile, Progress};
use mm::user::{UserReader, UserWriter};
use sync::WaitQueue;

use super::ring::TEXT_LEN_MAX;
use super::{CLEARED_BEFORE, READERS, RING, level};

/// The facility of what programs write, times 8; that of the kernel is 0.
const FACILITY_USER: u8 = 1 << 3;
/// Bits of a priority that are the level.
const LEVEL_BITS: u8 = 7;
/// The longest write (Linux's `PRINTKRB_RECORD_MAX`).
const WRITE_LEN_MAX: usize = 1024;

/// The log as it is opened once.
struct LogFile {
    /// The number of the record that is read next.
    next: AtomicU64,
}

/// Opens the log at its oldest record.
pub(super) fn open() -> Arc<dyn File> {
    Arc::new(LogFile { next: AtomicU64::new(RING.lock().numbers().0) })
}

impl File for LogFile {
    fn read(&self, _open: &OpenFile, to: &mut UserWriter<'_>, _position: Option<u64>) -> IoResult {
        let number = self.next.load(Relaxed);
        let Some((head, text)) = super::get(number) else { return Ok(Progress::WouldBlock) };
        if head.number != number {
            // What was to be read is gone.
            self.next.store(head.number, Relaxed);
            return Err(Errno::EPIPE);
        }
        let mut line = format!("{},{},{},-;", head.priority, head.number, head.time_ns / 1000).into_bytes();
        escape(&text, &mut line);
        line.push(b'\n');
        if line.len() > to.remaining() {
            return Err(Errno::EINVAL);
        }
        to.write_all(&line)?;
        self.next.store(number + 1, Relaxed);
        Ok(Progress::Done(line.len()))
    }

    fn write(&self, _open: &OpenFile, from: &mut UserReader<'_>, _position: Option<u64>) -> IoResult {
        let len = from.remaining();
        if len > WRITE_LEN_MAX {
            return Err(Errno::EINVAL);
        }
        let mut bytes = alloc::vec![0; len];
        from.read_exact(&mut bytes)?;
        let (priority, text) = split_priority(&bytes);
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = alloc::string::String::from_utf8_lossy(text.get(..TEXT_LEN_MAX).unwrap_or(text));
        super::add(priority, format_args!("{text}"));
        super::notify();
        Ok(Progress::Done(len))
    }

    fn seek(&self, _open: &OpenFile, offset: i64, whence: u32) -> Result<u64, Errno> {
        if offset != 0 {
            return Err(Errno::ESPIPE);
        }
        let (first, end) = RING.lock().numbers();
        let next = match whence {
            open::SEEK_SET => first,
            open::SEEK_END => end,
            // Behind what was cleared away.
            open::SEEK_DATA => CLEARED_BEFORE.load(Relaxed).max(first),
            _ => return Err(Errno::EINVAL),
        };
        self.next.store(next, Relaxed);
        Ok(0)
    }

    fn has_positions(&self) -> bool {
        true
    }

    fn readiness(&self) -> PollEvents {
        let (first, end) = RING.lock().numbers();
        let next = self.next.load(Relaxed);
        let mut events = PollEvents::WRITABLE;
        if next < end {
            events |= PollEvents::READABLE;
        }
        if next < first {
            events |= PollEvents::ERR | PollEvents::PRI;
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&READERS)
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(Attributes::anonymous(0, S_IFCHR | 0o644))
    }
}

/// The priority before a text, `<N>`, and the text. The kernel's own facility is nobody else's.
fn split_priority(bytes: &[u8]) -> (u8, &[u8]) {
    let default = (FACILITY_USER | level::WARNING, bytes);
    let Some(rest) = bytes.strip_prefix(b"<") else { return default };
    let Some(end) = rest.iter().position(|byte| *byte == b'>') else { return default };
    let number = core::str::from_utf8(&rest[..end]).ok().and_then(|digits| digits.parse::<u8>().ok());
    let Some(number) = number else { return default };
    let facility = if number > LEVEL_BITS { number & !LEVEL_BITS } else { FACILITY_USER };
    (facility | number & LEVEL_BITS, &rest[end + 1..])
}

/// Appends a text: what cannot be printed, and backslashes, as `\xNN`.
fn escape(text: &[u8], line: &mut Vec<u8>) {
    for byte in text {
        if matches!(byte, b' '..=b'~') && *byte != b'\\' {
            line.push(*byte);
        } else {
            line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_taken_from_the_text() {
        assert_eq!(split_priority(b"text"), (12, &b"text"[..]));
        assert_eq!(split_priority(b"<3>text"), (11, &b"text"[..]));
        assert_eq!(split_priority(b"<30>text"), (30, &b"text"[..]));
        for not_one in [&b"<x>text"[..], b"<3", b"<>", b"<999>x"] {
            assert_eq!(split_priority(not_one), (12, not_one));
        }
    }

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        let mut line = Vec::new();
        escape(b"a\\b\nc", &mut line);
        assert_eq!(line, b"a\\x5cb\\x0ac");
    }
}
