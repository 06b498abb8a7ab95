//! [`Limits`]: the resource limits of a process.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::{Errno, Rlimit, resource as r};

/// The most descriptors a process may ask for; Linux's default of `fs.nr_open`.
const DESCRIPTORS_MAX: u64 = 1 << 20;
/// Processes and pending signals; Linux derives it from the memory, 4 GiB give about this.
const PROCESSES_MAX: u64 = 15_000;

/// The limits of a process, by the numbers of `RLIMIT_*`.
#[derive(Clone, Debug)]
pub struct Limits([Rlimit; r::RLIM_NLIMITS]);

impl Default for Limits {
    /// What Linux gives its first process, but for the number of descriptors, which servers raise at once: the hard
    /// limit is the one service managers set.
    fn default() -> Self {
        let mut limits = [Rlimit::unlimited(); r::RLIM_NLIMITS];
        limits[r::RLIMIT_STACK] = Rlimit::new(8 << 20, Rlimit::INFINITY);
        limits[r::RLIMIT_CORE] = Rlimit::new(0, Rlimit::INFINITY);
        limits[r::RLIMIT_NPROC] = Rlimit::new(PROCESSES_MAX, PROCESSES_MAX);
        limits[r::RLIMIT_NOFILE] = Rlimit::new(1024, DESCRIPTORS_MAX);
        limits[r::RLIMIT_MEMLOCK] = Rlimit::new(8 << 20, 8 << 20);
        limits[r::RLIMIT_SIGPENDING] = Rlimit::new(PROCESSES_MAX, PROCESSES_MAX);
        limits[r::RLIMIT_MSGQUEUE] = Rlimit::new(819_200, 819_200);
        limits[r::RLIMIT_NICE] = Rlimit::new(0, 0);
        limits[r::RLIMIT_RTPRIO] = Rlimit::new(0, 0);
        Self(limits)
    }
}

impl Limits {
    /// The limit of a resource; `EINVAL` for a number Linux does not know.
    pub fn get(&self, resource: u32) -> Result<Rlimit, Errno> {
        usize::try_from(resource).ok().and_then(|index| self.0.get(index)).copied().ok_or(Errno::EINVAL)
    }

    /// The soft limit of a resource known to exist.
    pub fn soft(&self, resource: usize) -> u64 {
        self.0[resource].rlim_cur
    }

    /// Sets a limit. `may_raise` is whether the caller may exceed the hard limit.
    pub fn set(&mut self, resource: u32, new: Rlimit, may_raise: bool) -> Result<(), Errno> {
        let index = usize::try_from(resource).map_err(|_| Errno::EINVAL)?;
        let limit = self.0.get_mut(index).ok_or(Errno::EINVAL)?;
        if new.rlim_cur > new.rlim_max {
            return Err(Errno::EINVAL);
        }
        if index == r::RLIMIT_NOFILE && new.rlim_max > DESCRIPTORS_MAX {
            return Err(Errno::EPERM);
        }
        if new.rlim_max > limit.rlim_max && !may_raise {
            return Err(Errno::EPERM);
        }
        *limit = new;
        Ok(())
    }

    /// The limits the address space enforces.
    pub fn of_memory(&self, may_lock_any: bool) -> mm::Limits {
        mm::Limits {
            address_space: self.soft(r::RLIMIT_AS),
            data: self.soft(r::RLIMIT_DATA),
            stack: self.soft(r::RLIMIT_STACK),
            locked: self.soft(r::RLIMIT_MEMLOCK),
            may_lock_any,
        }
    }
}

/// The soft limits of a process where calls read them without a lock.
pub(crate) struct SoftLimits([AtomicU64; r::RLIM_NLIMITS]);

impl SoftLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(limits.0.map(|limit| AtomicU64::new(limit.rlim_cur)))
    }

    /// Takes over limits that were changed, under their lock.
    pub(crate) fn set(&self, limits: &Limits) {
        for (soft, limit) in self.0.iter().zip(&limits.0) {
            soft.store(limit.rlim_cur, Relaxed);
        }
    }

    /// The soft limit of a resource known to exist.
    #[inline]
    pub(crate) fn get(&self, resource: usize) -> u64 {
        self.0[resource].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold() {
        let mut limits = Limits::default();
        let nofile = 7;
        assert_eq!(limits.set(nofile, Rlimit::new(2, 1), true), Err(Errno::EINVAL));
        assert_eq!(limits.set(16, Rlimit::new(1, 1), true), Err(Errno::EINVAL));
        assert_eq!(limits.set(nofile, Rlimit::new(10, 20), false), Ok(()));
        assert_eq!(limits.set(nofile, Rlimit::new(10, 21), false), Err(Errno::EPERM));
        assert_eq!(limits.set(nofile, Rlimit::new(10, 21), true), Ok(()));
        assert_eq!(limits.set(nofile, Rlimit::unlimited(), true), Err(Errno::EPERM));
    }
}
