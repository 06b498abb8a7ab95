//! [`Worker`]: what one CPU's network thread has to do.
//!
//! 1. *Control.* Packets of no flow: the first segments of connections, ARP, ICMP. The interrupt wakes the worker for these.
//! 2. *Polling.* Queues of devices that had a full batch; the worker takes the next ones, and the device interrupts no more until it is empty.
//! 3. *Timers.* A flow has at most one: when the protocol wants to be called. Setting it anew to a later time costs nothing: it fires at the
//!    old time, finds nothing, and is set again. So the timers of retransmissions, which are pushed ahead with each acknowledgement, rarely touch the tree.
//! 4. *Watching.* A flow that got packets is looked at within [`WATCH_NS`]: if nobody has taken them, the worker does, so that acknowledgements are sent
//!    and windows open while the program computes. A flow is watched once however many packets come, and while flows are busy the
//!    next look is announced, so that their packets need not wake the worker ([`sync::Lookout`]).
//!
//! 5. *Devices.* A busy device is looked at every [`DEVICE_NS`]: notifications that were lost on either way cost no more than that.
//!
//! 6. *Held output.* What connections hold back while the program goes on is sent here if nobody else does
//!    ([`crate::held`]).
//!
//! The worker sleeps until the earliest of these. Locks: [`sync::rank::NETWORK_TIMERS`] around the tree of timers, held for no call;
//! [`sync::rank::CONTROL_PACKETS`] while a batch of control packets is handled, so that who sent them can wait for their end.
//! The worker itself never waits for a thread that handles its packets: that thread may be preempted, and timers go on. Whoever lets go of
//! the lock looks for packets that have come meanwhile, and wakes the worker for them (`sync`'s model `leaving` checks this with loom).

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use sync::batch_queue::Pushed;
use sync::machine::{self, NEVER};
use sync::{BatchQueue, Lookout, Mutex, MutexGuard, Parker, rank};

use crate::channel::{Flow, NO_CPU, Packet, QueuedPacket};
use crate::held::HeldFlows;
use crate::interface::Interface;
use crate::stack::{BATCH_MAX, Stack};

/// Packets of no flow that wait.
const CONTROL_MAX: usize = 1024;
/// How often what was sent to the machine itself is handled at once: what is handled may send again.
const SETTLING_ROUNDS_MAX: usize = 4;
/// Flows that are watched, and flows to be looked at; as many as there can be of either.
const FLOWS_MAX: usize = 1 << 20;
/// Queues that wait to be polled.
const POLLS_MAX: usize = 1024;
/// How long packets of a flow may lie without anybody looking at them. Less than the delay of acknowledgements.
const WATCH_NS: u64 = 10_000_000;
/// How often is looked whether a busy device goes on.
const DEVICE_NS: u64 = 50_000_000;

/// Names the timer of a flow: when it fires, and where the flow lies.
type TimerKey = (u64, usize);

/// What one CPU's network thread has to do.
pub(crate) struct Worker {
    control: BatchQueue<Packet>,
    /// Held while packets of `control` are handled.
    handling: Mutex<()>,
    /// Set before they are taken, cleared when they are handled.
    is_handling: AtomicBool,
    polls: BatchQueue<(Arc<Interface>, u16)>,
    pokes: BatchQueue<Arc<dyn Flow>>,
    watched: BatchQueue<Arc<dyn Flow>>,
    /// When the watched flows are looked at.
    lookout: Lookout,
    timers: Mutex<BTreeMap<TimerKey, Arc<dyn Flow>>>,
    held: HeldFlows,
    /// When the worker wakes up by itself.
    wakes_ns: AtomicU64,
    has_work: AtomicBool,
    parker: Parker,
}

impl Worker {
    pub(crate) fn new() -> Self {
        Self {
            control: BatchQueue::new(CONTROL_MAX),
            handling: Mutex::new(rank::CONTROL_PACKETS, ()),
            is_handling: AtomicBool::new(false),
            polls: BatchQueue::new(POLLS_MAX),
            pokes: BatchQueue::new(FLOWS_MAX),
            watched: BatchQueue::new(FLOWS_MAX),
            lookout: Lookout::new(),
            timers: Mutex::new(rank::NETWORK_TIMERS, BTreeMap::new()),
            held: HeldFlows::new(),
            wakes_ns: AtomicU64::new(NEVER),
            has_work: AtomicBool::new(false),
            parker: Parker::new(),
        }
    }

    /// The flows that hold output.
    pub(crate) fn held(&self) -> &HeldFlows {
        &self.held
    }

    /// Makes the worker run.
    pub(crate) fn wake(&self) {
        if !self.has_work.swap(true, Ordering::AcqRel) {
            self.parker.unpark();
        }
    }

    /// Queues a packet of no flow; the caller wakes. False: there is no room.
    pub(crate) fn push_control(&self, packet: QueuedPacket) -> bool {
        self.control.push_entry(packet) != Pushed::Full
    }

    /// Has the packets of `flow` looked at within a while. Every flow is in one list at most.
    #[cold]
    fn watch(&self, flow: &Arc<dyn Flow>) {
        if flow.state().is_watched.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.watched.push(Arc::clone(flow)) == Pushed::Full {
            flow.state().is_watched.store(false, Ordering::Release);
        }
        if self.lookout.note(|| machine::now_ns().saturating_add(WATCH_NS)) {
            self.wake();
        }
    }

    /// Has the worker look at `flow` at once.
    pub(crate) fn poke(&self, flow: Arc<dyn Flow>) {
        self.pokes.push(flow);
        self.wake();
    }

    /// Has the worker poll a queue of a device.
    pub(crate) fn request_poll(&self, interface: Arc<Interface>, queue: u16) {
        self.polls.push((interface, queue));
        self.wake();
    }

    /// Has the worker call `flow` at `at_ns`, if it does not do so earlier.
    fn set_timer(&self, flow: &Arc<dyn Flow>, at_ns: u64) {
        let current_ns = &flow.state().timer_ns;
        let mut timers = self.timers.lock();
        let old_ns = current_ns.load(Ordering::Relaxed);
        if at_ns >= old_ns {
            return;
        }
        let old = timers.remove(&(old_ns, address_of(flow)));
        timers.insert((at_ns, address_of(flow)), Arc::clone(flow));
        current_ns.store(at_ns, Ordering::Relaxed);
        drop(timers);
        drop(old);
        fence(Ordering::SeqCst);
        if at_ns < self.wakes_ns.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Takes the timer of `flow` back.
    fn cancel_timer(&self, flow: &Arc<dyn Flow>) {
        let mut timers = self.timers.lock();
        let at_ns = flow.state().timer_ns.swap(NEVER, Ordering::Relaxed);
        let old = timers.remove(&(at_ns, address_of(flow)));
        drop(timers);
        drop(old);
    }

    /// The next flow whose timer is due.
    fn take_due(&self, now_ns: u64) -> Option<Arc<dyn Flow>> {
        let mut timers = self.timers.lock();
        let first = timers.first_entry().filter(|first| first.key().0 <= now_ns)?;
        let flow = first.remove();
        flow.state().timer_ns.store(NEVER, Ordering::Relaxed);
        Some(flow)
    }

    fn next_timer_ns(&self) -> u64 {
        self.timers.lock().first_key_value().map_or(NEVER, |(key, _)| key.0)
    }
}

impl Stack {
    /// Does what is due for CPU `cpu`: control traffic, timers, flows nobody reads. Answers when it wants to be called again. Called by the worker of that
    /// CPU, in a loop with [`Stack::park`].
    pub fn work(self: &Arc<Self>, cpu: u32) -> u64 {
        let worker = self.worker(cpu);
        worker.has_work.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.handle_own(worker);
        let is_polling = self.poll_queues(worker);
        let now_ns = machine::now_ns();
        for flow in worker.pokes.take() {
            self.let_work(&flow, now_ns);
        }
        while let Some(flow) = worker.take_due(now_ns) {
            self.let_work(&flow, now_ns);
        }
        self.look_at_watched(worker, now_ns);
        worker.held.look(now_ns);
        let control_ns = self.work_control(cpu, now_ns).min(self.look_at_devices(now_ns));
        if is_polling {
            return now_ns;
        }
        let at_ns = worker.next_timer_ns().min(worker.lookout.at_ns()).min(control_ns);
        worker.wakes_ns.store(at_ns, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // What was set before `wakes_ns` could be seen.
        at_ns.min(worker.next_timer_ns()).min(worker.held.look_ns())
    }

    /// The worker's part: handles the control packets that wait, unless another thread handles some. Then that thread wakes the worker
    /// again if need be.
    fn handle_own(self: &Arc<Self>, worker: &Worker) {
        if worker.control.is_empty() {
            return;
        }
        fence(Ordering::SeqCst);
        if let Some(handling) = worker.handling.try_lock() {
            self.handle_under(worker, handling);
        }
    }

    /// Handles the control packets that wait at a worker, and waits for those that another thread handles. False: there are none.
    fn handle_waiting(self: &Arc<Self>, worker: &Worker) -> bool {
        // In this order: who has taken packets has said before that it handles them, and what handling them has brought is there
        // when it says that it is done.
        if worker.control.is_empty() && !worker.is_handling.load(Ordering::Acquire) && worker.control.is_empty() {
            return false;
        }
        self.handle_under(worker, worker.handling.lock());
        true
    }

    /// Handles what waits at a worker, and lets go of its lock.
    fn handle_under(self: &Arc<Self>, worker: &Worker, handling: MutexGuard<'_, ()>) {
        worker.is_handling.store(true, Ordering::Release);
        let mut arrived = worker.control.take();
        while let Some(packet) = arrived.next_entry() {
            self.handle_control(packet);
        }
        worker.is_handling.store(false, Ordering::Release);
        drop(handling);
        // The worker has seen a packet and then a lock that is taken; here the lock is let go, and then packets are looked for.
        fence(Ordering::SeqCst);
        if !worker.control.is_empty() {
            worker.wake();
        }
    }

    /// Sees to what the machine has sent to itself on CPU `sent_on`: as on Linux, the error that a datagram causes is there when `send`
    /// returns. Called without locks. The packets wait at the worker of the CPU that sent them, or are in that worker's hands; the
    /// calling thread may have moved to another CPU, there and with what it handles itself. What other CPUs have is left to them.
    pub(crate) fn settle(self: &Arc<Self>, sent_on: u32) {
        let mut before = sent_on;
        for _ in 0..SETTLING_ROUNDS_MAX {
            let now = machine::current_cpu();
            let mut was_any = self.handle_waiting(self.worker(before));
            if now != before {
                was_any |= self.handle_waiting(self.worker(now));
            }
            if !was_any {
                break;
            }
            before = now;
        }
    }

    /// Sleeps until there is work for CPU `cpu`, at most until `deadline_ns`. Called by the worker of that CPU only.
    pub fn park(&self, cpu: u32, deadline_ns: u64) {
        let worker = self.worker(cpu);
        if !worker.has_work.load(Ordering::Acquire) && deadline_ns > machine::now_ns() {
            let _is_timed_out = worker.parker.park_until(deadline_ns);
        }
        worker.wakes_ns.store(0, Ordering::Relaxed);
    }

    /// Makes the worker of `cpu` run. Callable from interrupts.
    pub fn wake_worker(&self, cpu: u32) {
        self.worker(cpu).wake();
    }

    /// The link of a device came up or went down: who wants to know is told. Callable from interrupts.
    pub fn note_link_change(&self) {
        self.control().has_link_change.store(true, Ordering::Release);
        self.worker(0).wake();
    }

    /// Has the worker of `cpu` poll a queue of an interface's device ([`crate::Nic::poll`]) until that is empty. Callable from interrupts.
    pub fn request_poll(&self, cpu: u32, interface: &Arc<Interface>, queue: u16) {
        self.worker(cpu).request_poll(Arc::clone(interface), queue);
    }

    /// Has a worker call [`Flow::work`] at `at_ns` at the latest. Sleeps at most for a short lock.
    pub fn set_timer(&self, flow: &Arc<dyn Flow>, at_ns: u64) {
        let state = flow.state();
        if at_ns >= state.timer_ns.load(Ordering::Relaxed) {
            return;
        }
        // A flow's timers stay with the worker that had the first.
        let own = machine::current_cpu();
        let chosen = state.timer_cpu.compare_exchange(NO_CPU, own, Ordering::Relaxed, Ordering::Relaxed);
        self.worker(chosen.err().unwrap_or(own)).set_timer(flow, at_ns);
    }

    /// Takes the timer of a flow back, which holds on to the flow.
    pub fn cancel_timer(&self, flow: &Arc<dyn Flow>) {
        let cpu = flow.state().timer_cpu.load(Ordering::Relaxed);
        if cpu != NO_CPU {
            self.worker(cpu).cancel_timer(flow);
        }
    }

    /// Has the packets of `flow` looked at within a while.
    #[inline]
    pub(crate) fn watch(&self, flow: &Arc<dyn Flow>) {
        if !flow.state().is_watched.load(Ordering::Relaxed) {
            self.own_worker().watch(flow);
        }
    }

    /// Has a worker call [`Flow::work`] at once. Callable from interrupts.
    pub fn poke(&self, flow: Arc<dyn Flow>) {
        self.own_worker().poke(flow);
    }

    fn let_work(self: &Arc<Self>, flow: &Arc<dyn Flow>, now_ns: u64) {
        let at_ns = Arc::clone(flow).work(self, now_ns);
        self.set_timer(flow, at_ns);
    }

    /// Polls each queue that asked for it once. True: one of them has more.
    fn poll_queues(&self, worker: &Worker) -> bool {
        let mut has_more = false;
        for (interface, queue) in worker.polls.take() {
            let Some(nic) = interface.nic() else { continue };
            if nic.poll(queue, BATCH_MAX) {
                has_more = true;
                worker.request_poll(interface, queue);
            }
        }
        has_more
    }

    /// Looks whether devices go on with what they are to send.
    fn look_at_devices(&self, now_ns: u64) -> u64 {
        let snapshot = self.interfaces().snapshot();
        let nics = snapshot.interfaces().iter().filter_map(|interface| interface.nic());
        let is_busy = nics.filter(|nic| nic.look_at_queues()).count() > 0;
        if is_busy { now_ns.saturating_add(DEVICE_NS) } else { NEVER }
    }

    fn look_at_watched(self: &Arc<Self>, worker: &Worker, now_ns: u64) {
        if !worker.lookout.begin(now_ns, WATCH_NS) {
            return;
        }
        for flow in worker.watched.take() {
            // Before its packets are looked for: who queues one finds either this, or that it is not watched.
            flow.state().is_watched.store(false, Ordering::SeqCst);
            if flow.has_packets() {
                self.let_work(&flow, now_ns);
            }
        }
    }
}

/// Where a flow lies: tells flows apart that are alive.
fn address_of(flow: &Arc<dyn Flow>) -> usize {
    Arc::as_ptr(flow).cast::<()>().addr()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::nic::NicFeatures;
    use crate::test_support::{receive, stack_with_nic};

    /// A question for 10.0.0.1 (RFC 826).
    fn question() -> Vec<u8> {
        let mut frame = [&[0xff; 6], &crate::test_support::PEER_MAC[..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
        frame.extend(crate::test_support::PEER_MAC);
        frame.extend([10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
        frame
    }

    #[test]
    fn the_worker_does_not_wait_for_who_handles_its_packets() {
        let (stack, nic, interface) = stack_with_nic(NicFeatures::empty());
        let worker = stack.worker(0);
        thread::scope(|scope| {
            let handling = worker.handling.lock();
            let waiting = scope.spawn(|| receive(&stack, &interface, &question()));
            waiting.join().unwrap();
            // It went on to sleep, and the packet is there.
            assert!(nic.take().is_empty() && !worker.control.is_empty());
            assert!(!worker.has_work.load(Ordering::Relaxed));
            drop(handling);
        });
        // Who has left it there, or the worker when it is woken.
        assert!(stack.handle_waiting(worker));
        assert_eq!((nic.take().len(), worker.has_work.load(Ordering::Relaxed)), (1, false));
    }
}
