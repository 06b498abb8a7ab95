//! [`SignalFd`]: waiting signals, read from a descriptor instead of taken by handlers.
//!
//! A reader gets signals sent to itself and to its process. A file does not know who reads it: so system calls, which do, call
//! [`SignalFd::read_by`] and [`SignalFd::readiness_for`]. What the file itself answers holds for whoever looks: it never has bytes,
//! and it is ready when any thread of the process that made it would find some.

use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::signal::{SI_KERNEL, SI_TIMER, SI_USER};
use abi::{Errno, PollEvents, Siginfo, Signal, SignalfdSiginfo, Sigset};
use file::attributes::ANONYMOUS_INODE;
use file::{Attributes, File, IoResult, OpenFile, Progress};
use mm::user::UserWriter;
use sync::WaitQueue;
use sync::machine::NEVER;

use crate::process::Process;
use crate::thread::Thread;
use crate::{SyscallResult, timer, wait};

/// The signals of a set, as a file.
pub(crate) struct SignalFd {
    process: Weak<Process>,
    arrivals: Arc<WaitQueue>,
    /// The signals it is for.
    set: AtomicU64,
    attributes: Attributes,
}

impl SignalFd {
    /// For these signals of a process.
    pub(crate) fn new(process: &Arc<Process>, set: Sigset) -> Arc<Self> {
        Arc::new(Self {
            process: Arc::downgrade(process),
            arrivals: Arc::clone(&process.signal_arrivals),
            set: AtomicU64::new(set.difference(Sigset::UNBLOCKABLE).bits()),
            attributes: Attributes::anonymous(ANONYMOUS_INODE, 0o600),
        })
    }

    /// Makes it be for other signals.
    pub(crate) fn set(&self, set: Sigset) {
        self.set.store(set.difference(Sigset::UNBLOCKABLE).bits(), Relaxed);
        self.arrivals.wake(PollEvents::READABLE.bits());
    }

    fn signals(&self) -> Sigset {
        Sigset::from_bits(self.set.load(Relaxed))
    }

    /// Takes the next signal for a thread.
    fn take(&self, thread: &Thread) -> Option<Siginfo> {
        let process = thread.process();
        let wanted = self.signals();
        let others = Sigset::ALL.difference(wanted);
        if process.signals.set().union(thread.signals.pending()).intersection(wanted).is_empty() {
            return None;
        }
        let mut signals = process.signals.lock();
        let mut info = Siginfo::zeroed();
        let own = thread.signals.lock().take_next(others, &mut info);
        own.or_else(|| signals.pending.take_next(others, &mut info))?;
        drop(signals);
        timer::delivered(process, &mut info);
        Some(info)
    }

    /// Reads as a thread does, waiting when the descriptor is in blocking mode.
    pub(crate) fn read_by(&self, thread: &Thread, open: &OpenFile, to: &mut UserWriter<'_>) -> SyscallResult {
        let process = thread.process();
        let sources = [wait::Source { queue: &process.signal_arrivals, events: PollEvents::READABLE }];
        let first = match self.take(thread) {
            Some(first) => first,
            None if open.is_nonblocking() => return Err(Errno::EAGAIN.into()),
            None => wait::until(thread, &sources, NEVER, || self.take(thread))?.ok_or(Errno::EAGAIN)?,
        };
        Ok(self.write_from(thread, &first, to)?)
    }

    /// Reads what there is for a thread, without waiting.
    pub(crate) fn read_at_hand_by(&self, thread: &Thread, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        let first = self.take(thread).ok_or(Errno::EAGAIN)?;
        self.write_from(thread, &first, to)
    }

    /// Writes a signal that was taken, and as many others as there are and fit.
    fn write_from(&self, thread: &Thread, first: &Siginfo, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        to.write_struct(&describe(first))?;
        let mut count = size_of::<SignalfdSiginfo>();
        while to.remaining() >= size_of::<SignalfdSiginfo>()
            && let Some(info) = self.take(thread)
        {
            if to.write_struct(&describe(&info)).is_err() {
                break;
            }
            count += size_of::<SignalfdSiginfo>();
        }
        Ok(count)
    }

    /// Whether a thread would find something to read.
    pub(crate) fn readiness_for(&self, thread: &Thread) -> PollEvents {
        let waiting = thread.process().signals.set().union(thread.signals.pending());
        if waiting.intersection(self.signals()).is_empty() { PollEvents::empty() } else { PollEvents::IN }
    }
}

impl File for SignalFd {
    fn read(&self, _open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        if to.remaining() < size_of::<SignalfdSiginfo>() {
            return Err(Errno::EINVAL);
        }
        Ok(Progress::WouldBlock)
    }

    fn waits_its_own_way(&self) -> bool {
        true
    }

    fn readiness(&self) -> PollEvents {
        let Some(process) = self.process.upgrade() else { return PollEvents::empty() };
        let of_threads = |waiting: Sigset| {
            let signals = process.signals.lock();
            signals.threads().iter().fold(waiting, |waiting, thread| waiting.union(thread.signals.pending()))
        };
        let of_process = process.signals.set();
        let is_enough = !of_process.intersection(self.signals()).is_empty();
        let waiting = if is_enough { of_process } else { of_threads(of_process) };
        if waiting.intersection(self.signals()).is_empty() { PollEvents::empty() } else { PollEvents::IN }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.arrivals)
    }

    fn seek(&self, _open: &OpenFile, _offset: i64, _whence: u32) -> Result<u64, Errno> {
        Ok(0)
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(self.attributes)
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[signalfd]".to_vec())
    }

    fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("sigmask:\t{:016x}\n", self.signals().bits()).as_bytes());
    }
}

/// What a reader sees of a signal: which fields there are depends on where it comes from.
fn describe(info: &Siginfo) -> SignalfdSiginfo {
    let mut seen = SignalfdSiginfo {
        ssi_signo: info.si_signo.unsigned_abs(),
        ssi_errno: info.si_errno,
        ssi_code: info.si_code,
        ..SignalfdSiginfo::zeroed()
    };
    let is_of_kernel = info.si_code > SI_USER && info.si_code < SI_KERNEL;
    match info.signal() {
        Some(signal) if is_of_kernel && signal.is_synchronous() => seen.ssi_addr = info.long(0),
        Some(Signal::SIGCHLD) if is_of_kernel => {
            (seen.ssi_pid, seen.ssi_uid) = (info.word(0), info.word(1));
            seen.ssi_status = info.word(2).cast_signed();
            (seen.ssi_utime, seen.ssi_stime) = (info.long(4), info.long(6));
        }
        _ if is_of_kernel => (seen.ssi_band, seen.ssi_fd) = (info.word(0), info.word(2).cast_signed()),
        _ if info.si_code == SI_TIMER => {
            (seen.ssi_tid, seen.ssi_overrun) = (info.word(0), info.word(1));
            (seen.ssi_ptr, seen.ssi_int) = (info.long(2), info.word(2).cast_signed());
        }
        _ => {
            (seen.ssi_pid, seen.ssi_uid) = (info.word(0), info.word(1));
            if info.si_code < SI_USER {
                (seen.ssi_ptr, seen.ssi_int) = (info.long(2), info.word(2).cast_signed());
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use abi::signal::{SEGV_MAPERR, SI_TKILL};

    use super::*;

    #[test]
    fn fields_go_by_the_origin() {
        let queued = describe(&Siginfo::queued(Signal::SIGUSR1, 7, 8, 9));
        assert_eq!((queued.ssi_pid, queued.ssi_uid, queued.ssi_int, queued.ssi_ptr), (7, 8, 9, 9));
        let sent = describe(&Siginfo::sent(Signal::SIGUSR1, SI_USER, 7, 8));
        assert_eq!((sent.ssi_pid, sent.ssi_uid, sent.ssi_code), (7, 8, SI_USER));
        assert_eq!(describe(&Siginfo::sent(Signal::SIGUSR1, SI_TKILL, 7, 8)).ssi_pid, 7);
        let timer = describe(&Siginfo::timer(Signal::SIGALRM, 3, 4, 5));
        assert_eq!((timer.ssi_tid, timer.ssi_overrun, timer.ssi_int), (3, 4, 5));
        assert_eq!(describe(&Siginfo::fault(Signal::SIGSEGV, SEGV_MAPERR, 0x1000)).ssi_addr, 0x1000);
    }
}
