//! [`TimerFd`]: a timer behind a descriptor, readable when it has expired.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::time::{TFD_IOC_SET_TICKS, TFD_TIMER_CANCEL_ON_SET};
use abi::{Errno, PollEvents};
use file::attributes::ANONYMOUS_INODE;
use file::{Attributes, File, IoResult, OpenFile, Progress};
use mm::user::{UserReader, UserWriter, read_user_struct};
use sync::WaitQueue;

use crate::system::System;
use crate::timer::{Event, Expiry, Setting, Timer, TimerClock};

/// Bytes of a read: how often it expired.
const COUNT_LEN: usize = 8;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// A timer behind a descriptor.
pub(crate) struct TimerFd {
    timer: Arc<Timer>,
    /// `CLOCK_*`.
    clock: i32,
    /// Those of the last setting.
    flags: AtomicU32,
    attributes: Attributes,
}

impl TimerFd {
    /// A timer that is not set. All clocks it goes by are those of [`sync::machine::now_ns`], or a fixed step away.
    pub(crate) fn new(system: &Arc<System>, clock: i32) -> Result<Arc<Self>, Errno> {
        let timer = Timer::new(system, TimerClock::Monotonic, Event::Readable(WaitQueue::new()))?;
        let attributes = Attributes::anonymous(ANONYMOUS_INODE, 0o600);
        Ok(Arc::new(Self { timer, clock, flags: AtomicU32::new(0), attributes }))
    }

    /// The clock the program chose.
    pub(crate) fn clock(&self) -> i32 {
        self.clock
    }

    /// Sets the timer; see [`Timer::set`].
    pub(crate) fn set(&self, expiry: Option<Expiry>, interval_ns: u64, flags: u32) -> Setting {
        self.flags.store(flags, Relaxed);
        self.timer.set_cancellable(expiry, interval_ns, flags & TFD_TIMER_CANCEL_ON_SET != 0)
    }

    /// What is left.
    pub(crate) fn get(&self) -> Setting {
        self.timer.get()
    }
}

impl File for TimerFd {
    fn read(&self, _open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        if to.remaining() < COUNT_LEN {
            return Err(Errno::EINVAL);
        }
        match self.timer.take_ticks()? {
            0 => Ok(Progress::WouldBlock),
            ticks => {
                to.write_all(&ticks.to_ne_bytes())?;
                Ok(Progress::Done(COUNT_LEN))
            }
        }
    }

    fn write(&self, _open: &OpenFile, _from: &mut UserReader<'_>, _position: Option<u64>) -> IoResult {
        Err(Errno::EINVAL)
    }

    fn readiness(&self) -> PollEvents {
        // As on Linux, the urgent and writable events are never there.
        if self.timer.has_ticks() { PollEvents::IN } else { PollEvents::empty() }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        self.timer.readers()
    }

    fn seek(&self, _open: &OpenFile, _offset: i64, _whence: u32) -> Result<u64, Errno> {
        Ok(0)
    }

    fn ioctl(&self, _open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        if command != TFD_IOC_SET_TICKS {
            return Err(Errno::ENOTTY);
        }
        match read_user_struct(argument)? {
            0 => Err(Errno::EINVAL),
            ticks => {
                self.timer.set_ticks(ticks);
                Ok(0)
            }
        }
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(self.attributes)
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[timerfd]".to_vec())
    }

    fn describe(&self, out: &mut Vec<u8>) {
        let ticks = self.timer.ticks();
        let setting = self.timer.get();
        let parts = |time_ns: u64| format!("({}, {})", time_ns / NS_PER_SECOND, time_ns % NS_PER_SECOND);
        let text = format!(
            "clockid: {}\nticks: {ticks}\nsettime flags: 0{:o}\nit_value: {}\nit_interval: {}\n",
            self.clock,
            self.flags.load(Relaxed),
            parts(setting.value_ns),
            parts(setting.interval_ns),
        );
        out.extend_from_slice(text.as_bytes());
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        // The service forgets the timer too.
        self.timer.set(None, 0);
    }
}
