//! Output that waits for more of it: what Linux calls automatic corking (`net.ipv4.tcp_autocorking`).
//!
//! # Theory
//!
//! 1. A server that has got many requests at once often answers each with a write of its own. A segment for each costs
//!    this machine, the device and the peer as much as one for all.
//! 2. So a small write is held back if it is not the first since the program last read from the connection, and what
//!    was sent before is still on its way. Full segments go out as ever.
//! 3. What is held goes out as soon as the program has nothing to do: when the thread is about to wait for anything,
//!    when it looks for events without waiting, when it finds the connection empty. Flows that hold something are in a
//!    list of the CPU for that ([`HeldFlows`]).
//! 4. A program that computes for long does none of these, and a thread may move to another CPU. The worker of the CPU
//!    looks after [`HOLD_NS`], and goes on looking while there is anything held now and then, so that nobody has to wake
//!    it each time.
//! 5. Nobody waits for what is held: no acknowledgement will move it. A connection that is closed, shut or told to send
//!    at once (`TCP_NODELAY`, no `TCP_CORK`) sends it with the rest.
//!
//! Linux holds back while the device has not sent what it got before, and lets go when it says so.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use sync::batch_queue::Pushed;
use sync::{BatchQueue, Lookout, machine};

use crate::channel::Flow;
use crate::stack::Stack;

/// How long output is held at most, while the program computes.
pub(crate) const HOLD_NS: u64 = 1_000_000;
/// Flows that hold something; as many as there can be.
const FLOWS_MAX: usize = 1 << 20;

/// Flows in the lists of all CPUs.
static LISTED: AtomicUsize = AtomicUsize::new(0);

/// The flows of a CPU that hold output.
pub(crate) struct HeldFlows {
    flows: BatchQueue<Arc<dyn Flow>>,
    /// When the worker looks.
    lookout: Lookout,
}

impl HeldFlows {
    pub(crate) fn new() -> Self {
        Self { flows: BatchQueue::new(FLOWS_MAX), lookout: Lookout::new() }
    }

    /// When the worker is to look.
    pub(crate) fn look_ns(&self) -> u64 {
        self.lookout.at_ns()
    }

    /// The worker's look, if it is time for one.
    pub(crate) fn look(&self, now_ns: u64) {
        if self.lookout.begin(now_ns, HOLD_NS) {
            self.release();
        }
    }

    fn release(&self) {
        for flow in self.flows.take() {
            LISTED.fetch_sub(1, Ordering::Relaxed);
            flow.release();
        }
    }
}

/// Whether any flow holds output.
#[inline]
pub fn holds_output() -> bool {
    LISTED.load(Ordering::Relaxed) != 0
}

impl Stack {
    /// `flow` holds output from now on, until [`Flow::release`]. False: there is no room, it is not to hold any.
    pub(crate) fn hold(&self, flow: Arc<dyn Flow>) -> bool {
        let worker = self.own_worker();
        let held = worker.held();
        LISTED.fetch_add(1, Ordering::Relaxed);
        if held.flows.push(flow) == Pushed::Full {
            LISTED.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if held.lookout.note(|| machine::now_ns().saturating_add(HOLD_NS)) {
            worker.wake();
        }
        true
    }

    /// The calling thread has nothing to do for now: sends what flows of its CPU hold. May sleep for their locks. Of no
    /// use unless [`holds_output`].
    pub fn release_held(&self) {
        self.own_worker().held().release();
    }
}
