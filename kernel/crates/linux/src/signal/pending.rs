//! [`PendingSignals`]: signals waiting to be delivered.
//!
//! A set says which signals are pending; a queue holds what is known of them. Standard signals are pending once, however
//! often they are sent; real-time signals each time. When a queue is full, or may hold no more for the user, a signal can
//! be pending without information, as on Linux.
//!
//! Nothing here allocates while the queue's lock is held: room is made beforehand, see [`PendingSignals::has_room`].
//! Timers expire in interrupts, where no room can be made. So each timer keeps a place in its queue, which other signals
//! leave free: a timer has at most one signal waiting.

use alloc::collections::VecDeque;

use abi::{
    Siginfo, Signal, Sigset,
    signal::{SI_TIMER, SI_USER},
};

/// The room a process's queue begins with: enough for what devices raise, as interrupts should not allocate.
const ROOM_INITIAL: usize = 8;

/// Signals waiting to be delivered.
#[derive(Debug, Default)]
pub struct PendingSignals {
    set: Sigset,
    queue: VecDeque<Siginfo>,
    /// Places kept for timers.
    kept: usize,
}

impl super::Waiting for PendingSignals {
    #[inline]
    fn waiting(&self) -> Sigset {
        self.set
    }
}

/// The places kept in a process's queue for the three interval timers that every process has, and for its limit of CPU time.
const INTERVAL_TIMERS: usize = 4;

impl PendingSignals {
    /// None, and no room for any.
    pub(crate) const fn new() -> Self {
        Self { set: Sigset::EMPTY, queue: VecDeque::new(), kept: 0 }
    }

    /// None, and room for a few.
    pub(crate) fn with_room() -> Self {
        Self {
            set: Sigset::EMPTY,
            queue: VecDeque::with_capacity(ROOM_INITIAL + INTERVAL_TIMERS),
            kept: INTERVAL_TIMERS,
        }
    }

    /// Which signals wait.
    pub fn set(&self) -> Sigset {
        self.set
    }

    /// How many are queued with information.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether one more can be queued without allocating.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() + self.kept < self.queue.capacity()
    }

    /// Keeps a place for a timer from now on. False: there is no room for it.
    pub(crate) fn keep_place(&mut self) -> bool {
        let has_room = self.has_room();
        self.kept += usize::from(has_room);
        has_room
    }

    /// Keeps a place for a timer, after a move to `spare` if that is bigger; else answers the room wanted for it.
    pub(crate) fn keep_place_or_want(&mut self, spare: &mut VecDeque<Siginfo>) -> Option<usize> {
        self.grow_into(spare);
        (!self.keep_place()).then(|| self.room_wanted())
    }

    /// Gives up a place that was kept.
    pub(crate) fn give_up_place(&mut self) {
        debug_assert!(self.kept > 0, "every place given up was kept");
        self.kept = self.kept.saturating_sub(1);
    }

    /// Adds the signal of a timer, in the place kept for it. If the last one still waits, that one counts the expiry.
    pub(crate) fn add_from_timer(&mut self, signal: Signal, info: &Siginfo) {
        let is_same = |other: &&mut Siginfo| {
            (other.si_signo, other.si_code, other.word(0)) == (info.si_signo, info.si_code, info.word(0))
        };
        if info.si_code != SI_TIMER && self.is_merged(signal) {
            return;
        }
        self.set = self.set.with(signal);
        let has_room = self.queue.len() < self.queue.capacity();
        match self.queue.iter_mut().find(is_same) {
            Some(waiting) if info.si_code == SI_TIMER => {
                *waiting = info.with_word(1, waiting.word(1).saturating_add(1));
            }
            None if has_room => self.queue.push_back(*info),
            _ => debug_assert!(has_room, "a timer has a place"),
        }
    }

    /// The size a bigger queue should have.
    pub(crate) fn room_wanted(&self) -> usize {
        (self.queue.len() + self.kept + 1).next_power_of_two().max(4)
    }

    /// Moves the queue to a bigger one made outside the lock; what remains is for the caller to free.
    #[inline]
    pub(crate) fn grow_into(&mut self, bigger: &mut VecDeque<Siginfo>) {
        if bigger.capacity() > self.queue.capacity() {
            self.move_into(bigger);
        }
    }

    #[cold]
    fn move_into(&mut self, bigger: &mut VecDeque<Siginfo>) {
        if bigger.is_empty() {
            bigger.append(&mut self.queue);
            core::mem::swap(bigger, &mut self.queue);
        }
    }

    /// Whether sending this signal changes nothing: it is a standard signal and already waits.
    pub(crate) fn is_merged(&self, signal: Signal) -> bool {
        !signal.is_realtime() && self.set.contains(signal)
    }

    /// Adds a signal, with its information if there is room.
    #[inline]
    pub(crate) fn add(&mut self, signal: Signal, info: &Siginfo) {
        if self.is_merged(signal) {
            return;
        }
        self.set = self.set.with(signal);
        if self.has_room() {
            self.queue.push_back(*info);
        }
    }

    /// Adds a signal; a real-time signal only if there is room for its information, or else it answers false.
    pub(crate) fn add_if_room(&mut self, signal: Signal, info: &Siginfo) -> bool {
        let is_added = !signal.is_realtime() || self.has_room();
        if is_added {
            self.add(signal, info);
        }
        is_added
    }

    /// Adds a signal of which nothing is known.
    pub(crate) fn add_bare(&mut self, signal: Signal) {
        self.set = self.set.with(signal);
    }

    /// Takes the oldest instance of a signal. False: there is none.
    fn take_into(&mut self, signal: Signal, into: &mut Siginfo) -> bool {
        if !self.set.contains(signal) {
            return false;
        }
        let number = i32::from(signal.number());
        let is_it = |info: &Siginfo| info.si_signo == number;
        // Nearly always, one signal waits.
        if self.queue.len() == 1
            && self.queue.front().is_some_and(is_it)
            && let Some(only) = self.queue.pop_front()
        {
            *into = only;
            self.set = self.set.without(signal);
            return true;
        }
        let taken = self.queue.iter().position(is_it).and_then(|position| self.queue.remove(position));
        if !self.queue.iter().any(is_it) {
            self.set = self.set.without(signal);
        }
        *into = taken.unwrap_or_else(|| Siginfo::new(signal, SI_USER));
        true
    }

    /// Takes the signal that is delivered next of those not in `blocked`: what the program itself caused before the
    /// rest, then by number.
    pub(crate) fn take_next(&mut self, blocked: Sigset, into: &mut Siginfo) -> Option<Signal> {
        let wanted = self.set.difference(blocked);
        let signal = wanted.intersection(Sigset::SYNCHRONOUS).first().or_else(|| wanted.first())?;
        self.take_into(signal, into).then_some(signal)
    }

    /// Takes a signal raised by a fault, which is delivered before all others.
    pub(crate) fn take_synchronous(&mut self, blocked: Sigset, into: &mut Siginfo) -> Option<Signal> {
        let wanted = self.set.difference(blocked).intersection(Sigset::SYNCHRONOUS);
        if wanted.is_empty() {
            return None;
        }
        let is_it = |info: &Siginfo| info.si_code > SI_USER && info.signal().is_some_and(|s| wanted.contains(s));
        let signal = self.queue.iter().find(|info| is_it(info))?.signal()?;
        self.take_into(signal, into).then_some(signal)
    }

    /// Throws signals away.
    pub(crate) fn discard(&mut self, signals: Sigset) {
        self.set = self.set.difference(signals);
        self.queue.retain(|info| !info.signal().is_some_and(|signal| signals.contains(signal)));
    }
}

#[cfg(test)]
mod tests {
    use abi::signal::{SEGV_MAPERR, SI_TKILL};

    use super::*;

    impl PendingSignals {
        fn take(&mut self, signal: Signal) -> Option<Siginfo> {
            let mut info = Siginfo::zeroed();
            self.take_into(signal, &mut info).then_some(info)
        }

        fn next(&mut self, blocked: Sigset) -> Option<(Signal, Siginfo)> {
            let mut info = Siginfo::zeroed();
            self.take_next(blocked, &mut info).map(|signal| (signal, info))
        }
    }

    fn numbered(signal: Signal, value: u64) -> Siginfo {
        Siginfo::queued(signal, 1, 0, value)
    }

    #[test]
    fn standard_signals_merge_and_realtime_signals_queue() {
        let mut pending = PendingSignals::with_room();
        pending.add(Signal::SIGUSR1, &numbered(Signal::SIGUSR1, 1));
        pending.add(Signal::SIGUSR1, &numbered(Signal::SIGUSR1, 2));
        let realtime = Signal::new(40).unwrap();
        pending.add(realtime, &numbered(realtime, 3));
        pending.add(realtime, &numbered(realtime, 4));
        assert_eq!(pending.take(Signal::SIGUSR1).unwrap().long(2), 1);
        assert_eq!(pending.take(Signal::SIGUSR1), None);
        assert_eq!(pending.take(realtime).unwrap().long(2), 3);
        assert_eq!(pending.take(realtime).unwrap().long(2), 4);
        assert!(pending.set().is_empty());
    }

    #[test]
    fn without_room_the_signal_stays_and_the_information_goes() {
        let mut pending = PendingSignals::new();
        pending.add(Signal::SIGTERM, &numbered(Signal::SIGTERM, 9));
        assert_eq!(pending.take(Signal::SIGTERM), Some(Siginfo::new(Signal::SIGTERM, SI_USER)));
    }

    #[test]
    fn what_the_program_caused_comes_first() {
        let mut pending = PendingSignals::with_room();
        pending.add(Signal::SIGHUP, &Siginfo::sent(Signal::SIGHUP, SI_TKILL, 1, 0));
        pending.add(Signal::SIGSEGV, &Siginfo::fault(Signal::SIGSEGV, SEGV_MAPERR, 0));
        assert_eq!(pending.next(Sigset::EMPTY).unwrap().0, Signal::SIGSEGV);
        assert_eq!(pending.next(Sigset::of(&[Signal::SIGHUP])), None);
        assert_eq!(pending.next(Sigset::EMPTY).unwrap().0, Signal::SIGHUP);
    }

    #[test]
    fn only_real_faults_are_synchronous() {
        let mut pending = PendingSignals::with_room();
        pending.add(Signal::SIGSEGV, &Siginfo::sent(Signal::SIGSEGV, SI_USER, 1, 0));
        assert_eq!(pending.take_synchronous(Sigset::EMPTY, &mut Siginfo::zeroed()), None);
    }

    #[test]
    fn growing_keeps_the_order() {
        let mut pending = PendingSignals::new();
        let realtime = Signal::new(34).unwrap();
        for value in 0..100 {
            if !pending.has_room() {
                let mut bigger = VecDeque::with_capacity(pending.room_wanted());
                pending.grow_into(&mut bigger);
            }
            pending.add(realtime, &numbered(realtime, value));
        }
        for value in 0..100 {
            assert_eq!(pending.take(realtime).unwrap().long(2), value);
        }
    }
}
