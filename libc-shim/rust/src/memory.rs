//! Being told that memory is short, to give back what a program can do without: a cache, a pool, a log that may be cut.
//!
//! The kernel signals a descriptor, and a thread of the program waits for it. So what gives memory back is an ordinary
//! function, which takes locks and frees as it likes. On Linux it is pressure-stall information that tells, where a
//! kernel has that.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//!
//! use nacre::memory::{Level, on_shortage};
//!
//! let cache: Arc<Mutex<Vec<Box<[u8]>>>> = Arc::default();
//! let shrunk = Arc::clone(&cache);
//! let started = on_shortage(Level::Low, move |shortage| {
//!     let mut wanted = shortage.wanted_bytes.max(1);
//!     let mut cache = shrunk.lock().unwrap();
//!     while wanted > 0 && let Some(entry) = cache.pop() {
//!         wanted = wanted.saturating_sub(entry.len() as u64);
//!     }
//! });
//! if let Err(error) = started {
//!     println!("nobody will tell: {error}");
//! }
//! cache.lock().unwrap().push(Box::new([0; 4096]));
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};

use crate::wait::{POLLPRI, Thing, wait_many};
use crate::{checked, number, system_call};

const O_CLOEXEC: usize = 0o2_000_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Memory gets short.
    Low = 1,
    /// Programs are about to be refused memory, or ended.
    Critical = 2,
}

/// What is known of a shortage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// How bad it is.
    pub level: Level,
    /// So much given back would end it; 0 where nobody knows.
    pub wanted_bytes: u64,
}

/// A descriptor that tells of shortages: [`POLLPRI`] of [`wait_many`], `poll` and `epoll`.
#[derive(Debug)]
pub struct Events {
    file: File,
    is_native: bool,
}

impl Events {
    /// Tells of shortages of this level and worse.
    pub fn new(level: Level) -> io::Result<Self> {
        // SAFETY: the call touches no memory.
        match checked(unsafe { system_call(number::MEMORY_EVENTS, [level as usize, O_CLOEXEC, 0, 0, 0, 0]) }) {
            Ok(fd) => {
                let fd = i32::try_from(fd).map_err(io::Error::other)?;
                // SAFETY: the descriptor is new and nobody else's.
                Ok(Self { file: unsafe { File::from_raw_fd(fd) }, is_native: true })
            }
            Err(error) if crate::is_absent(&error) => Self::by_pressure(level),
            Err(error) => Err(error),
        }
    }

    fn by_pressure(level: Level) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open("/proc/pressure/memory")?;
        // A tenth of a second lost in a second, by somebody or by all.
        let trigger: &[u8] = if level == Level::Low { b"some 100000 1000000\0" } else { b"full 100000 1000000\0" };
        file.write_all(trigger)?;
        Ok(Self { file, is_native: false })
    }

    /// Waits for a shortage. A further one is told of when memory is asked for meanwhile.
    pub fn wait(&self) -> io::Result<Shortage> {
        if !self.is_native {
            wait_many(&mut [Thing::descriptor(self, POLLPRI)], None)?;
            return Ok(Shortage { level: Level::Low, wanted_bytes: 0 });
        }
        let mut event = [0; 16];
        (&self.file).read_exact(&mut event)?;
        let (level, wanted) = event.split_at(8);
        let level = if level.first() == Some(&(Level::Critical as u8)) { Level::Critical } else { Level::Low };
        Ok(Shortage { level, wanted_bytes: u64::from_ne_bytes(wanted.try_into().unwrap_or_default()) })
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Starts a thread that calls `shrink` with each shortage, for as long as the program runs.
pub fn on_shortage(level: Level, mut shrink: impl FnMut(Shortage) + Send + 'static) -> io::Result<()> {
    let events = Events::new(level)?;
    let run = move || {
        loop {
            match events.wait() {
                Ok(shortage) => shrink(shortage),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    };
    std::thread::Builder::new().name("shrinker".to_owned()).spawn(run).map(drop)
}
