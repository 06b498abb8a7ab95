//! Short ways for what a CPU does most: an ordinary thread of nice 0 wakes another such thread, and blocks.
//!
//! Each does what the general operation would have done, or nothing: then that is to be called. What they suppose is
//! what makes the work short: weights of one unit cost what they grow, a segment of the decay has one slope, and
//! without real-time threads the heap alone says who is next. The tests compare them with the general ones.

use super::{Arrival, CREDIT_NS, DEBT_MAX_NS, GRANULE_MIN_NS, GRANULE_NS, RunQueue, UNCROWDED_WEIGHT, WAKE_MARGIN_NS};
use crate::node::{Nodes, Place, ThreadId};
use crate::policy::WEIGHT_UNIT;
use crate::realtime::End;

impl RunQueue {
    /// [`enqueue`](Self::enqueue) without a look at the clock, for a thread that wakes where it fell asleep: section 3.
    /// None: it is not entered, as the time is needed. Else a timer that fires at `alarm_ns` is early enough.
    #[inline]
    pub fn enqueue_woken<N: Nodes + ?Sized>(
        &mut self,
        nodes: &N,
        id: ThreadId,
        arrival: Arrival,
        alarm_ns: u64,
    ) -> Option<bool> {
        let is_released = match arrival {
            Arrival::Woken => false,
            Arrival::Released => true,
            Arrival::New | Arrival::Moved => return None,
        };
        let node = nodes.node(id);
        let key = node.key.get();
        let slope = self.segment.slope();
        let is_ordinary = node.is_plain() && node.cpu() == self.cpu as usize && node.base.get() == self.base;
        let is_placed =
            key.wrapping_sub(self.floor.saturating_sub(slope * CREDIT_NS)) <= slope * (CREDIT_NS + DEBT_MAX_NS);
        if !self.is_plain || !is_ordinary || !is_placed || !self.realtime.is_empty() {
            return None;
        }
        let is_behind = || {
            let left = (self.least_key.min(key) + self.granule).saturating_sub(self.running_key);
            key + slope * WAKE_MARGIN_NS >= self.running_key
                && self.segment.growth_between(self.charged_ns, alarm_ns).is_some_and(|grown| grown <= left)
        };
        let is_soon = is_released && alarm_ns <= self.turn_ns + 2 * GRANULE_MIN_NS;
        if !is_soon && !is_behind() {
            return None;
        }
        debug_assert_eq!(node.place(), Place::Off, "{id:?} is in a queue");
        node.arrive(self.cpu);
        self.count(node.weight(), true);
        self.insert(nodes, id, node, End::Last);
        // A policy that was changed meanwhile is looked at by a choice.
        Some(!node.is_plain())
    }

    /// The rest of [`enqueue`](Self::enqueue) for an ordinary thread that wakes where it fell asleep while another one
    /// runs. None: nothing is done.
    #[inline]
    pub(super) fn enter_ordinary<N: Nodes + ?Sized>(
        &mut self,
        nodes: &N,
        id: ThreadId,
        now_ns: u64,
        arrival: Arrival,
    ) -> Option<bool> {
        let node = nodes.node(id);
        let is_awake = matches!(arrival, Arrival::Woken | Arrival::Released);
        if !is_awake || !self.is_ordinary_time(now_ns) || !node.is_plain() || node.base.get() != self.base {
            return None;
        }
        self.charge_ordinary(now_ns);
        let slope = self.segment.slope();
        let least = self.floor.saturating_sub(slope * CREDIT_NS);
        let key = node.key.get().clamp(least, self.floor + slope * DEBT_MAX_NS);
        node.key.set(key);
        self.weight += u64::from(WEIGHT_UNIT);
        self.runnable += 1;
        self.fair.insert(nodes, id, node);
        self.least_key = self.least_key.min(key);
        let has_begun = arrival == Arrival::Released && now_ns - self.turn_ns < GRANULE_MIN_NS;
        Some(!has_begun && key + slope * WAKE_MARGIN_NS < self.running_key)
    }

    /// [`schedule`](Self::schedule) for an ordinary thread that blocks while another one is next. None: nothing is
    /// done.
    #[inline]
    pub(super) fn hand_over<N: Nodes + ?Sized>(&mut self, nodes: &N, now_ns: u64) -> Option<ThreadId> {
        let (left, next) = (self.current?, self.fair.first()?);
        let next_node = nodes.node(next);
        // A crowded queue has shorter turns.
        if !self.is_ordinary_time(now_ns) || !next_node.is_plain() || self.weight > UNCROWDED_WEIGHT {
            return None;
        }
        self.charge_ordinary(now_ns);
        let left_node = nodes.node(left);
        left_node.add_runtime(now_ns - self.turn_ns);
        left_node.key.set(self.running_key);
        left_node.set_place(Place::Off);
        left_node.base.set(self.base);
        left_node.lag.set(self.running_key.wrapping_sub(self.floor));
        left_node.off_since_ns.set(now_ns);
        self.weight -= u64::from(WEIGHT_UNIT);
        self.runnable -= 1;
        self.running_key = self.least_key;
        self.fair.remove(nodes, next, next_node);
        self.note_least(nodes);
        next_node.set_place(Place::Running);
        self.current = Some(next);
        self.turn_ns = now_ns;
        self.granule = self.segment.slope() * GRANULE_NS;
        Some(next)
    }

    /// True if an ordinary thread runs, none waits that is more than fair, and the time is in the segment.
    #[inline]
    fn is_ordinary_time(&self, now_ns: u64) -> bool {
        self.is_plain && self.realtime.is_empty() && now_ns >= self.now_ns && !self.segment.ends_by(now_ns)
    }

    /// [`advance`](Self::advance) at such a time.
    #[inline]
    fn charge_ordinary(&mut self, now_ns: u64) {
        let grown = self.segment.growth(now_ns);
        self.running_key += grown - self.grown;
        self.floor = self.floor.max(self.least_key.min(self.running_key));
        (self.now_ns, self.charged_ns, self.grown) = (now_ns, now_ns, grown);
    }
}
