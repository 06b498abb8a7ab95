//! [`RunQueue`]: the threads of one CPU and the choice between them.
//!
//! # 1. Order
//!
//! Real-time threads go first, strictly by priority. Fair threads go by their key, the least first: [`crate::decay`] says what a
//! key is. The running thread is in neither structure. Behind `sync::rank::RUN_QUEUE`; nothing here allocates, and every
//! operation is O(log n), but for moving the base (O(n), once in [`decay::EPOCHS_MAX`] half-lives, a second) and taking a thread
//! for another CPU ([`SEARCH_MAX`] steps).
//!
//! # 2. Turns
//!
//! A fair thread runs until its key is one granule ([`GRANULE_NS`] of its own running, less for threads of less weight and when the round, [`ROUND_NS`], is crowded) above the
//! least that waits. When nobody waits there is no end to its turn, and no timer: [`RunQueue::next_event`] is none.
//!
//! # 3. Placing
//!
//! The floor is the greatest value that the least runnable key has had; it never falls. With `k` the units that a nanosecond of
//! the thread's running costs, a thread is placed
//!
//! - when it wakes: where it was, but not below `floor - CREDIT_NS * k`: it keeps a small lead for having slept, no more;
//! - when it wakes elsewhere: as far from that floor as it was from its old one when it fell asleep, less what the floor here would
//!   have risen since, with the same limit;
//! - when it is moved: as far from the new floor as from the old;
//! - when it is new: at `floor + granule * k`, after all that wait already, so that no stream of new threads starves an old one.
//!
//! No key is placed above `floor + DEBT_MAX_NS * k`.
//!
//! [`RunQueue::enqueue_woken`] is the first of these without the time, for threads of nice 0: by the floor and the keys as of the
//! last call that gave it. It refuses where that could matter: a key that a limit would change, a thread that preempts, and a turn
//! that would end before the timer that is set. So the running thread has run for less than a granule beyond the key of the woken
//! one, by so much is the floor behind for a while, and not even the right one would have lifted the key. A thread that is
//! ahead by the margin only since the last call waits for the end of the turn. Who is released waits for the end of the shortest
//! turn in any case, and is taken when the timer is set for that.
//!
//! # 4. The bound
//!
//! Let a fair thread `i` wait. Its key is at most `floor + G * k_i` (it ran only while its key was less than one granule `G` above the
//! least, and the floor only rises), and it runs at the latest when all others have passed it. Another thread `j` has a key of at
//! least `floor - C * k_j` (`C` the credit) however often it sleeps and wakes in the meantime, since keys never fall, and passes
//! `i` by less than a granule; a floor that is behind may cost another one. So while `i` waits, `j` runs for at most
//!
//! ```text
//! C + 2 * G + G * w_j / w_i
//! ```
//!
//! nanoseconds altogether, and the wait is at most the sum of that over the other fair threads that are runnable at any time of the
//! wait (the slope of the decay only shortens it), plus what real-time threads take, plus the lateness of the timer. Among `n` threads
//! of nice 0: `(n - 1) * 7.5 ms`. Threads that are created during the wait come after `i` if their weight is no greater.
//!
//! A thread that yields goes behind the first that waits, and so gives its claim up: for it the bound begins there.
//!
//! That is the worst case. Who has slept long enough to have its credit preempts at once: its key is `CREDIT_NS` below the floor,
//! more than [`WAKE_MARGIN_NS`] below the running thread's.
//!
//! # 5. What it does not do
//!
//! Real-time threads are not throttled in favour of others. It wakes nobody, sends no interrupt and knows no other CPU.

use crate::balance::{Load, Waiting};
use crate::decay::{self, Segment};
use crate::heap::Heap;
use crate::node::{CpuSet, Node, Nodes, Place, ThreadId};
use crate::policy::{Policy, Urgency, WEIGHT_UNIT, Weight};
use crate::realtime::{End, Realtime};

/// How far a running thread of nice 0 or above in weight goes beyond those that wait, in its own running time.
pub const GRANULE_NS: u64 = 1_500_000;

/// The least granule, that of nice 19 and below. A granule that is a light thread's part of a time near the half-life would be half
/// forgotten before it is paid for; in proportion to the weight, it costs what one of nice 0 does.
pub const GRANULE_MIN_NS: u64 = GRANULE_NS / 64;

/// In which all have a turn, if their parts of it are not below [`GRANULE_MIN_NS`]. Granules shrink to that: what a thread runs is
/// discounted until the others have run as much, so the time between its turns must be short beside the half-life.
pub const ROUND_NS: u64 = 12_000_000;

/// The most that a sleeper is ahead when it wakes, in its own running time.
pub const CREDIT_NS: u64 = 3_000_000;

/// How far a woken thread must be ahead of the running one to preempt it, in its own running time.
pub const WAKE_MARGIN_NS: u64 = 1_000_000;

/// The farthest behind that a thread is placed, in its own running time.
pub const DEBT_MAX_NS: u64 = 2 * GRANULE_NS;

/// Up to this much weight of runnable threads, a round has room for whole granules.
const UNCROWDED_WEIGHT: u64 = ROUND_NS / GRANULE_NS * WEIGHT_UNIT as u64;

/// The turn of a `SCHED_RR` thread; Linux's, which `sched_rr_get_interval` reports.
pub const ROUND_ROBIN_NS: u64 = 100_000_000;

/// How many waiting threads are looked at to find one for another CPU.
pub const SEARCH_MAX: usize = 256;

/// How a thread comes to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has never run.
    New,
    /// It was blocked.
    Woken,
    /// It was blocked, and who woke it goes on with something else, as one does who lets go of a lock. It does not preempt a thread
    /// whose turn has just begun ([`GRANULE_MIN_NS`]).
    Released,
    /// It was taken from another queue, where it was runnable.
    Moved,
}

/// Why the running thread gives the CPU up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Another has come or its turn is over; it stays runnable.
    Preempted,
    /// It asked to go behind the others; it stays runnable.
    Yields,
    /// It waits for something, or has ended.
    Blocks,
    /// It is runnable, but not here: the caller hands it to another CPU once it no longer runs on its stack.
    Moves,
}

/// The runnable threads of one CPU.
#[derive(Debug)]
pub struct RunQueue {
    cpu: u32,
    /// The last time that a caller gave.
    now_ns: u64,
    /// The epoch to which all keys here refer.
    base: u64,
    /// See section 3.
    floor: u64,
    current: Option<ThreadId>,
    /// The policy in force of the running thread; of no meaning without one.
    running: Policy,
    /// The weight that goes with it.
    running_weight: Weight,
    /// A thread runs, and it is an ordinary one of nice 0.
    is_plain: bool,
    /// The key of the running thread, if that is a fair one. Its node has it when the turn is over.
    running_key: u64,
    /// When the turn of the running thread began.
    turn_ns: u64,
    /// The key of the first fair thread that waits; [`u64::MAX`] without one.
    least_key: u64,
    /// Since when the running thread has not been charged.
    charged_ns: u64,
    /// [`decay::growth`] at that time.
    grown: u64,
    /// That of `now_ns`, once there was a time.
    segment: Segment,
    /// The granule of the running thread in units of when its turn began, so that its end stays where it is.
    granule: u64,
    fair: Heap,
    realtime: Realtime,
    /// Of all runnable threads.
    weight: u64,
    runnable: u32,
}

impl RunQueue {
    /// The queue of a CPU without threads.
    #[must_use]
    pub const fn new(cpu: u32) -> Self {
        Self {
            cpu,
            now_ns: 0,
            base: 0,
            floor: 0,
            current: None,
            running: Policy::Idle,
            running_weight: Weight::UNIT,
            is_plain: false,
            running_key: 0,
            turn_ns: 0,
            least_key: u64::MAX,
            charged_ns: 0,
            grown: 0,
            segment: Segment::NONE,
            granule: 0,
            fair: Heap::new(),
            realtime: Realtime::new(),
            weight: 0,
            runnable: 0,
        }
    }

    /// The running thread.
    #[must_use]
    pub const fn current(&self) -> Option<ThreadId> {
        self.current
    }

    /// What the CPU has to do, for others to see.
    #[inline]
    #[must_use]
    pub fn load(&self) -> Load {
        let running = if self.current.is_some() { self.running.urgency() } else { Urgency::NOTHING };
        Load { weight: self.weight, runnable: self.runnable, running }
    }

    /// Adds a thread that is in no queue. True: it should run now, call [`schedule`](Self::schedule) with
    /// [`Leave::Preempted`] as soon as the running thread can be interrupted.
    #[inline]
    pub fn enqueue<N: Nodes + ?Sized>(&mut self, nodes: &N, id: ThreadId, now_ns: u64, arrival: Arrival) -> bool {
        let node = nodes.node(id);
        debug_assert_eq!(node.place(), Place::Off, "{id:?} is in a queue");
        let is_home = node.cpu() == self.cpu as usize;
        node.arrive(self.cpu);
        let quickly = if is_home { self.enter_ordinary(nodes, id, now_ns, arrival) } else { None };
        quickly.unwrap_or_else(|| self.enter(nodes, id, now_ns, arrival, is_home))
    }

    /// [`enqueue`](Self::enqueue) in general, of a thread that has arrived.
    fn enter<N: Nodes + ?Sized>(
        &mut self,
        nodes: &N,
        id: ThreadId,
        now_ns: u64,
        arrival: Arrival,
        is_home: bool,
    ) -> bool {
        self.advance(nodes, now_ns);
        let node = nodes.node(id);
        node.key.set(self.placed(node, arrival, is_home));
        self.count(node.weight(), true);
        self.insert(nodes, id, node, End::Last);
        self.is_preempted_by(node, arrival)
    }

    /// Removes a waiting thread, to hand it to another CPU or because it ends.
    pub fn remove<N: Nodes + ?Sized>(&mut self, nodes: &N, id: ThreadId, now_ns: u64) {
        self.advance(nodes, now_ns);
        let node = nodes.node(id);
        self.unlink(nodes, id, node);
        self.detach(node);
    }

    /// Ends the turn of the running thread, if there is one, and chooses the next; it may be the same. None: the CPU is idle.
    #[inline]
    pub fn schedule<N: Nodes + ?Sized>(&mut self, nodes: &N, now_ns: u64, leave: Leave) -> Option<ThreadId> {
        let next = if leave == Leave::Blocks { self.hand_over(nodes, now_ns) } else { None };
        next.or_else(|| self.choose(nodes, now_ns, leave))
    }

    /// [`schedule`](Self::schedule) in general.
    fn choose<N: Nodes + ?Sized>(&mut self, nodes: &N, now_ns: u64, leave: Leave) -> Option<ThreadId> {
        self.advance(nodes, now_ns);
        let current = self.current.take().map(|id| (id, nodes.node(id)));
        self.is_plain = false;
        if let Some((_, node)) = current {
            self.settle(node);
        }
        let (id, node) = match current {
            Some(current) if matches!(leave, Leave::Preempted | Leave::Yields) && self.is_all_fair() => {
                self.exchange(nodes, current, leave)
            }
            Some(current) => {
                self.put_back(nodes, current, leave);
                self.take_first(nodes)?
            }
            None => self.take_first(nodes)?,
        };
        node.set_place(Place::Running);
        if node.quantum_ns.get() == 0 {
            node.quantum_ns.set(ROUND_ROBIN_NS);
        }
        self.current = Some(id);
        self.begin_turn(node);
        Some(id)
    }

    /// True if neither the running thread nor any that waits is a real-time one.
    #[inline]
    fn is_all_fair(&self) -> bool {
        self.running.is_fair() && self.realtime.is_empty()
    }

    /// Chooses between the fair thread that ran and the first that waits, and puts the other in the heap.
    fn exchange<'a, N: Nodes + ?Sized>(
        &mut self,
        nodes: &'a N,
        current: (ThreadId, &'a Node),
        leave: Leave,
    ) -> (ThreadId, &'a Node) {
        let Some(first) = self.fair.first() else { return current };
        let (id, node) = current;
        if leave == Leave::Yields {
            node.key.set(self.running_key.max(self.least_key + 1));
        } else if self.running_key < self.least_key {
            return current;
        }
        let first_node = nodes.node(first);
        self.unlink(nodes, first, first_node);
        self.insert(nodes, id, node, End::Last);
        (first, first_node)
    }

    /// Puts the thread that ran where it belongs now.
    fn put_back<N: Nodes + ?Sized>(&mut self, nodes: &N, (id, node): (ThreadId, &Node), leave: Leave) {
        match leave {
            Leave::Preempted if node.quantum_ns.get() != 0 => self.insert(nodes, id, node, End::First),
            Leave::Preempted | Leave::Yields => self.insert(nodes, id, node, End::Last),
            Leave::Blocks | Leave::Moves => self.detach(node),
        }
    }

    /// Takes the thread that goes first.
    #[inline]
    fn take_first<'a, N: Nodes + ?Sized>(&mut self, nodes: &'a N) -> Option<(ThreadId, &'a Node)> {
        let next = self.realtime.first().or_else(|| self.fair.first())?;
        let node = nodes.node(next);
        self.unlink(nodes, next, node);
        Some((next, node))
    }

    /// Charges the running thread. True: its turn is over, call [`schedule`](Self::schedule) with [`Leave::Preempted`].
    pub fn tick<N: Nodes + ?Sized>(&mut self, nodes: &N, now_ns: u64) -> bool {
        self.advance(nodes, now_ns);
        self.next_event(nodes).is_some_and(|at_ns| at_ns <= self.now_ns)
    }

    /// When to call [`tick`](Self::tick) next, as of the last call that gave the time. None: the running thread may run as long as
    /// it likes, stop the timer.
    pub fn next_event<N: Nodes + ?Sized>(&self, nodes: &N) -> Option<u64> {
        let node = nodes.node(self.current?);
        if let Some(priority) = node.priority() {
            let takes_turns = matches!(node.in_force(), Policy::RoundRobin { .. }) && self.realtime.has(priority);
            return takes_turns.then(|| self.charged_ns + node.quantum_ns.get());
        }
        if !self.realtime.is_empty() {
            return Some(self.now_ns);
        }
        self.fair.first()?;
        let target = self.grown.saturating_add(self.running_weight.amount(self.left_of_turn()));
        Some(self.segment.time_of(target, self.charged_ns, self.base))
    }

    /// True if [`next_event`](Self::next_event) is surely not before `alarm_ns`, which is found out at once: who has a timer that
    /// fires then need not ask.
    #[inline]
    #[must_use]
    pub fn has_no_event_before(&self, alarm_ns: u64) -> bool {
        let grown = |grown: u64| self.running_weight.cost(grown) <= self.left_of_turn();
        let is_late = || self.segment.growth_between(self.charged_ns, alarm_ns).is_some_and(grown);
        self.is_all_fair() && (self.least_key == u64::MAX || is_late())
    }

    /// What the running fair thread may run beyond its key until its turn is over.
    #[inline]
    fn left_of_turn(&self) -> u64 {
        self.least_key.saturating_add(self.granule).saturating_sub(self.running_key)
    }

    /// Where a thread is that may be in this queue; [`Place::Off`] if it is not, but in another or in none.
    pub fn place<N: Nodes + ?Sized>(&self, nodes: &N, id: ThreadId) -> Place {
        let node = nodes.node(id);
        // The place first: it may be that of another queue, which has said before which CPU it is of.
        let place = node.place();
        if node.cpu() == self.cpu as usize { place } else { Place::Off }
    }

    /// Follows a change of a thread's policy ([`Node::set_policy`]); of no effect if the thread is not in this queue. True: call
    /// [`schedule`](Self::schedule) with [`Leave::Preempted`].
    pub fn follow_policy<N: Nodes + ?Sized>(&mut self, nodes: &N, id: ThreadId, now_ns: u64) -> bool {
        let node = nodes.node(id);
        let (place, old) = (self.place(nodes, id), node.in_force());
        if place == Place::Off || node.policy() == old {
            return false;
        }
        self.advance(nodes, now_ns);
        let is_waiting = place == Place::Queued;
        if is_waiting {
            self.unlink(nodes, id, node);
        } else {
            self.settle(node);
        }
        self.count(old.weight(), false);
        let policy = node.follow_policy();
        self.count(policy.weight(), true);
        node.key.set(self.reweighed(node.key.get(), old, policy));
        node.quantum_ns.set(ROUND_ROBIN_NS);
        if is_waiting {
            // A thread whose priority is lowered goes before its new peers, see sched_setscheduler(2).
            let end = if old.priority() > policy.priority() { End::First } else { End::Last };
            self.insert(nodes, id, node, end);
            return self.is_preempted_by(node, Arrival::Moved);
        }
        self.begin_turn(node);
        let waiting = self.realtime.first().or_else(|| self.fair.first());
        waiting.is_some_and(|waiting| self.is_preempted_by(nodes.node(waiting), Arrival::Moved))
    }

    /// How long a thread of this queue, or of none, has run by now.
    pub fn runtime_ns<N: Nodes + ?Sized>(&self, nodes: &N, id: ThreadId, now_ns: u64) -> u64 {
        let since_ns = if self.current == Some(id) { now_ns.saturating_sub(self.turn_ns) } else { 0 };
        nodes.node(id).runtime_ns().saturating_add(since_ns)
    }

    /// What waits here, for [`balance::helper`](crate::balance::helper); of many, some.
    pub fn waiting<N: Nodes + ?Sized>(&self, nodes: &N) -> Waiting {
        let none = Waiting { cpus: CpuSet(0), least: u64::MAX };
        self.realtime.iter(nodes).chain(self.fair.iter(nodes)).take(SEARCH_MAX).fold(none, |all, id| {
            let node = nodes.node(id);
            let cpus = CpuSet(all.cpus.0 | node.affinity().0);
            Waiting { cpus, least: all.least.min(u64::from(node.weight().value())) }
        })
    }

    /// Takes a waiting thread that may run on the CPU `cpu`, whose load is `load`, and that gains by it (see [`crate::balance`]).
    /// The caller hands it over as [`Arrival::Moved`].
    pub fn take_for<N: Nodes + ?Sized>(&mut self, nodes: &N, cpu: usize, load: Load, now_ns: u64) -> Option<ThreadId> {
        let surplus = self.load().surplus_over(load)?;
        let evenness = |id: &ThreadId| surplus.abs_diff(2 * u64::from(nodes.node(*id).weight().value()));
        let chosen = self
            .realtime
            .iter(nodes)
            .chain(self.fair.iter(nodes))
            .take(SEARCH_MAX)
            .filter(|id| nodes.node(*id).affinity().contains(cpu))
            .filter(|id| u64::from(nodes.node(*id).weight().value()) < surplus)
            .min_by_key(evenness)?;
        self.remove(nodes, chosen, now_ns);
        Some(chosen)
    }

    /// Brings the queue to the time: charges the running thread, moves base and floor. Time does not go backwards.
    #[inline]
    fn advance<N: Nodes + ?Sized>(&mut self, nodes: &N, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        if self.segment.ends_by(self.now_ns) {
            self.enter_segment(nodes);
        }
        let grown = self.segment.growth(self.now_ns);
        let mut least = self.least_key;
        if let Some(id) = self.current {
            if self.running.is_fair() {
                self.running_key += self.running_weight.cost(grown - self.grown);
                least = least.min(self.running_key);
            } else if let Policy::RoundRobin { .. } = self.running {
                let (node, ran_ns) = (nodes.node(id), self.now_ns - self.charged_ns);
                node.quantum_ns.set(node.quantum_ns.get().saturating_sub(ran_ns));
            }
        }
        (self.charged_ns, self.grown) = (self.now_ns, grown);
        if least != u64::MAX {
            self.floor = self.floor.max(least);
        }
    }

    /// Begins the segment of the time, and another base if the present one is too old.
    #[cold]
    fn enter_segment<N: Nodes + ?Sized>(&mut self, nodes: &N) {
        let epoch = decay::epoch(self.now_ns);
        if epoch - self.base >= decay::EPOCHS_MAX {
            self.rebase(nodes, epoch);
        }
        self.segment = Segment::of(self.now_ns, self.base);
    }

    /// Moves all keys to a later base. A shift keeps their order, so the heap stays as it is.
    fn rebase<N: Nodes + ?Sized>(&mut self, nodes: &N, epoch: u64) {
        for id in self.fair.iter(nodes) {
            let key = &nodes.node(id).key;
            key.set(decay::rescale_from(key.get(), self.base, epoch));
        }
        self.running_key = decay::rescale_from(self.running_key, self.base, epoch);
        self.note_least(nodes);
        self.floor = decay::rescale_from(self.floor, self.base, epoch);
        self.granule = decay::rescale_from(self.granule, self.base, epoch);
        self.base = epoch;
        self.grown = decay::growth(self.charged_ns, epoch);
    }

    /// Gives the node of the running thread what was kept here during its turn.
    #[inline]
    fn settle(&self, node: &Node) {
        node.add_runtime(self.now_ns - self.turn_ns);
        if self.running.is_fair() {
            node.key.set(self.running_key);
        }
    }

    /// The thread of `node` runs from now on.
    #[inline]
    fn begin_turn(&mut self, node: &Node) {
        self.running_key = node.key.get();
        self.turn_ns = self.now_ns;
        self.is_plain = node.is_plain();
        if self.is_plain && self.weight <= UNCROWDED_WEIGHT {
            self.running = Policy::Other { nice: 0 };
            self.running_weight = Weight::UNIT;
            self.granule = self.segment.slope() * GRANULE_NS;
        } else {
            self.begin_special_turn(node);
        }
    }

    /// The rest of [`begin_turn`](Self::begin_turn) in general.
    #[inline(never)]
    fn begin_special_turn(&mut self, node: &Node) {
        let weight = node.weight();
        self.running = node.in_force();
        self.running_weight = weight;
        let mut granule_ns = granule_ns(weight);
        if self.weight > UNCROWDED_WEIGHT {
            let part_ns = ROUND_NS * u64::from(weight.value()) / self.weight;
            granule_ns = granule_ns.min(part_ns.max(GRANULE_MIN_NS));
        }
        self.granule = self.units(granule_ns, weight);
    }

    /// The key of an arriving thread: section 3.
    fn placed(&self, node: &Node, arrival: Arrival, is_home: bool) -> u64 {
        let weight = node.weight();
        let from = node.base.get();
        let key = match arrival {
            Arrival::New => self.floor + self.units(granule_ns(weight), weight) + 1,
            Arrival::Woken | Arrival::Released if is_home => decay::rescale_from(node.key.get(), from, self.base),
            Arrival::Woken | Arrival::Released => {
                let slept_ns = self.now_ns.saturating_sub(node.off_since_ns.get());
                let rate = u64::from(WEIGHT_UNIT);
                let risen_ns = slept_ns.min(decay::HALF_LIFE_NS) * rate / (self.weight + u64::from(weight.value()));
                let risen = risen_ns * self.segment.slope();
                self.key_with_lag(node).saturating_sub(risen)
            }
            Arrival::Moved => self.key_with_lag(node),
        };
        let least = self.floor.saturating_sub(self.units(CREDIT_NS, weight));
        key.clamp(least, self.floor + self.units(DEBT_MAX_NS, weight))
    }

    /// A key as far from the floor here as the thread was from the one it left.
    fn key_with_lag(&self, node: &Node) -> u64 {
        let lag = node.lag.get().cast_signed();
        let size = decay::rescale_from(lag.unsigned_abs(), node.base.get(), self.base);
        if lag < 0 { self.floor.saturating_sub(size) } else { self.floor.saturating_add(size) }
    }

    /// The key after a change of policy: as far from the floor as before in the thread's own running time.
    fn reweighed(&self, key: u64, old: Policy, new: Policy) -> u64 {
        let weight = new.weight();
        if new.priority().is_some() {
            return key;
        }
        if old.priority().is_some() {
            return self.floor + self.units(granule_ns(weight), weight) + 1;
        }
        let per_unit = weight.cost(key.abs_diff(self.floor)) / u64::from(WEIGHT_UNIT);
        let distance = per_unit.saturating_mul(u64::from(old.weight().value()));
        if key < self.floor {
            self.floor - distance.min(self.units(CREDIT_NS, weight)).min(self.floor)
        } else {
            self.floor + distance.min(self.units(DEBT_MAX_NS, weight))
        }
    }

    /// True if `id`, which waits, should run instead of the running thread.
    #[inline]
    fn is_preempted_by(&self, new: &Node, arrival: Arrival) -> bool {
        if self.current.is_none() {
            return true;
        }
        let priorities = (new.priority(), self.running.priority());
        if priorities != (None, None) {
            return priorities.0 > priorities.1;
        }
        let margin_ns = if self.running == Policy::Idle { 0 } else { WAKE_MARGIN_NS };
        let turn_min_ns = if arrival == Arrival::Released && margin_ns > 0 { GRANULE_MIN_NS } else { 0 };
        let is_ahead = new.key.get() + self.units(margin_ns, new.weight()) < self.running_key;
        is_ahead
            && self.now_ns - self.turn_ns >= turn_min_ns
            && !matches!(new.in_force(), Policy::Idle | Policy::Batch { .. })
    }

    #[inline]
    fn insert<N: Nodes + ?Sized>(&mut self, nodes: &N, id: ThreadId, node: &Node, end: End) {
        node.set_place(Place::Queued);
        match node.priority() {
            Some(priority) => self.realtime.insert(nodes, id, priority, end),
            None => {
                self.fair.insert(nodes, id, node);
                self.least_key = self.least_key.min(node.key.get());
            }
        }
    }

    #[inline(always)]
    fn unlink<N: Nodes + ?Sized>(&mut self, nodes: &N, id: ThreadId, node: &Node) {
        debug_assert!(node.place() == Place::Queued && node.cpu() == self.cpu as usize, "{id:?} does not wait here");
        match node.priority() {
            Some(priority) => self.realtime.remove(nodes, id, priority),
            None => {
                self.fair.remove(nodes, id, node);
                self.note_least(nodes);
            }
        }
    }

    /// Looks again whose key is the least of those that wait.
    #[inline]
    fn note_least<N: Nodes + ?Sized>(&mut self, nodes: &N) {
        self.least_key = self.fair.first().map_or(u64::MAX, |id| nodes.node(id).key.get());
    }

    /// Notes where an unlinked thread stands, for its next arrival.
    #[inline]
    fn detach(&mut self, node: &Node) {
        self.count(node.weight(), false);
        node.set_place(Place::Off);
        node.base.set(self.base);
        if node.priority().is_some() {
            // The key was not kept up meanwhile.
            node.key.set(self.floor);
        }
        node.lag.set(node.key.get().wrapping_sub(self.floor));
        node.off_since_ns.set(self.now_ns);
    }

    fn count(&mut self, weight: Weight, comes: bool) {
        let value = u64::from(weight.value());
        if comes {
            self.weight += value;
            self.runnable += 1;
        } else {
            self.weight -= value;
            self.runnable -= 1;
        }
    }

    /// The units that this much running of such a thread costs now.
    fn units(&self, duration_ns: u64, weight: Weight) -> u64 {
        self.segment.units(duration_ns, weight)
    }
}

/// The granule of a thread of this weight.
#[must_use]
pub fn granule_ns(weight: Weight) -> u64 {
    (GRANULE_NS * u64::from(weight.value()) / u64::from(WEIGHT_UNIT)).clamp(GRANULE_MIN_NS, GRANULE_NS)
}

mod quick;
#[cfg(not(loom))]
#[cfg(test)]
mod tests;
