//! The one wait loop: where threads sleep for files, times and signals.
//!
//! Files never block; they answer that they would, and wake their queue when that changes. The loop here makes blocking
//! calls of this: enter the queues, look, sleep, look again. A thread is in all its queues before it looks, so no wake is
//! lost; a wake that finds nothing for the thread only makes it look once more. Where one thread suffices for an event, those
//! who wait take turns ([`until_turn`]), and who gives up or leaves something behind wakes the next.
//!
//! Waits end early with [`Interrupted`] when a signal is to be delivered or the process ends. Who waits for something
//! that must not be interrupted (a page, a lock) does not wait here.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::array;

use abi::{Errno, PollEvents};
use file::{IoResult, OpenFile, Progress};
use sync::machine::{self, NEVER};
use sync::{Turn, WaitNode, WaitQueue};

use crate::SyscallResult;
use crate::error::{Interrupted, SyscallError};
use crate::thread::Thread;

/// Queues of one wait that need no memory of the heap, but for nodes that the thread keeps for its next wait.
pub(crate) const FEW: usize = 4;

/// A node that wakes the thread: its own, unless that is in use.
#[inline]
fn node_for(thread: &Thread, events: PollEvents, is_exclusive: bool) -> Arc<WaitNode> {
    let own = thread.wait_node();
    if own.is_queued() {
        return other_node_for(thread, events, is_exclusive);
    }
    own.reset((events | PollEvents::ALWAYS).bits(), is_exclusive);
    Arc::clone(own)
}

/// A node that the thread has kept, or a new one.
#[cold]
fn other_node_for(thread: &Thread, events: PollEvents, is_exclusive: bool) -> Arc<WaitNode> {
    let events = (events | PollEvents::ALWAYS).bits();
    match thread.take_spare_node() {
        Some(node) => {
            node.reset(events, is_exclusive);
            node
        }
        None => WaitNode::with_events(Arc::clone(thread.parker()) as _, events, is_exclusive),
    }
}

/// A thread's place in one wait queue; left when dropped.
struct Registration<'a> {
    queue: &'a WaitQueue,
    node: Arc<WaitNode>,
}

impl<'a> Registration<'a> {
    fn new(thread: &Thread, source: Source<'a>) -> Self {
        let node = node_for(thread, source.events, false);
        source.queue.add(&node);
        Self { queue: source.queue, node }
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.queue.remove(&self.node);
    }
}

/// A thread's places in several queues, other than the first; left when dropped.
struct Registrations<'a> {
    thread: &'a Thread,
    few: [Option<Registration<'a>>; FEW - 1],
    _many: Vec<Registration<'a>>,
}

impl<'a> Registrations<'a> {
    fn new(thread: &'a Thread, mut sources: impl Iterator<Item = Source<'a>>) -> Self {
        let few = array::from_fn(|_| sources.next().map(|source| Registration::new(thread, source)));
        Self { thread, few, _many: sources.map(|source| Registration::new(thread, source)).collect() }
    }
}

impl Drop for Registrations<'_> {
    fn drop(&mut self) {
        for registration in self.few.iter_mut().filter_map(Option::take) {
            let node = Arc::clone(&registration.node);
            drop(registration);
            self.thread.keep_spare_node(node);
        }
    }
}

/// Repeats `operation`, which moves bytes of `open`, until it is done. In `O_NONBLOCK` mode it is tried once.
///
/// `events` are those that make another try worth while. Interrupted, the call restarts as `SA_RESTART` says.
pub fn until_ready(
    thread: &Thread,
    open: &OpenFile,
    events: PollEvents,
    mut operation: impl FnMut() -> IoResult,
) -> SyscallResult {
    // Most operations need not wait and should not pay for it.
    match operation()? {
        Progress::Done(count) => Ok(count),
        Progress::WouldBlock if open.is_nonblocking() => Err(Errno::EAGAIN.into()),
        Progress::WouldBlock => until_done(thread, open, events, operation),
    }
}

/// The rest of [`until_ready`] for an operation that was tried, in blocking mode: sleeps until it is done.
pub fn until_done(
    thread: &Thread,
    open: &OpenFile,
    events: PollEvents,
    operation: impl FnMut() -> IoResult,
) -> SyscallResult {
    until_ready_by(thread, open, events, NEVER, operation)?.ok_or(SyscallError::Errno(Errno::EAGAIN))
}

/// As [`until_ready`], whatever the mode of the file, but gives up at `deadline_ns` on the clock of [`machine::now_ns`]
/// ([`NEVER`] for no limit) and then answers none.
pub fn until_ready_by(
    thread: &Thread,
    open: &OpenFile,
    events: PollEvents,
    deadline_ns: u64,
    mut operation: impl FnMut() -> IoResult,
) -> Result<Option<usize>, SyscallError> {
    let file = open.file();
    let queue = file.wait_queue();
    debug_assert!(queue.is_some(), "a file that can block has a wait queue");
    let attempt = || match operation() {
        Ok(Progress::Done(count)) => Some(Ok(Some(count))),
        Ok(Progress::WouldBlock) => None,
        Err(errno) => Some(Err(errno.into())),
    };
    let source = queue.map(|queue| Source { queue, events });
    let answer = match source {
        Some(source) if file.wakes_one(events) => {
            until_turn(thread, source, deadline_ns, attempt, || file.readiness().intersects(events))
        }
        source => until_one(thread, source, deadline_ns, attempt),
    };
    answer?.unwrap_or(Ok(None))
}

/// Something a wait listens to.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The queue that is woken.
    pub queue: &'a WaitQueue,
    /// The events that count; errors and hang-ups always do.
    pub events: PollEvents,
}

/// Sleeps until `check` has an answer, looking again whenever one of `sources` wakes the thread. None: `deadline_ns`
/// came first ([`NEVER`] for no limit). `check` is called at least once; it must not sleep in this loop itself.
pub fn until<T>(
    thread: &Thread,
    sources: &[Source<'_>],
    deadline_ns: u64,
    check: impl FnMut() -> Option<T>,
) -> Result<Option<T>, Interrupted> {
    match sources {
        [] => until_woken(thread, deadline_ns, check),
        [source] => until_one(thread, Some(*source), deadline_ns, check),
        sources => until_any(thread, sources.iter().copied(), deadline_ns, check),
    }
}

/// As [`until`], for at most one source.
pub fn until_one<T>(
    thread: &Thread,
    source: Option<Source<'_>>,
    deadline_ns: u64,
    check: impl FnMut() -> Option<T>,
) -> Result<Option<T>, Interrupted> {
    let _registration = source.map(|source| Registration::new(thread, source));
    until_woken(thread, deadline_ns, check)
}

/// As [`until`]. Waiting for up to [`FEW`] sources allocates nothing, once the thread has done so before.
pub fn until_any<'a, T>(
    thread: &'a Thread,
    sources: impl IntoIterator<Item = Source<'a>>,
    deadline_ns: u64,
    check: impl FnMut() -> Option<T>,
) -> Result<Option<T>, Interrupted> {
    let mut sources = sources.into_iter();
    let _first = sources.next().map(|source| Registration::new(thread, source));
    let _others = Registrations::new(thread, sources);
    until_woken(thread, deadline_ns, check)
}

/// The loop: the thread is in its queues.
#[inline(always)]
fn until_woken<T>(
    thread: &Thread,
    deadline_ns: u64,
    mut check: impl FnMut() -> Option<T>,
) -> Result<Option<T>, Interrupted> {
    loop {
        if let Some(answer) = check() {
            return Ok(Some(answer));
        }
        if thread.is_interrupted() {
            return Err(Interrupted);
        }
        if park(thread, deadline_ns) {
            // What happened at the very end counts.
            return Ok(check());
        }
    }
}

/// As [`until`], but those who wait for the source in this way take turns: an event wakes one of them. `has_more` says whether
/// there is something left for the next, who is then woken by this thread.
pub fn until_turn<T>(
    thread: &Thread,
    source: Source<'_>,
    deadline_ns: u64,
    mut check: impl FnMut() -> Option<T>,
    has_more: impl FnOnce() -> bool,
) -> Result<Option<T>, Interrupted> {
    let mut turn = Turn::new(source.queue, node_for(thread, source.events, true));
    let mut answer = check();
    while answer.is_none() {
        if thread.is_interrupted() {
            return Err(Interrupted);
        }
        let is_timed_out = park(thread, deadline_ns);
        // Nearly always there is something now, and no need to get in line again for it. What happened at the very end counts.
        answer = check();
        if is_timed_out {
            break;
        }
        if answer.is_none() {
            turn.arm();
            answer = check();
        }
    }
    if answer.is_some() {
        turn.finish(has_more);
    }
    Ok(answer)
}

/// Sleeps until a point in time.
pub fn sleep_until(thread: &Thread, deadline_ns: u64) -> Result<(), Interrupted> {
    let is_over = || (machine::now_ns() >= deadline_ns).then_some(());
    until(thread, &[], deadline_ns, is_over).map(|_| ())
}

/// Sleeps until a signal comes.
#[inline]
pub fn for_signal(thread: &Thread) -> Interrupted {
    loop {
        if let Err(interrupted) = until(thread, &[], NEVER, || None::<()>) {
            return interrupted;
        }
    }
}

/// Parks the thread until a time of the day, or until the clock is set. True: the time has come.
#[inline(never)]
pub(crate) fn park_until_time_of_day(thread: &Thread, time_ns: u64) -> bool {
    let was_set = &thread.process().system().timers().time_of_day().was_set;
    // Before the look at the clock, so that no setting of it is missed.
    let _registration = Registration::new(thread, Source { queue: was_set, events: PollEvents::all() });
    let ahead_ns = time_ns.saturating_sub(machine::realtime_ns());
    park(thread, machine::now_ns().saturating_add(ahead_ns)) && machine::realtime_ns() >= time_ns
}

/// The thread waits, or has found nothing to do: connections send what they have held back for more.
#[inline]
pub(crate) fn send_held(thread: &Thread) {
    if net::holds_output() {
        thread.process().system().network().release_held();
    }
}

/// Parks the thread. True: the deadline came first.
pub(crate) fn park(thread: &Thread, deadline_ns: u64) -> bool {
    send_held(thread);
    thread.parker().park_until(deadline_ns)
}
