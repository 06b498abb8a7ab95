//! CPU time and event counts of a thread.
//!
//! Time is measured where a thread waits, not at every system call: its CPU time is the time since its start minus the
//! time it waited. The machine's timer samples whether it runs its program or the kernel, and the samples divide the
//! total, as Linux does without precise accounting. Reported times never go back.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sync::machine;

/// What a thread has used so far.
#[derive(Debug)]
pub struct Accounting {
    started_ns: u64,
    waited_ns: AtomicU64,
    /// Since when it waits; [`RUNNING`] while it does not.
    waiting_since_ns: AtomicU64,
    program_samples: AtomicU64,
    kernel_samples: AtomicU64,
    user_reported_ns: AtomicU64,
    system_reported_ns: AtomicU64,
    minor_faults: AtomicU64,
    voluntary_switches: AtomicU64,
    involuntary_switches: AtomicU64,
}

/// The time at which a thread that runs began to wait.
const RUNNING: u64 = u64::MAX;

/// CPU time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In the program.
    pub user_ns: u64,
    /// In the kernel on its behalf.
    pub system_ns: u64,
}

impl Accounting {
    /// A thread that starts now.
    pub fn starting_now() -> Self {
        Self {
            started_ns: machine::now_ns(),
            waited_ns: AtomicU64::new(0),
            waiting_since_ns: AtomicU64::new(RUNNING),
            program_samples: AtomicU64::new(0),
            kernel_samples: AtomicU64::new(0),
            user_reported_ns: AtomicU64::new(0),
            system_reported_ns: AtomicU64::new(0),
            minor_faults: AtomicU64::new(0),
            voluntary_switches: AtomicU64::new(0),
            involuntary_switches: AtomicU64::new(0),
        }
    }

    /// When the thread started, on the clock of [`machine::now_ns`].
    pub fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// One sample of the timer: was the program running, or the kernel on its behalf?
    pub fn sample(&self, is_in_kernel: bool) {
        let samples = if is_in_kernel { &self.kernel_samples } else { &self.program_samples };
        samples.fetch_add(1, Relaxed);
    }

    /// The thread begins to wait.
    pub(crate) fn wait_begins(&self) {
        self.waiting_since_ns.store(machine::now_ns(), Relaxed);
    }

    /// The thread runs again. Who looks between the two steps sees too little time, never too much.
    pub(crate) fn wait_ends(&self) {
        let duration_ns = machine::now_ns().saturating_sub(self.waiting_since_ns.load(Relaxed));
        self.waited_ns.fetch_add(duration_ns, Relaxed);
        self.waiting_since_ns.store(RUNNING, Relaxed);
        self.voluntary_switches.fetch_add(1, Relaxed);
    }

    pub(crate) fn faulted(&self) {
        self.minor_faults.fetch_add(1, Relaxed);
    }

    /// Page faults served without I/O.
    pub fn minor_faults(&self) -> u64 {
        self.minor_faults.load(Relaxed)
    }

    /// Times it gave up the CPU by waiting.
    pub fn voluntary_switches(&self) -> u64 {
        self.voluntary_switches.load(Relaxed)
    }

    /// Times the CPU was taken from it.
    pub fn involuntary_switches(&self) -> u64 {
        self.involuntary_switches.load(Relaxed)
    }

    /// All CPU time, in nanoseconds.
    pub fn total_ns(&self) -> u64 {
        let end_ns = machine::now_ns().min(self.waiting_since_ns.load(Relaxed));
        let lifetime_ns = end_ns.saturating_sub(self.started_ns);
        lifetime_ns.saturating_sub(self.waited_ns.load(Relaxed))
    }

    /// CPU time, divided by the samples.
    pub fn cpu_time(&self) -> CpuTime {
        let (program, kernel) = (self.program_samples.load(Relaxed), self.kernel_samples.load(Relaxed));
        let total_ns = self.total_ns();
        let system_ns = match program.checked_add(kernel) {
            Some(samples) if samples > 0 => proportion(total_ns, kernel, samples),
            _ => 0,
        };
        // A new sample may shift the division; what was reported before stays reported.
        let user_ns = self.user_reported_ns.fetch_max(total_ns - system_ns, Relaxed).max(total_ns - system_ns);
        let system_ns = self.system_reported_ns.fetch_max(system_ns, Relaxed).max(system_ns);
        CpuTime { user_ns, system_ns }
    }
}

/// `total * part / whole`, without overflow; `part <= whole` and `whole > 0`.
fn proportion(total: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(total) * u128::from(part) / u128::from(whole);
    u64::try_from(product).unwrap_or(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportions_do_not_overflow() {
        assert_eq!(proportion(u64::MAX, 1, 2), u64::MAX / 2);
        assert_eq!(proportion(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(proportion(10, 0, 3), 0);
    }
}
