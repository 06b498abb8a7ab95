//! [`TimerService`]: what happens at a point in time.
//!
//! One heap of [`Expire`] objects by deadline. The machine's timer is set to the first deadline and its interrupt calls
//! [`TimerService::expire`]. Starting and cancelling allocate nothing and cannot fail: whoever wants to start something
//! has a [`Place`], and there is room for every place. Waits of threads have their own deadlines and need none of this.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use sched::{TimerId, TimerQueue, TimerStorage};
use sync::machine::{self, NEVER};
use sync::{IrqSpinLock, rank};

use super::time_of_day::{Settings, TimeOfDay};
use crate::platform::Platform;
use crate::system::System;

/// Something that happens at a point in time.
pub(crate) trait Expire: Send + Sync {
    /// The time has come for the entry `id`. Called from an interrupt, without locks; may start the next entry.
    fn expire(self: Arc<Self>, id: TimerId);

    /// The wall clock was set while it has an entry.
    fn clock_was_set(self: Arc<Self>);
}

/// The entries of all timers.
pub struct TimerService {
    platform: &'static dyn Platform,
    queue: IrqSpinLock<Queue>,
    time_of_day: TimeOfDay,
}

struct Queue {
    timers: TimerQueue<Arc<dyn Expire>>,
    /// How many places there are: never more than the capacity of `timers`.
    places: usize,
}

/// Room for one entry.
pub(crate) struct Place {
    system: Arc<System>,
}

impl Place {
    /// Makes room. `EAGAIN` when there are too many timers.
    pub(crate) fn take(system: &Arc<System>) -> Result<Self, Errno> {
        let service = system.timers();
        loop {
            let wanted = {
                let mut queue = service.queue.lock();
                if queue.places < queue.timers.capacity() {
                    queue.places += 1;
                    return Ok(Self { system: Arc::clone(system) });
                }
                queue.timers.next_capacity()
            };
            let storage = TimerStorage::allocate(wanted).ok_or(Errno::EAGAIN)?;
            let mut queue = service.queue.lock();
            let before = queue.timers.capacity();
            let old = queue.timers.grow(storage);
            let is_full = queue.timers.capacity() == before && queue.places >= before;
            drop(queue);
            drop(old);
            if is_full {
                return Err(Errno::EAGAIN);
            }
        }
    }

    /// Makes `what` happen at `deadline_ns` on the clock of [`machine::now_ns`]. At most one entry a place.
    pub(crate) fn start(&self, deadline_ns: u64, what: Arc<dyn Expire>) -> Option<TimerId> {
        let service = self.system.timers();
        let mut queue = service.queue.lock();
        let first = queue.timers.next_deadline();
        let id = queue.timers.start(deadline_ns, what).ok();
        debug_assert!(id.is_some(), "there is room for every place");
        if queue.timers.next_deadline() != first {
            service.platform.set_timer(deadline_ns);
        }
        id
    }

    /// Makes `what` happen now: when the thread that runs, if one does, leaves the kernel, and by an interrupt at the
    /// latest. From any context.
    pub(crate) fn start_now(&self, what: Arc<dyn Expire>) {
        self.start(machine::now_ns(), what);
        self.system.platform().note_timer();
    }

    /// Takes an entry back. What it held goes to the caller, so that nothing is freed under the lock.
    #[inline]
    pub(crate) fn cancel(&self, id: TimerId) -> Option<Arc<dyn Expire>> {
        self.system.timers().queue.lock().timers.cancel(id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.system.timers().queue.lock().places -= 1;
    }
}

impl TimerService {
    /// A service without entries.
    pub(crate) fn new(platform: &'static dyn Platform) -> Self {
        let queue = Queue { timers: TimerQueue::new(), places: 0 };
        Self { platform, queue: IrqSpinLock::new(rank::TIMERS, queue), time_of_day: TimeOfDay::new() }
    }

    /// The setting of the wall clock.
    pub(crate) fn time_of_day(&self) -> &TimeOfDay {
        &self.time_of_day
    }

    /// Sets the wall clock, and tells those who go by it.
    pub(crate) fn set_time_of_day(&self, now_ns: u64) {
        self.time_of_day.change(Settings::forget_errors);
        self.platform.set_realtime_ns(now_ns);
        let mut entries = Vec::new();
        loop {
            let queue = self.queue.lock();
            if entries.capacity() >= queue.timers.len() {
                entries.extend(queue.timers.values().cloned());
                break;
            }
            let count = queue.timers.len();
            drop(queue);
            entries.reserve(count);
        }
        entries.into_iter().for_each(<dyn Expire>::clock_was_set);
        self.time_of_day.was_set.wake_all();
    }

    /// Does what is due without waiting for the machine's interrupt, which finds nothing then. For a thread on its way
    /// out.
    pub(crate) fn expire_early(&self) {
        // What happens then expects what an interrupt is: nothing between its steps on this CPU.
        let were_enabled = machine::interrupts_disable_save();
        self.expire();
        machine::interrupts_restore(were_enabled);
    }

    /// Does what is due and sets the machine's timer to what comes next. For the machine's interrupt. What becomes due meanwhile is
    /// left to the next, or entries that start themselves anew could go on for ever.
    pub fn expire(&self) {
        let now_ns = machine::now_ns();
        loop {
            let mut queue = self.queue.lock();
            let Some((id, what)) = queue.timers.expire(now_ns) else {
                self.platform.set_timer(queue.timers.next_deadline().unwrap_or(NEVER));
                return;
            };
            drop(queue);
            what.expire(id);
        }
    }
}
