//! Threads that copy bytes between the caller's descriptors and the sockets of the program's ports.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};

use super::terminal::RawMode;
use crate::{Failure, Result};

const BUFFER_SIZE: usize = 64 << 10;

/// The host's ends of the ports that carry bytes.
#[derive(Debug)]
pub struct Streams {
    /// To the program's standard input; from it comes what a terminal echoes.
    pub stdin: UnixStream,
    /// From the program's standard output.
    pub stdout: UnixStream,
    /// From the program's standard error.
    pub stderr: UnixStream,
    /// From the kernel's log.
    pub log: UnixStream,
}

/// Whether output is still on its way.
#[derive(Debug, Default)]
pub struct Activity {
    chunks: AtomicU64,
    writers: AtomicUsize,
}

impl Activity {
    /// How many chunks have been written so far.
    pub fn count(&self) -> u64 {
        self.chunks.load(Ordering::Relaxed)
    }

    /// Whether nothing was written since the count was `seen`, and nothing is being written.
    pub fn is_quiet_since(&self, seen: u64) -> bool {
        self.writers.load(Ordering::Relaxed) == 0 && self.count() == seen
    }

    fn during<T>(&self, write: impl FnOnce() -> T) -> T {
        self.writers.fetch_add(1, Ordering::Relaxed);
        let result = write();
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.writers.fetch_sub(1, Ordering::Relaxed);
        result
    }
}

/// The threads that carry output.
#[derive(Debug)]
pub struct Relays {
    outputs: Vec<JoinHandle<()>>,
    /// Held until the machine is gone: closing it would be a hang-up, and those overtake what is still in the socket.
    _to_program: UnixStream,
}

impl Relays {
    /// Starts copying.
    ///
    /// # Errors
    /// When a socket cannot be duplicated.
    pub fn start(streams: Streams, raw_mode: &Arc<RawMode>, activity: &Arc<Activity>) -> Result<Self> {
        let Streams { stdin: to_program, stdout: from_program, stderr: errors, log } = streams;
        let duplicate = || to_program.try_clone().map_err(|error| Failure::new(format!("sockets: {error}")));
        if raw_mode.is_active() {
            let echo = duplicate()?;
            // The echo goes where the typing comes from, should standard output be something else.
            let activity = Arc::clone(activity);
            std::thread::spawn(move || copy_out(&echo, stdin(), None, &activity));
        }
        let input = duplicate()?;
        std::thread::spawn(move || copy_in(&input));
        let out = |stream: UnixStream, descriptor: BorrowedFd<'static>, newlines: Option<Arc<RawMode>>| {
            let activity = Arc::clone(activity);
            std::thread::spawn(move || copy_out(&stream, descriptor, newlines.as_deref(), &activity))
        };
        let outputs = vec![
            out(from_program, stdout(), None),
            out(errors, stderr(), None),
            out(log, stderr(), Some(Arc::clone(raw_mode))),
        ];
        Ok(Self { outputs, _to_program: to_program })
    }

    /// Waits until all output has been written. The other ends of the sockets must be closed.
    pub fn finish(self) {
        for thread in self.outputs {
            // A thread of ours does not panic; if it did, its output is lost and nothing can be done.
            let _ = thread.join();
        }
    }
}

/// Copies standard input to the program until its end, and then closes the port for this direction.
fn copy_in(port: &UnixStream) {
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(0) => break,
            Ok(size) => {
                let mut port = port;
                if buffer.get(..size).is_none_or(|bytes| port.write_all(bytes).is_err()) {
                    return;
                }
            }
            Err(Errno::AGAIN) => wait_for(stdin(), PollFlags::IN),
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    // Only this direction, and the socket stays until the emulator has closed its end: a hang-up would overtake what is
    // still in it.
    let _ = port.shutdown(Shutdown::Write);
    wait_for(port, PollFlags::empty());
}

/// Copies what comes from a port to a descriptor. When nobody reads there any more, the port closes.
fn copy_out(mut port: &UnixStream, descriptor: BorrowedFd<'_>, newlines: Option<&RawMode>, activity: &Activity) {
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let size = match port.read(&mut buffer) {
            Ok(0) => return,
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let bytes = buffer.get(..size).unwrap_or_default();
        let written = activity.during(|| match newlines {
            Some(raw_mode) if raw_mode.is_active() => write_all(descriptor, &with_returns(bytes)),
            _ => write_all(descriptor, bytes),
        });
        if written.is_err() {
            let _ = port.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// A terminal in raw mode needs a carriage return before every newline.
fn with_returns(bytes: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(bytes.len() + 16);
    let mut previous = 0;
    for &byte in bytes {
        if byte == b'\n' && previous != b'\r' {
            result.push(b'\r');
        }
        result.push(byte);
        previous = byte;
    }
    result
}

fn write_all(descriptor: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(descriptor, bytes) {
            Ok(size) => bytes = bytes.get(size..).unwrap_or_default(),
            // Somebody else may have made the descriptor non-blocking.
            Err(Errno::AGAIN) => wait_for(descriptor, PollFlags::OUT),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_for(descriptor: impl AsFd, events: PollFlags) {
    // Whatever the answer, the operation that follows tells more.
    let _ = poll(&mut [PollFd::new(&descriptor, events)], None);
}

/// Collects what a child process writes to a pipe, up to a limit.
pub(super) fn collect(mut pipe: impl Read + Send + 'static, limit: u64) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.by_ref().take(limit).read_to_end(&mut bytes);
        let _ = io::copy(&mut pipe, &mut io::sink());
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_are_added_once() {
        assert_eq!(with_returns(b"a\nb\r\n\n"), b"a\r\nb\r\n\r\n");
        assert_eq!(with_returns(b""), b"");
    }

    #[test]
    fn output_ends_when_the_port_closes_and_the_port_when_the_reader_goes() {
        let (near, far) = UnixStream::pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let copier = std::thread::spawn(move || copy_out(&near, writer.as_fd(), None, &Activity::default()));
        (&far).write_all(b"some output").unwrap();
        let mut received = [0; 11];
        (&reader).read_exact(&mut received).unwrap();
        assert_eq!(&received, b"some output");
        drop(reader);
        (&far).write_all(b"more").unwrap();
        assert_eq!((&far).read(&mut [0]).unwrap(), 0, "the port is closed");
        copier.join().unwrap();
    }

    #[test]
    fn activity_is_seen() {
        let activity = Activity::default();
        let seen = activity.count();
        assert!(activity.is_quiet_since(seen));
        activity.during(|| assert!(!activity.is_quiet_since(seen)));
        assert!(!activity.is_quiet_since(seen) && activity.is_quiet_since(seen + 1));
    }
}
