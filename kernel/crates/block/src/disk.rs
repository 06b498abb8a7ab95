//! [`Disk`]: a device with a name, from which requests go to its driver.
//!
//! There is no queue here: while a device is full its callers sleep, so what waits is bounded by who waits. See section 3 of the
//! crate for what happens to a device that is silent.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use sync::atomic::{AtomicBool, Ordering};
use sync::{Parker, WaitNode, machine};

use crate::{BlockError, Completion, Device, DiskStatistics, Features, Limits, Request, TIMEOUT_NS};

/// A block device.
pub struct Disk {
    name: String,
    number: u64,
    device: Box<dyn Device>,
    is_dead: AtomicBool,
    statistics: Arc<DiskStatistics>,
}

impl Disk {
    /// A disk that this device serves, with its name below `/dev` and its device number.
    pub fn new(name: String, number: u64, device: Box<dyn Device>) -> Arc<Self> {
        Arc::new(Self { name, number, device, is_dead: AtomicBool::new(false), statistics: Arc::default() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its device number, as in `st_rdev`.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its size and limits.
    pub fn limits(&self) -> &Limits {
        self.device.limits()
    }

    /// What it can do.
    pub fn features(&self) -> Features {
        self.device.features()
    }

    /// What tells it from others, if it has a name of its own.
    pub fn serial(&self) -> &str {
        self.device.serial()
    }

    /// Its figures.
    pub fn statistics(&self) -> &DiskStatistics {
        &self.statistics
    }

    /// Whether it was given up.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// Hands a request to the device, and sleeps while it is full. The device must still be told, by [`Disk::kick`].
    pub(crate) fn submit(&self, mut request: Request) {
        request.begin(&self.statistics);
        if self.is_dead() {
            return request.complete(Err(BlockError::Dead));
        }
        if let Err(request) = self.device.submit(request) {
            self.submit_when_there_is_room(request);
        }
    }

    #[cold]
    fn submit_when_there_is_room(&self, mut request: Request) {
        // What it is full of must be under way.
        self.device.kick();
        let room = self.device.room();
        let parker = Arc::new(Parker::new());
        let node = WaitNode::with_events(parker.clone(), u32::MAX, true);
        loop {
            let woken = room.add(&node);
            match self.device.submit(request) {
                Ok(()) => {
                    room.remove(&node);
                    // One wake may have stood for more room than this one took.
                    if woken != 0 {
                        room.wake(woken);
                    }
                    return;
                }
                Err(back) => request = back,
            }
            if parker.park_until(machine::now_ns().saturating_add(TIMEOUT_NS)) {
                self.suspect();
            }
        }
    }

    /// Tells the device of what was submitted.
    pub(crate) fn kick(&self) {
        self.device.kick();
    }

    /// Waits until everything that `completion` counts is over; the first error, if there was one.
    pub fn wait(&self, completion: &Completion) -> Result<(), BlockError> {
        loop {
            let deadline_ns = machine::now_ns().saturating_add(TIMEOUT_NS);
            if let Some(result) = completion.wait_until(deadline_ns) {
                return result;
            }
            self.suspect();
        }
    }

    /// A wait took too long. If something is done and only the interrupt was lost, the device lives; else it is given up.
    #[cold]
    fn suspect(&self) {
        let figures = || {
            let statistics = &self.statistics;
            [statistics.reads(), statistics.writes(), statistics.discards(), statistics.flushes()]
                .map(|figures| figures.requests)
        };
        let before = figures();
        self.device.poll();
        if figures() != before {
            log::warn!("{}: an interrupt was lost", self.name);
            return;
        }
        self.stop();
    }

    /// Gives the device up: everything under way and everything later fails.
    pub fn stop(&self) {
        if !self.is_dead.swap(true, Ordering::Relaxed) {
            log::error!("{}: the device does not answer, or was removed; it is given up", self.name);
            self.device.stop();
        }
    }
}
