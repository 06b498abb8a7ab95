//! The clocks of a machine. At first they are the host's; a test that must not depend on time takes over.

use std::sync::{LazyLock, Mutex};
use std::thread::Thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::machine::{self, lock};

/// What the clock shows when the first test asks: a machine that has been up for a second.
const UPTIME_AT_START_NS: u64 = 1_000_000_000;

/// How long a thread sleeps between two looks at a clock that ticks.
const LOOK_NS: u64 = 10_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The clocks of one machine.
#[derive(Default)]
pub(crate) struct Clock {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The time, where the test sets it.
    manual_ns: Option<u64>,
    step_ns: u64,
    skips_waits: bool,
    /// The wall clock minus the monotonic one, where the test sets it.
    realtime_offset_ns: Option<i128>,
    /// Threads that wait for a deadline on a manual clock.
    sleepers: Vec<Thread>,
}

/// Lets the clocks show the host's time again.
pub fn run() {
    change(|state| *state = State { sleepers: std::mem::take(&mut state.sleepers), ..State::default() });
}

/// Stops the monotonic clock at `now_ns`. From then on only the functions here move it.
pub fn stop_at(now_ns: u64) {
    change(|state| {
        state.manual_ns = Some(now_ns);
        state.step_ns = 0;
    });
}

/// Stops the clock, but for `step_ns` that pass after each reading: no two readings are equal. A thread that waits
/// looks at it all the time.
pub fn tick(now_ns: u64, step_ns: u64) {
    change(|state| {
        state.manual_ns = Some(now_ns);
        state.step_ns = step_ns;
    });
}

/// Lets a thread that waits for a deadline on a stopped clock move the clock to it at once, as if nothing else happened.
pub fn skip_waits(skips: bool) {
    change(|state| state.skips_waits = skips);
}

/// Moves a stopped clock forward and wakes the threads whose deadlines have come.
pub fn advance(by_ns: u64) {
    change(|state| {
        let now_ns = state.manual_ns.expect("only a stopped clock is advanced by hand");
        state.manual_ns = Some(now_ns.checked_add(by_ns).expect("the clock does not wrap"));
    });
}

/// Sets the wall clock, which goes on as the monotonic clock does.
pub fn set_realtime(now_ns: u64) {
    let clock_ns = now();
    change(|state| state.realtime_offset_ns = Some(i128::from(now_ns) - i128::from(clock_ns)));
}

/// What `sync::machine::now_ns` shows.
#[must_use]
pub fn now() -> u64 {
    machine::current().clock.now_ns()
}

fn change(act: impl FnOnce(&mut State)) {
    let machine = machine::current();
    let mut state = lock(&machine.clock.state);
    act(&mut state);
    // They look at the clock themselves, and come back if it is too early.
    state.sleepers.drain(..).for_each(|thread| thread.unpark());
}

fn host_now_ns() -> u64 {
    let elapsed = u64::try_from(START.elapsed().as_nanos()).expect("tests end within centuries");
    UPTIME_AT_START_NS + elapsed
}

impl Clock {
    pub(crate) fn now_ns(&self) -> u64 {
        let mut state = lock(&self.state);
        let step_ns = state.step_ns;
        match &mut state.manual_ns {
            Some(now_ns) => {
                let shown = *now_ns;
                *now_ns += step_ns;
                shown
            }
            None => host_now_ns(),
        }
    }

    pub(crate) fn realtime_ns(&self) -> u64 {
        let offset_ns = lock(&self.state).realtime_offset_ns;
        match offset_ns {
            Some(offset_ns) => u64::try_from(i128::from(self.now_ns()) + offset_ns).unwrap_or(0),
            None => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
            }
        }
    }

    /// How a thread waits for a deadline.
    pub(crate) fn wait_for(&self, deadline_ns: u64) -> Wait {
        let mut state = lock(&self.state);
        let (skips_waits, step_ns) = (state.skips_waits, state.step_ns);
        match &mut state.manual_ns {
            None => match deadline_ns.checked_sub(host_now_ns()) {
                None | Some(0) => Wait::Over,
                Some(left_ns) => Wait::Nanoseconds(left_ns),
            },
            Some(now_ns) if *now_ns >= deadline_ns => Wait::Over,
            Some(now_ns) if skips_waits => {
                *now_ns = deadline_ns;
                Wait::Over
            }
            Some(now_ns) if step_ns > 0 => {
                *now_ns += step_ns;
                Wait::Nanoseconds(LOOK_NS)
            }
            Some(_) => {
                state.sleepers.push(std::thread::current());
                Wait::UntilUnparked
            }
        }
    }
}

/// What a waiting thread does next.
pub(crate) enum Wait {
    /// The deadline has come.
    Over,
    /// Sleep at most so long.
    Nanoseconds(u64),
    /// Sleep: who moves the clock unparks.
    UntilUnparked,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use sync::Parker;
    use sync::machine as seam;

    use super::*;
    use crate::threads;

    #[test]
    fn a_stopped_clock_moves_by_hand() {
        stop_at(100);
        assert_eq!((seam::now_ns(), seam::now_ns()), (100, 100));
        advance(5);
        assert_eq!(seam::now_ns(), 105);
        run();
        assert!(seam::now_ns() >= UPTIME_AT_START_NS);
    }

    #[test]
    fn a_ticking_clock_never_shows_a_time_twice() {
        tick(100, 3);
        assert_eq!((seam::now_ns(), seam::now_ns()), (100, 103));
    }

    #[test]
    fn the_wall_clock_follows_the_other() {
        stop_at(100);
        set_realtime(1_000_000);
        advance(11);
        assert_eq!(seam::realtime_ns(), 1_000_011);
    }

    #[test]
    fn waits_end_when_the_clock_is_moved() {
        stop_at(0);
        let is_over = Arc::new(AtomicBool::new(false));
        let sleeper = {
            let is_over = Arc::clone(&is_over);
            threads::spawn(move || {
                assert!(Parker::new().park_until(50));
                is_over.store(true, Ordering::Relaxed);
            })
        };
        std::thread::sleep(std::time::Duration::from_millis(10));
        advance(49);
        std::thread::sleep(std::time::Duration::from_millis(10));
        assert!(!is_over.load(Ordering::Relaxed));
        advance(1);
        sleeper.join().unwrap();
    }

    #[test]
    fn waits_can_be_skipped() {
        stop_at(0);
        skip_waits(true);
        assert!(Parker::new().park_until(1_000_000_000_000));
        assert_eq!(now(), 1_000_000_000_000);
    }

    #[test]
    fn each_test_has_its_own_clock() {
        stop_at(7);
        std::thread::spawn(|| assert!(now() >= UPTIME_AT_START_NS)).join().unwrap();
        threads::spawn(|| assert_eq!(now(), 7)).join().unwrap();
    }
}
