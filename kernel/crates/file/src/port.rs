//! [`Port`], the seam to a byte stream of the machine, and [`PortFile`], which shows one as a pipe-like file.
//!
//! The standard streams of the program are ports of the machine (virtio-serial, or the serial line). Transfers go through a
//! bounce buffer of up to [`CHUNK_LEN_MAX`] bytes, so that bulk output costs a few calls of the device for each 64 KiB; it grows
//! to what the program asks for, as most programs write little.
//!
//! Locks: [`rank::PIPE`] around each direction's buffer, held across the copy from and to program memory and the (short) call
//! of the device. What was received but could not be copied out stays in the buffer.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::stat::S_IFIFO;
use abi::{Errno, PollEvents, ioctl};
use mm::user::{UserReader, UserWriter, write_user_struct};
use sync::{Mutex, WaitQueue, rank};

use crate::{Attributes, File, IoResult, OpenFile, Progress};

/// The most bytes moved by one call of the device.
pub const CHUNK_LEN_MAX: usize = 64 * 1024;
/// The least a bounce buffer has.
const CHUNK_LEN_MIN: usize = 512;

/// A byte stream of the machine. No call blocks; events wake the queue with the bits of [`PollEvents`].
pub trait Port: Send + Sync {
    /// Takes received bytes, as many as there are and fit.
    fn receive(&self, bytes: &mut [u8]) -> usize;

    /// Whether the peer has closed and everything it sent was received.
    fn is_at_end(&self) -> bool;

    /// Gives bytes to send and answers how many were accepted, from the front.
    fn transmit(&self, bytes: &[u8]) -> usize;

    /// Whether [`Port::receive`] would give something.
    fn has_input(&self) -> bool;

    /// Whether [`Port::transmit`] would accept something.
    fn has_room(&self) -> bool;

    /// Woken on input, end, and room.
    fn wait_queue(&self) -> &WaitQueue;

    /// Bytes received and not yet taken, where the device knows.
    fn input_len(&self) -> usize {
        usize::from(self.has_input())
    }

    /// Whether nobody will ever read what is sent: writing is `EPIPE`.
    fn is_hung_up(&self) -> bool {
        false
    }
}

/// Received bytes on their way to the program: `bytes[start..end]`.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// Which way the bytes of a [`PortFile`] go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the program, as from the reading end of a pipe.
    Input,
    /// From the program, as to the writing end of a pipe.
    Output,
}

/// A port as a file: `S_IFIFO` to `fstat`, `ESPIPE` to `lseek`.
pub struct PortFile {
    port: Arc<dyn Port>,
    direction: Direction,
    input: Mutex<Input>,
    /// Whether `input` holds bytes; written under its lock.
    has_leftover: AtomicBool,
    output: Mutex<Vec<u8>>,
    attributes: Attributes,
}

/// Numbers the ports, as inode numbers apart from those of pipes.
static NEXT_INODE: AtomicU64 = AtomicU64::new(1 << 32);

impl PortFile {
    /// The file over one direction of a port.
    pub fn new(port: Arc<dyn Port>, direction: Direction) -> Arc<Self> {
        Arc::new(Self {
            port,
            direction,
            input: Mutex::new(rank::PIPE, Input::default()),
            has_leftover: AtomicBool::new(false),
            output: Mutex::new(rank::PIPE, Vec::new()),
            attributes: Attributes::anonymous(NEXT_INODE.fetch_add(1, Ordering::Relaxed), S_IFIFO | 0o600),
        })
    }

    /// The port behind it.
    pub fn port(&self) -> &Arc<dyn Port> {
        &self.port
    }
}

/// Grows a bounce buffer for a transfer of `len` bytes, and gives the part to use.
fn chunk(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    let len = len.min(CHUNK_LEN_MAX);
    if buffer.len() < len {
        buffer.resize(len.next_power_of_two().max(CHUNK_LEN_MIN), 0);
    }
    &mut buffer[..len]
}

impl File for PortFile {
    fn read(&self, _open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        if to.is_full() {
            return Ok(Progress::Done(0));
        }
        let mut input = self.input.lock();
        let input = &mut *input;
        if input.start == input.end {
            // Asked before the bytes: what came before the end is not taken for the end.
            let is_at_end = self.port.is_at_end();
            let received = self.port.receive(chunk(&mut input.bytes, to.remaining()));
            if received == 0 {
                return Ok(if is_at_end { Progress::Done(0) } else { Progress::WouldBlock });
            }
            (input.start, input.end) = (0, received);
        }
        let result = to.write(&input.bytes[input.start..input.end]);
        input.start += *result.as_ref().unwrap_or(&0);
        self.has_leftover.store(input.start < input.end, Ordering::Release);
        result.map(Progress::Done)
    }

    fn write(&self, _open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        if from.is_empty() {
            return Ok(Progress::Done(0));
        }
        if self.port.is_hung_up() {
            return Err(Errno::EPIPE);
        }
        let mut output = self.output.lock();
        let mut done = 0;
        while !from.is_empty() && self.port.has_room() {
            let chunk = chunk(&mut output, from.remaining());
            // The device may take less than was copied; the program's bytes are used up only by what it took.
            let copied = match from.clone().read(chunk) {
                Ok(copied) => copied,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            let accepted = self.port.transmit(&chunk[..copied]);
            if accepted == 0 {
                break;
            }
            from.skip(accepted);
            done += accepted;
        }
        Ok(if done == 0 { Progress::WouldBlock } else { Progress::Done(done) })
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn readiness(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        match self.direction {
            Direction::Input => {
                // Asked first: what came before the end is not taken for the end.
                if self.port.is_at_end() {
                    events |= PollEvents::HUP;
                }
                if self.has_leftover.load(Ordering::Acquire) || self.port.has_input() {
                    events |= PollEvents::READABLE;
                }
            }
            Direction::Output => {
                if self.port.has_room() {
                    events |= PollEvents::WRITABLE;
                }
                if self.port.is_hung_up() {
                    events |= PollEvents::ERR;
                }
            }
        }
        events
    }

    fn signal_queue(&self) -> Option<&WaitQueue> {
        self.wait_queue()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(self.port.wait_queue())
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(self.attributes)
    }

    fn ioctl(&self, _open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        if command != ioctl::FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let input = self.input.lock();
        let len = (input.end - input.start).saturating_add(self.port.input_len());
        drop(input);
        write_user_struct(argument, &i32::try_from(len).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn allocate(&self, _open: &OpenFile, _mode: u32, _offset: u64, _length: u64) -> Result<(), Errno> {
        Err(Errno::ESPIPE)
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(format!("pipe:[{}]", self.attributes.inode).into_bytes())
    }
}
