//! What threads and processes have used: CPU time, page faults, switches.
//!
//! # CPU time
//!
//! The machine knows to the nanosecond how long a thread has been on a CPU ([`Platform::runtime_ns`]). How much of that was its
//! program and how much the kernel on its behalf is found by looking: the machine calls [`Thread::tick`] from its timer, and all
//! time since the last look counts as what is found then. So the division is right in the long run, however far apart the looks
//! are. As on Linux (`cputime_adjust`), figures are the exact time divided in the proportion found, and neither of the
//! two parts ever goes back. A thread that was never looked at spent its time in its program.
//!
//! # Processes
//!
//! A process has used what its threads have, and those that have ended ([`ProcessAccounting::absorb`]). A thread goes from one sum to the other
//! under the lock of the process's signals, under which both are added up: no figure is missed, none counted twice.
//!
//! [`Platform::runtime_ns`]: crate::Platform::runtime_ns

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mm::{FaultError, FaultKind};
use sync::{IrqSpinLock, machine, rank};

use crate::process::Process;
use crate::thread::Thread;

/// What a thread has used so far.
#[derive(Debug)]
pub struct Accounting {
    started_ns: u64,
    /// The CPU time found to be the program's, and the kernel's.
    program_ns: AtomicU64,
    kernel_ns: AtomicU64,
    reported: IrqSpinLock<CpuTime>,
    /// All CPU time of a thread that has ended; [`RUNNING`] before.
    ended_ns: AtomicU64,
    minor_faults: AtomicU64,
    major_faults: AtomicU64,
    voluntary_switches: AtomicU64,
    involuntary_switches: AtomicU64,
    transfers: Transfers,
}

/// Calls that moved bytes, as a thread counts its own: nobody else writes.
#[derive(Debug)]
struct Transfers {
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

/// Adds to a counter that only the calling thread changes: no locked instruction is needed.
#[inline]
fn add_own(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

/// No CPU time: the thread has not ended.
const RUNNING: u64 = u64::MAX;

/// CPU time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In the program.
    pub user_ns: u64,
    /// In the kernel on its behalf.
    pub system_ns: u64,
}

/// The figures of a thread, or the sums over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All CPU time.
    pub runtime_ns: u64,
    /// The part found to be the program's, and the kernel's; together no more than the whole, which is exact.
    program_ns: u64,
    kernel_ns: u64,
    /// Page faults served without I/O.
    pub minor_faults: u64,
    /// Page faults for which something was read.
    pub major_faults: u64,
    /// Times a CPU was given up by waiting.
    pub voluntary_switches: u64,
    /// Times a CPU was taken.
    pub involuntary_switches: u64,
    /// Bytes that calls have read, and written.
    pub read_bytes: u64,
    /// See above.
    pub written_bytes: u64,
    /// Calls that read, and that wrote.
    pub reads: u64,
    /// See above.
    pub writes: u64,
}

impl Usage {
    fn add(&mut self, other: &Self) {
        for (sum, value) in [
            (&mut self.runtime_ns, other.runtime_ns),
            (&mut self.program_ns, other.program_ns),
            (&mut self.kernel_ns, other.kernel_ns),
            (&mut self.minor_faults, other.minor_faults),
            (&mut self.major_faults, other.major_faults),
            (&mut self.voluntary_switches, other.voluntary_switches),
            (&mut self.involuntary_switches, other.involuntary_switches),
            (&mut self.read_bytes, other.read_bytes),
            (&mut self.written_bytes, other.written_bytes),
            (&mut self.reads, other.reads),
            (&mut self.writes, other.writes),
        ] {
            *sum = sum.saturating_add(value);
        }
    }
}

impl CpuTime {
    /// Divides the CPU time of `usage` as it was found, but lets neither part go back behind what was reported before, and
    /// remembers what is reported now.
    fn divide(&mut self, usage: &Usage) -> Self {
        let &Usage { runtime_ns, program_ns, kernel_ns, .. } = usage;
        if self.user_ns.saturating_add(self.system_ns) >= runtime_ns {
            return *self;
        }
        let system_ns = match program_ns.checked_add(kernel_ns) {
            Some(found_ns) if found_ns > 0 => proportion(runtime_ns, kernel_ns, found_ns),
            _ => 0,
        };
        // The sum of what was reported is less than all there is now, so at most one part is short.
        let system_ns = system_ns.max(self.system_ns).min(runtime_ns - self.user_ns);
        *self = Self { user_ns: runtime_ns - system_ns, system_ns };
        *self
    }
}

/// `total * part / whole`, without overflow; `part <= whole` and `whole > 0`.
fn proportion(total: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(total) * u128::from(part) / u128::from(whole);
    u64::try_from(product).unwrap_or(total)
}

impl Accounting {
    /// A thread that starts now.
    pub fn starting_now() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            started_ns: machine::now_ns(),
            program_ns: zero(),
            kernel_ns: zero(),
            reported: IrqSpinLock::new(rank::ACCOUNTING, CpuTime::default()),
            ended_ns: AtomicU64::new(RUNNING),
            minor_faults: zero(),
            major_faults: zero(),
            voluntary_switches: zero(),
            involuntary_switches: zero(),
            transfers: Transfers { read_bytes: zero(), written_bytes: zero(), reads: zero(), writes: zero() },
        }
    }

    /// When the thread started, on the clock of [`machine::now_ns`].
    pub fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// Counts that the thread left a CPU: because it waits, or because another was to run. For the machine; takes no lock.
    #[inline]
    pub fn count_switch(&self, is_voluntary: bool) {
        let switches = if is_voluntary { &self.voluntary_switches } else { &self.involuntary_switches };
        switches.fetch_add(1, Relaxed);
    }

    /// Counts a call of the thread itself that has read so many bytes.
    #[inline]
    pub(crate) fn count_read(&self, len: usize) {
        add_own(&self.transfers.read_bytes, len as u64);
        add_own(&self.transfers.reads, 1);
    }

    /// Counts a call of the thread itself that has written so many bytes.
    #[inline]
    pub(crate) fn count_write(&self, len: usize) {
        add_own(&self.transfers.written_bytes, len as u64);
        add_own(&self.transfers.writes, 1);
    }

    /// Counts a fault. One that could not be served is none.
    pub(crate) fn count_fault(&self, served: Result<FaultKind, FaultError>) {
        match served {
            Ok(FaultKind::Minor) => self.minor_faults.fetch_add(1, Relaxed),
            Ok(FaultKind::Major) => self.major_faults.fetch_add(1, Relaxed),
            Err(_) => return,
        };
    }

    /// Page faults served without I/O.
    pub fn minor_faults(&self) -> u64 {
        self.minor_faults.load(Relaxed)
    }

    /// Page faults for which something was read.
    pub fn major_faults(&self) -> u64 {
        self.major_faults.load(Relaxed)
    }

    /// Times it gave up the CPU by waiting.
    pub fn voluntary_switches(&self) -> u64 {
        self.voluntary_switches.load(Relaxed)
    }

    /// Times the CPU was taken from it.
    pub fn involuntary_switches(&self) -> u64 {
        self.involuntary_switches.load(Relaxed)
    }

    /// Counts what the thread has run since the last look as what is found now. Looks come from one CPU at a time.
    fn look(&self, runtime_ns: u64, is_in_kernel: bool) {
        let (program_ns, kernel_ns) = (self.program_ns.load(Relaxed), self.kernel_ns.load(Relaxed));
        let new_ns = runtime_ns.saturating_sub(program_ns.saturating_add(kernel_ns));
        let part = if is_in_kernel { &self.kernel_ns } else { &self.program_ns };
        part.fetch_add(new_ns, Relaxed);
    }
}

impl Thread {
    /// To be called from the machine's timer interrupt for the thread that it interrupted, more or less often: was the program
    /// running, or the kernel on its behalf? Takes the lock of the thread's run queue.
    pub fn tick(&self, is_in_kernel: bool) {
        self.accounting().look(self.runtime_ns(), is_in_kernel);
        let system = self.process().system();
        system.load().look(machine::now_ns(), || system.runnable_count());
    }

    /// How long it has been on a CPU, exactly.
    pub fn runtime_ns(&self) -> u64 {
        match self.accounting().ended_ns.load(Relaxed) {
            RUNNING => self.platform().runtime_ns(self),
            ended_ns => ended_ns,
        }
    }

    /// How long it has been on a CPU in its program, and in the kernel.
    pub fn cpu_time(&self) -> CpuTime {
        let usage = self.usage();
        self.accounting().reported.lock().divide(&usage)
    }

    /// What it has used.
    pub fn usage(&self) -> Usage {
        let own = self.accounting();
        Usage {
            runtime_ns: self.runtime_ns(),
            program_ns: own.program_ns.load(Relaxed),
            kernel_ns: own.kernel_ns.load(Relaxed),
            minor_faults: own.minor_faults(),
            major_faults: own.major_faults(),
            voluntary_switches: own.voluntary_switches(),
            involuntary_switches: own.involuntary_switches(),
            read_bytes: own.transfers.read_bytes.load(Relaxed),
            written_bytes: own.transfers.written_bytes.load(Relaxed),
            reads: own.transfers.reads.load(Relaxed),
            writes: own.transfers.writes.load(Relaxed),
        }
    }
}

/// What a process has used beside its threads.
#[derive(Debug)]
pub struct ProcessAccounting(IrqSpinLock<Sums>);

#[derive(Debug, Default)]
struct Sums {
    /// By threads that have ended.
    ended: Usage,
    reported: CpuTime,
}

impl ProcessAccounting {
    pub(crate) fn new() -> Self {
        Self(IrqSpinLock::new(rank::ACCOUNTING, Sums::default()))
    }

    /// Counts what a thread has used among that of the threads that have ended; it has just been taken out of the list of threads,
    /// under the lock of the process's signals, which is still held. What the thread runs from now on is not counted.
    pub(crate) fn absorb(&self, thread: &Thread) {
        let usage = thread.usage();
        thread.accounting().ended_ns.store(usage.runtime_ns, Relaxed);
        self.0.lock().ended.add(&usage);
    }
}

impl Process {
    /// What its threads have used, and those that have ended. Callable from interrupts.
    pub fn usage(&self) -> Usage {
        let signals = self.signals.lock();
        let mut sum = self.accounting().0.lock().ended;
        signals.threads().iter().for_each(|thread| sum.add(&thread.usage()));
        sum
    }

    /// How long its threads have been on CPUs, exactly. Callable from interrupts.
    pub fn runtime_ns(&self) -> u64 {
        self.usage().runtime_ns
    }

    /// How long its threads have been on CPUs in their program, and in the kernel. Callable from interrupts.
    pub fn cpu_time(&self) -> CpuTime {
        let usage = self.usage();
        self.accounting().0.lock().reported.divide(&usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(runtime_ns: u64, program_ns: u64, kernel_ns: u64) -> Usage {
        Usage { runtime_ns, program_ns, kernel_ns, ..Usage::default() }
    }

    #[test]
    fn proportions_do_not_overflow() {
        assert_eq!(proportion(u64::MAX, 1, 2), u64::MAX / 2);
        assert_eq!(proportion(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(proportion(10, 0, 3), 0);
    }

    #[test]
    fn time_is_divided_as_found() {
        let mut reported = CpuTime::default();
        assert_eq!(reported.divide(&usage(100, 0, 0)), CpuTime { user_ns: 100, system_ns: 0 });
        assert_eq!(reported.divide(&usage(1000, 30, 10)), CpuTime { user_ns: 750, system_ns: 250 });
        let mut reported = CpuTime::default();
        assert_eq!(reported.divide(&usage(100, 0, 5)), CpuTime { user_ns: 0, system_ns: 100 });
    }

    #[test]
    fn neither_part_goes_back() {
        let mut reported = CpuTime { user_ns: 60, system_ns: 40 };
        // More was found in the kernel, then in the program; there is too little new time to make up for it.
        assert_eq!(reported.divide(&usage(110, 20, 80)), CpuTime { user_ns: 60, system_ns: 50 });
        assert_eq!(reported.divide(&usage(120, 119, 1)), CpuTime { user_ns: 70, system_ns: 50 });
        assert_eq!(reported.divide(&usage(120, 0, 120)), CpuTime { user_ns: 70, system_ns: 50 });
        assert_eq!(reported.divide(&usage(90, 90, 0)), CpuTime { user_ns: 70, system_ns: 50 });
        assert_eq!(reported.divide(&usage(u64::MAX, u64::MAX, u64::MAX)).system_ns, 50);
    }

    #[test]
    fn sums_do_not_overflow() {
        let mut sum = usage(u64::MAX - 1, 5, 0);
        sum.add(&usage(5, 5, 1));
        assert_eq!(sum, usage(u64::MAX, 10, 1));
    }
}
