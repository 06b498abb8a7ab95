//! The kernel's log as programs read it: `/dev/kmsg` and `syslog`.
//!
//! Whoever logs calls [`add`], from wherever; readers are woken by [`notify`], which the machine calls where no lock is
//! held. The log keeps [`RING_LEN`] bytes ([`ring`]) of what is at least [`level::INFO`], and more if the console shows
//! more; what a program writes to `/dev/kmsg` is added to it, and goes nowhere else.
//!
//! Lock: `CONSOLE` around the ring, for as long as it takes to copy one record.

mod device;
mod ring;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::{Errno, PollEvents};
use sync::{IrqSpinLock, WaitQueue, machine, rank};
use vfs::FileKind;

use ring::{Head, Ring, TEXT_LEN_MAX};

pub(crate) use ring::RING_LEN;

/// Levels of records, as Linux numbers them.
pub mod level {
    /// Something went wrong.
    pub const ERROR: u8 = 3;
    /// Something may go wrong.
    pub const WARNING: u8 = 4;
    /// Something happened.
    pub const INFO: u8 = 6;
    /// Something for who looks for a fault.
    pub const DEBUG: u8 = 7;
}

static RING: IrqSpinLock<Ring> = IrqSpinLock::new(rank::CONSOLE, Ring::new());
static READERS: WaitQueue = WaitQueue::new();
static HAS_NEWS: AtomicBool = AtomicBool::new(false);
/// Older records were cleared away, for `syslog`.
static CLEARED_BEFORE: AtomicU64 = AtomicU64::new(0);

/// Adds a record. Callable from wherever the console is not in use.
pub fn add(priority: u8, text: fmt::Arguments<'_>) {
    let now_ns = machine::now_ns();
    RING.lock().add(priority, now_ns, text);
    HAS_NEWS.store(true, Ordering::Release);
}

/// Wakes who waits for records, if there are new ones. Called with no spinlock held.
pub fn notify() {
    if HAS_NEWS.load(Ordering::Relaxed) && HAS_NEWS.swap(false, Ordering::Acquire) {
        READERS.wake(PollEvents::READABLE.bits());
    }
}

/// Lets programs open `/dev/kmsg`.
pub fn register() -> Result<(), Errno> {
    let opener = Arc::new(|_: &_, _| Ok(device::open()));
    vfs::device::register(FileKind::CharacterDevice, vfs::fs::dev::KERNEL_LOG, opener)
}

/// The oldest record from `number` on, with its text.
fn get(number: u64) -> Option<(Head, Vec<u8>)> {
    let mut text = alloc::vec![0; TEXT_LEN_MAX];
    let head = RING.lock().get(number, &mut text)?;
    text.truncate(head.len);
    Some((head, text))
}

/// The last records whose lines have at most `len_max` bytes together, the oldest first. With `clear`, the next caller
/// gets those that come later.
pub(crate) fn last_lines(len_max: usize, clear: bool) -> Vec<u8> {
    let (_, end) = RING.lock().numbers();
    let mut number = CLEARED_BEFORE.load(Ordering::Relaxed);
    let mut lines = Vec::new();
    let mut starts = Vec::new();
    while let Some((head, text)) = get(number).filter(|(head, _)| head.number < end) {
        starts.push(lines.len());
        let (seconds, micros) = (head.time_ns / 1_000_000_000, head.time_ns / 1000 % 1_000_000);
        let prefix = alloc::format!("<{}>[{seconds:5}.{micros:06}] ", head.priority);
        lines.extend_from_slice(prefix.as_bytes());
        lines.extend_from_slice(&text);
        lines.push(b'\n');
        number = head.number + 1;
    }
    if clear {
        CLEARED_BEFORE.fetch_max(end, Ordering::Relaxed);
    }
    let surplus = lines.len().saturating_sub(len_max);
    let start = starts.into_iter().find(|start| *start >= surplus).unwrap_or(lines.len());
    lines.split_off(start)
}
