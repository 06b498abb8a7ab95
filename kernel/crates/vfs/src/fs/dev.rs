//! `/dev`: a [`Tmpfs`] with device nodes, and the devices that are nothing but memory.
//!
//! The consoles have nodes here; who drives them registers with [`crate::device`]. `fd`, `stdin`, `stdout` and `stderr` are links
//! into `/proc`, as everywhere on Linux.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use abi::stat::make_device;
use file::{Attributes, CallFlags, File, IoResult, OpenFile, Progress};
use mm::Frame;
use mm::object::{MappedObject, Mappings};
use mm::user::{UserReader, UserWriter};
use sync::{Mutex, machine, rank};

use crate::{FileKind, device};

use super::tmpfs::{Tmpfs, TmpfsOptions};

/// Random bytes made at once.
const RANDOM_CHUNK_LEN: usize = 256;
/// `RNDGETENTCNT`: how many bits of entropy there are.
const GET_ENTROPY_COUNT: u32 = 0x8004_5200;
/// The answer: as much as Linux's generator ever has.
const ENTROPY_BITS: i32 = 256;

/// Major numbers.
const MEMORY_MAJOR: u32 = 1;
const TTY_MAJOR: u32 = 5;
const MISC_MAJOR: u32 = 10;

/// `/dev/console`, for [`crate::device::register`].
pub const CONSOLE: u64 = make_device(TTY_MAJOR, 1);
/// `/dev/tty`: the controlling terminal of who asks.
pub const TTY: u64 = make_device(TTY_MAJOR, 0);

/// `/dev/kmsg`: the kernel's log.
pub const KERNEL_LOG: u64 = make_device(MEMORY_MAJOR, 11);

/// `/dev/vsock`: the CID of this machine. Linux gives it a number when it starts, from these on.
pub const VSOCK: u64 = make_device(MISC_MAJOR, 256);

/// A `/dev` with its nodes, directories to mount on (`shm`, `pts`) and links.
pub fn new() -> Result<Arc<Tmpfs>, Errno> {
    let options = TmpfsOptions { type_name: "devtmpfs", mode: 0o755, ..TmpfsOptions::default() };
    let dev = Tmpfs::new(options);
    for (name, kind, minor) in MEMORY_DEVICES {
        let number = make_device(MEMORY_MAJOR, minor);
        dev.populate(name, FileKind::CharacterDevice.mode_bits() | 0o666, number, b"")?;
        let file = Arc::new(MemoryDevice { kind });
        device::register(FileKind::CharacterDevice, number, Arc::new(move |_, _| Ok(file.clone() as Arc<dyn File>)))?;
    }
    dev.populate(b"console", FileKind::CharacterDevice.mode_bits() | 0o600, CONSOLE, b"")?;
    dev.populate(b"tty", FileKind::CharacterDevice.mode_bits() | 0o666, TTY, b"")?;
    dev.populate(b"kmsg", FileKind::CharacterDevice.mode_bits() | 0o644, KERNEL_LOG, b"")?;
    dev.populate(b"vsock", FileKind::CharacterDevice.mode_bits() | 0o600, VSOCK, b"")?;
    for (name, mode) in [(b"shm", 0o1777), (b"pts", 0o755)] {
        dev.populate(name, FileKind::Directory.mode_bits() | mode, 0, b"")?;
    }
    for (name, target) in LINKS {
        dev.populate(name, FileKind::Symlink.mode_bits() | 0o777, 0, target)?;
    }
    Ok(dev)
}

const LINKS: [(&[u8], &[u8]); 4] = [
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
];

const MEMORY_DEVICES: [(&[u8], MemoryKind, u32); 5] = [
    (b"null", MemoryKind::Null, 3),
    (b"zero", MemoryKind::Zero, 5),
    (b"full", MemoryKind::Full, 7),
    (b"random", MemoryKind::Random, 8),
    (b"urandom", MemoryKind::Random, 9),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum MemoryKind {
    Null,
    Zero,
    Full,
    Random,
}

/// A device that needs no hardware.
struct MemoryDevice {
    kind: MemoryKind,
}

impl File for MemoryDevice {
    fn read(&self, _open: &OpenFile, to: &mut UserWriter<'_>, _position: Option<u64>) -> IoResult {
        let done = match self.kind {
            MemoryKind::Null => 0,
            MemoryKind::Zero | MemoryKind::Full => to.fill_zero(to.remaining())?,
            MemoryKind::Random => read_random(to)?,
        };
        Ok(Progress::Done(done))
    }

    fn write(&self, _open: &OpenFile, from: &mut UserReader<'_>, _position: Option<u64>) -> IoResult {
        match self.kind {
            MemoryKind::Full => Err(Errno::ENOSPC),
            // What is written to the generator could only add to its state; it needs nothing.
            MemoryKind::Null | MemoryKind::Zero | MemoryKind::Random => Ok(Progress::Done(from.skip(from.remaining()))),
        }
    }

    fn call_flags(&self, _open: &OpenFile, writes: bool) -> CallFlags {
        match self.kind {
            MemoryKind::Full if writes => CallFlags::None,
            MemoryKind::Full => CallFlags::Waiting,
            MemoryKind::Null | MemoryKind::Zero | MemoryKind::Random => CallFlags::All,
        }
    }

    fn seek(&self, _open: &OpenFile, _offset: i64, _whence: u32) -> Result<u64, Errno> {
        Ok(0)
    }

    fn has_positions(&self) -> bool {
        true
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(Attributes::anonymous(0, FileKind::CharacterDevice.mode_bits() | 0o666))
    }

    fn ioctl(&self, _open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        match (self.kind, command) {
            (MemoryKind::Random, GET_ENTROPY_COUNT) => {
                mm::user::write_user_struct(argument, &ENTROPY_BITS)?;
                Ok(0)
            }
            (MemoryKind::Random, _) => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn mapping(&self, _open: &Arc<OpenFile>) -> Result<Arc<dyn MappedObject>, Errno> {
        match self.kind {
            MemoryKind::Zero => Ok(Arc::new(ZeroMemory::new())),
            _ => Err(Errno::ENODEV),
        }
    }
}

#[inline(never)]
fn read_random(to: &mut UserWriter<'_>) -> Result<usize, Errno> {
    let mut chunk = [0; RANDOM_CHUNK_LEN];
    let mut done = 0;
    while !to.is_full() {
        let part = RANDOM_CHUNK_LEN.min(to.remaining());
        machine::fill_entropy(&mut chunk[..part]);
        match to.write(&chunk[..part]) {
            Ok(copied) => done += copied,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

/// What one `mmap` of `/dev/zero` maps: zeros, and frames where a shared mapping has written.
struct ZeroMemory {
    frames: Mutex<BTreeMap<u64, Frame>>,
    mappings: Mappings,
    identity: (u64, u64),
}

impl ZeroMemory {
    fn new() -> Self {
        let frames = Mutex::new(rank::FILE_PAGES, BTreeMap::new());
        Self { frames, mappings: Mappings::new(), identity: mm::object::new_identity() }
    }
}

impl MappedObject for ZeroMemory {
    fn page(&self, index: u64) -> Result<Frame, Errno> {
        Ok(self.frames.lock().get(&index).cloned().unwrap_or_else(Frame::zero_page))
    }

    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        let frame = {
            let mut frames = self.frames.lock();
            if let Some(frame) = frames.get(&index) {
                return Ok(frame.clone());
            }
            let frame = Frame::allocate_zeroed()?;
            frames.insert(index, frame.clone());
            frame
        };
        // Other mappings may show the zero page there.
        self.mappings.invalidate(index, index + 1);
        Ok(frame)
    }

    fn mappings(&self) -> Option<&Mappings> {
        Some(&self.mappings)
    }

    fn name(&self) -> Vec<u8> {
        b"/dev/zero".to_vec()
    }

    fn device_and_inode(&self) -> (u64, u64) {
        (make_device(0, MEMORY_MAJOR), u64::from(MEMORY_MAJOR))
    }

    fn identity(&self) -> (u64, u64) {
        self.identity
    }
}
