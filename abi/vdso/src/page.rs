//! The page of data that the kernel shares with the vDSO of every program.
//!
//! The kernel and the image are compiled from this file both, so they agree on the layout ([`Page`]), on the protocol and on
//! the arithmetic. It is a module of no crate in particular: nothing from outside of `core` is used.
//!
//! 1. [`Clock`] is guarded by a sequence number with two flags below it: a write is in progress, and the counter is no clock
//!    (it is not the same on all CPUs, so that the time has to be asked of the kernel). A reader takes a copy, and again if a
//!    flag was set or the number has changed (H.-J. Boehm, "Can seqlocks get along with programming language memory models?",
//!    MSPC 2012). The cycle counter is read between the two looks at the number: a time is computed by the rate that was valid
//!    when the counter was read. One comparison finds all that is not as it mostly is, and only then is looked what it was.
//! 2. The number is kept twice: as it is (`state`), and as a reader wants to find it (`expected`), which the writer stores
//!    when all else is written, and before it takes the flag from the other. So a reader that sees the new expectation sees what belongs to
//!    it, and one that has the old one finds the flag or another number.
//! 3. KVM tells of its clock in a structure of 32 bytes that begins with a version, which it changes with the rest
//!    (Documentation/virt/kvm/x86/msr.rst, `MSR_KVM_SYSTEM_TIME_NEW`; its address is a multiple of four). It lies so that the
//!    version is the upper half of `state`: the same comparison finds that the hypervisor has moved the machine, stopped it, or
//!    found its counter to run at another rate. Nobody is told a time by a rate that does not hold any more: who finds another version asks
//!    the kernel, which follows ([`Clock::follow`]). Without KVM the version stays zero.
//! 4. Writers exclude each other by the flag. They disable interrupts, so that a handler on the same CPU can read.
//! 5. A time is `base + (cycles - base cycles) * multiplier / 2^32`, with a product of 128 bits: no frequency of the
//!    counter and no uptime overflow it. Offsets turn the monotonic time into that of each clock. Before the counter was
//!    measured the multiplier is zero and the clock stands.
//! 6. [`Random`] counts how often the kernel's generator was seeded: keys derived before are to be replaced.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

/// How many clock numbers have an offset.
pub const CLOCKS: usize = 12;
/// `CLOCK_REALTIME`, `CLOCK_REALTIME_COARSE` and `CLOCK_TAI`: the time of day.
pub const REALTIME_CLOCKS: u32 = 1 << 0 | 1 << 5 | 1 << 11;
/// `CLOCK_MONOTONIC`, `CLOCK_MONOTONIC_RAW`, `CLOCK_MONOTONIC_COARSE` and `CLOCK_BOOTTIME`: the time since the start.
pub const MONOTONIC_CLOCKS: u32 = 1 << 1 | 1 << 4 | 1 << 6 | 1 << 7;
/// The number of `CLOCK_REALTIME`.
pub const REALTIME: usize = 0;
/// The number of `CLOCK_MONOTONIC`.
pub const MONOTONIC: usize = 1;

/// What is shared. The kernel alone writes; it begins all zero: a clock that stands at zero, a generator without a seed.
#[repr(C, align(4096))]
pub struct Page {
    /// The clocks.
    pub clock: Clock,
    /// The kernel's generator of random numbers.
    pub random: Random,
    /// What `gettimeofday` says of the time zone.
    pub zone: Zone,
    /// The address of the kernel's table of functions that serve system calls; zero: there is none.
    pub calls: AtomicU64,
}

/// Flags below the sequence number: a write is in progress; the counter is no clock.
const IS_WRITTEN: u64 = 1 << 0;
const IS_NO_CLOCK: u64 = 1 << 1;
/// What a write adds to the number.
const STEP: u32 = 1 << 2;
/// The number in `state` and `expected`.
const SEQUENCE: u64 = u32::MAX as u64 & !(IS_WRITTEN | IS_NO_CLOCK);

/// The words of four bytes of KVM's structure, its version the first.
pub const HYPERVISOR_WORDS: usize = 8;
/// Where it lies in the page.
pub const HYPERVISOR_OFFSET: usize = 4;

/// How the cycle counter is a clock.
#[repr(C, align(64))]
pub struct Clock {
    /// The sequence number and its flags; above, the version of what the hypervisor says, which it writes itself.
    state: AtomicU64,
    /// The rest of what it says.
    hypervisor: [AtomicU32; HYPERVISOR_WORDS - 1],
    reserved: u32,
    /// What `state` is while the rate holds.
    expected: AtomicU64,
    base_cycles: AtomicU64,
    /// Nanoseconds a cycle, 32 binary places.
    multiplier: AtomicU64,
    base_ns: AtomicU64,
    /// What to add to the monotonic time, by clock number.
    offsets_ns: [AtomicI64; CLOCKS],
}

/// The state of the kernel's generator.
#[repr(C)]
pub struct Random {
    generation: AtomicU64,
}

/// The time zone.
#[repr(C)]
pub struct Zone {
    minutes_west: AtomicU32,
    dst_time: AtomicU32,
}

/// From the cycle counter to the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// A count of cycles.
    pub base_cycles: u64,
    /// The time then.
    pub base_ns: u64,
    /// Nanoseconds a cycle, 32 binary places.
    pub multiplier: u64,
}

impl Rate {
    /// The time at a count of cycles.
    #[inline]
    pub const fn nanoseconds(&self, cycles: u64) -> u64 {
        let elapsed = cycles.wrapping_sub(self.base_cycles);
        #[expect(clippy::cast_possible_truncation, reason = "nanoseconds since the start fit for centuries")]
        let elapsed_ns = ((elapsed as u128 * self.multiplier as u128) >> 32) as u64;
        self.base_ns.wrapping_add(elapsed_ns)
    }
}

#[cfg(not(loom))]
impl Page {
    /// Nothing is known yet.
    pub const fn new() -> Self {
        Self {
            clock: Clock::new(),
            random: Random { generation: AtomicU64::new(0) },
            zone: Zone { minutes_west: AtomicU32::new(0), dst_time: AtomicU32::new(0) },
            calls: AtomicU64::new(0),
        }
    }
}

#[cfg(not(loom))]
impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that stands.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            hypervisor: [const { AtomicU32::new(0) }; HYPERVISOR_WORDS - 1],
            reserved: 0,
            expected: AtomicU64::new(0),
            base_cycles: AtomicU64::new(0),
            multiplier: AtomicU64::new(0),
            base_ns: AtomicU64::new(0),
            offsets_ns: [const { AtomicI64::new(0) }; CLOCKS],
        }
    }

    /// The time of clock number `clock` by the counter, which `cycles` reads; `None` if the counter is no clock, or the hypervisor says
    /// something that the kernel has not followed yet. The number is one of [`REALTIME_CLOCKS`] or [`MONOTONIC_CLOCKS`].
    #[inline]
    pub fn nanoseconds(&self, clock: usize, cycles: impl Fn() -> u64) -> Option<u64> {
        loop {
            if let Some(time_ns) = self.glance(clock, &cycles) {
                return Some(time_ns);
            }
            if !self.is_settled() {
                return None;
            }
        }
    }

    /// As [`Self::nanoseconds`], but `None` also if a write was in the way.
    #[inline]
    pub fn glance(&self, clock: usize, cycles: impl Fn() -> u64) -> Option<u64> {
        let expected = self.expected.load(Ordering::Acquire);
        let (rate, offset_ns) = (self.load(), self.offsets_ns.get(clock)?.load(Ordering::Relaxed));
        let now = cycles();
        fence(Ordering::Acquire);
        let is_whole = self.state.load(Ordering::Relaxed) == expected;
        is_whole.then(|| rate.nanoseconds(now).wrapping_add_signed(offset_ns))
    }

    /// Waits for the end of a write, and says whether another look may see a time.
    #[cold]
    fn is_settled(&self) -> bool {
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if state & IS_WRITTEN == 0 {
                let is_followed = version_of(state) == version_of(self.expected.load(Ordering::Relaxed));
                return state & IS_NO_CLOCK == 0 && is_followed;
            }
            pause();
        }
    }

    /// The rate, whole, also if the counter is no clock by itself, or the rate does not hold any more.
    #[inline]
    pub fn rate(&self) -> Rate {
        loop {
            let expected = self.expected.load(Ordering::Acquire);
            let rate = self.load();
            fence(Ordering::Acquire);
            let state = self.state.load(Ordering::Relaxed);
            if state & IS_WRITTEN == 0 && (state ^ expected) & SEQUENCE == 0 {
                return rate;
            }
            pause();
        }
    }

    /// Whether the hypervisor says something that the rate does not follow.
    #[inline]
    pub fn is_overtaken(&self) -> bool {
        let (state, expected) = (self.state.load(Ordering::Relaxed), self.expected.load(Ordering::Relaxed));
        version_of(state) != version_of(expected)
    }

    /// What the hypervisor says, in words; `None` while it writes. Waits for nothing.
    pub fn hypervisor_time(&self) -> Option<[u32; HYPERVISOR_WORDS]> {
        let before = version_of(self.state.load(Ordering::Acquire));
        let mut words = [before; HYPERVISOR_WORDS];
        for (word, part) in words.iter_mut().skip(1).zip(&self.hypervisor) {
            *word = part.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        let after = version_of(self.state.load(Ordering::Relaxed));
        (before == after && before.is_multiple_of(2)).then_some(words)
    }

    /// Has the rate follow what the hypervisor says, if it does not yet: `change` gets the rate as it is, what is said now, and a reading
    /// of the counter to which that applies. It is called as [`Self::change_rate`] calls its function. Interrupts are disabled.
    pub fn follow(&self, cycles: impl Fn() -> u64, mut change: impl FnMut(Rate, [u32; HYPERVISOR_WORDS], u64) -> Rate) {
        self.write(|clock| {
            let followed = version_of(clock.expected.load(Ordering::Relaxed));
            loop {
                let Some(words) = clock.hypervisor_time() else {
                    pause();
                    continue;
                };
                let [version, ..] = words;
                if version == followed {
                    return version;
                }
                let now = cycles();
                fence(Ordering::Acquire);
                if version_of(clock.state.load(Ordering::Relaxed)) == version {
                    clock.store(change(clock.load(), words, now));
                    return version;
                }
            }
        });
    }

    /// Writes what a hypervisor writes: for tests of those who follow it.
    pub fn announce(&self, words: [u32; HYPERVISOR_WORDS]) {
        let [version, rest @ ..] = words;
        self.announce_version(version | 1);
        fence(Ordering::SeqCst);
        for (part, word) in self.hypervisor.iter().zip(rest) {
            part.store(word, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.announce_version(version);
    }

    fn announce_version(&self, version: u32) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let announced = state & u64::from(u32::MAX) | u64::from(version) << u32::BITS;
            match self.state.compare_exchange(state, announced, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => state = other,
            }
        }
    }

    /// Replaces the rate by a function of it, which is called while no reader can finish by the old one: a counter it reads
    /// is later than every reading by the old rate. Interrupts are disabled.
    pub fn change_rate(&self, change: impl FnOnce(Rate) -> Rate) {
        self.write(|clock| {
            clock.store(change(clock.load()));
            version_of(clock.expected.load(Ordering::Relaxed))
        });
    }

    /// Says that the counter is no clock by itself. Interrupts are disabled.
    pub fn withdraw(&self) {
        self.state.fetch_or(IS_NO_CLOCK, Ordering::Release);
    }

    /// Whether the counter is no clock by itself.
    #[inline]
    pub fn is_withdrawn(&self) -> bool {
        self.state.load(Ordering::Acquire) & IS_NO_CLOCK != 0
    }

    /// Takes [`Self::withdraw`] back: the rate holds. Interrupts are disabled.
    pub fn reinstate(&self) {
        self.state.fetch_and(!IS_NO_CLOCK, Ordering::Release);
    }

    /// Sets by how much the time of day is ahead of the monotonic time. Interrupts are disabled.
    pub fn set_realtime_offset(&self, offset_ns: i64) {
        self.write(|clock| {
            for (number, offset) in clock.offsets_ns.iter().enumerate() {
                if REALTIME_CLOCKS & 1 << number != 0 {
                    offset.store(offset_ns, Ordering::Relaxed);
                }
            }
            version_of(clock.expected.load(Ordering::Relaxed))
        });
    }

    /// By how much the time of day is ahead of the monotonic time.
    #[inline]
    pub fn realtime_offset(&self) -> i64 {
        self.offsets_ns[REALTIME].load(Ordering::Relaxed)
    }

    #[inline]
    fn load(&self) -> Rate {
        Rate {
            base_cycles: self.base_cycles.load(Ordering::Relaxed),
            base_ns: self.base_ns.load(Ordering::Relaxed),
            multiplier: self.multiplier.load(Ordering::Relaxed),
        }
    }

    fn store(&self, rate: Rate) {
        self.base_cycles.store(rate.base_cycles, Ordering::Relaxed);
        self.base_ns.store(rate.base_ns, Ordering::Relaxed);
        self.multiplier.store(rate.multiplier, Ordering::Relaxed);
    }

    /// Changes something while no reader finishes by what was. `change` answers which version of what the hypervisor says it is right
    /// for.
    fn write(&self, change: impl FnOnce(&Self) -> u32) {
        loop {
            let state = self.state.load(Ordering::Relaxed);
            let claimed = state | IS_WRITTEN;
            if state != claimed
                && self.state.compare_exchange(state, claimed, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                break;
            }
            pause();
        }
        // Keeps the stores behind the flag.
        fence(Ordering::Release);
        let version = change(self);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the number")]
        let sequence = (self.expected.load(Ordering::Relaxed) as u32).wrapping_add(STEP);
        self.expected.store(u64::from(version) << u32::BITS | u64::from(sequence), Ordering::Release);
        // The other flag may be set meanwhile, and the hypervisor may write its half.
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let done = state & !(SEQUENCE | IS_WRITTEN) | u64::from(sequence);
            match self.state.compare_exchange(state, done, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => state = other,
            }
        }
    }
}

/// The upper half of `state` or `expected`.
#[inline]
const fn version_of(word: u64) -> u32 {
    (word >> u32::BITS) as u32
}

impl Random {
    /// Notes that the generator was seeded: keys made before are old. Zero, the first value, means never.
    pub fn advance(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// How often the generator was seeded.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

impl Zone {
    /// Sets `struct timezone`.
    pub fn set(&self, minutes_west: i32, dst_time: i32) {
        self.minutes_west.store(minutes_west.cast_unsigned(), Ordering::Relaxed);
        self.dst_time.store(dst_time.cast_unsigned(), Ordering::Relaxed);
    }

    /// `struct timezone`: `tz_minuteswest` and `tz_dsttime`.
    #[inline]
    pub fn get(&self) -> (i32, i32) {
        let (minutes, dst) = (self.minutes_west.load(Ordering::Relaxed), self.dst_time.load(Ordering::Relaxed));
        (minutes.cast_signed(), dst.cast_signed())
    }
}

#[inline]
fn pause() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::hint::spin_loop();
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn rate_of(frequency_hz: u64) -> Rate {
        let multiplier = (1_000_000_000_u128 << 32) / u128::from(frequency_hz);
        Rate { base_cycles: 1000, base_ns: 7, multiplier: multiplier.try_into().expect("at least 1 MHz") }
    }

    #[test]
    fn no_frequency_overflows() {
        const YEAR_SECONDS: u64 = 366 * 86400;
        for frequency_hz in [1_000_000, 999_999_999, 1_000_000_000, 2_600_000_000, 1_000_000_000_000] {
            let rate = rate_of(frequency_hz);
            assert_eq!(rate.nanoseconds(1000), 7);
            let years = if frequency_hz > 1 << 34 { 1 } else { 100 };
            let cycles = frequency_hz.saturating_mul(YEAR_SECONDS * years.min(u64::MAX / frequency_hz / YEAR_SECONDS));
            let expected = u128::from(cycles) * 1_000_000_000 / u128::from(frequency_hz);
            let error = u128::from(rate.nanoseconds(1000 + cycles) - 7).abs_diff(expected);
            assert!(error * 1_000_000 <= expected, "{frequency_hz}: off by {error} of {expected}");
        }
    }

    #[test]
    fn a_page_says_first_that_nothing_is_known() {
        let page = Page::new();
        assert_eq!(page.clock.nanoseconds(MONOTONIC, || 5), Some(0));
        assert_eq!((page.random.generation(), page.zone.get()), (0, (0, 0)));
        assert!(size_of::<Page>() == 4096);
    }

    #[test]
    fn offsets_belong_to_the_time_of_day_alone() {
        let page = Page::new();
        page.clock.change_rate(|_| rate_of(1_000_000_000));
        page.clock.set_realtime_offset(-3);
        for number in 0..CLOCKS {
            let time = page.clock.nanoseconds(number, || 2000);
            let is_realtime = REALTIME_CLOCKS & 1 << number != 0;
            assert_eq!(time, Some(if is_realtime { 1004 } else { 1007 }), "clock {number}");
        }
        assert_eq!(page.clock.realtime_offset(), -3);
        assert_eq!(REALTIME_CLOCKS & MONOTONIC_CLOCKS, 0);
    }

    #[test]
    fn a_clock_that_is_withdrawn_keeps_its_rate_to_itself() {
        let page = Page::new();
        page.clock.change_rate(|_| rate_of(1_000_000_000));
        page.clock.withdraw();
        page.clock.set_realtime_offset(5);
        assert_eq!(page.clock.nanoseconds(MONOTONIC, || 2000), None);
        assert_eq!((page.clock.rate(), page.clock.realtime_offset()), (rate_of(1_000_000_000), 5));
    }

    #[test]
    fn the_structure_of_the_hypervisor_begins_behind_the_number() {
        assert_eq!(core::mem::offset_of!(Page, clock) + core::mem::offset_of!(Clock, state) + 4, HYPERVISOR_OFFSET);
        assert_eq!(core::mem::offset_of!(Clock, hypervisor), HYPERVISOR_OFFSET + 4);
        let clock = Clock::new();
        clock.hypervisor[1].store(7, Ordering::Relaxed);
        assert_eq!(clock.hypervisor_time(), Some([0, 0, 7, 0, 0, 0, 0, 0]));
        clock.state.fetch_add(3 << u32::BITS, Ordering::Relaxed);
        assert_eq!(clock.hypervisor_time(), None);
        assert!(clock.is_overtaken());
    }

    #[test]
    fn the_number_wraps_without_a_trace_in_the_version() {
        let page = Page::new();
        page.clock.state.store(6 << u32::BITS | (SEQUENCE & u64::from(u32::MAX)), Ordering::Relaxed);
        page.clock.expected.store(6 << u32::BITS | (SEQUENCE & u64::from(u32::MAX)), Ordering::Relaxed);
        page.clock.change_rate(|_| rate_of(1_000_000_000));
        assert_eq!(page.clock.state.load(Ordering::Relaxed), 6 << u32::BITS);
        assert_eq!(page.clock.nanoseconds(MONOTONIC, || 2000), Some(1007));
    }

    #[test]
    fn a_change_of_rate_sees_the_old_one() {
        let page = Page::new();
        page.clock.change_rate(|_| rate_of(2_000_000_000));
        page.clock.change_rate(|old| Rate { base_cycles: 3000, base_ns: old.nanoseconds(3000), multiplier: 1 << 31 });
        assert_eq!(page.clock.rate(), Rate { base_cycles: 3000, base_ns: 1007, multiplier: 1 << 31 });
        assert_eq!(page.clock.nanoseconds(MONOTONIC, || 3010), Some(1012));
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn clock() -> Clock {
        Clock {
            state: AtomicU64::new(0),
            hypervisor: core::array::from_fn(|_| AtomicU32::new(0)),
            reserved: 0,
            expected: AtomicU64::new(0),
            base_cycles: AtomicU64::new(0),
            multiplier: AtomicU64::new(1 << 32),
            base_ns: AtomicU64::new(0),
            offsets_ns: core::array::from_fn(|_| AtomicI64::new(0)),
        }
    }

    #[test]
    fn a_time_is_of_one_rate() {
        loom::model(|| {
            let clock = Arc::new(clock());
            let reader = {
                let clock = Arc::clone(&clock);
                thread::spawn(move || clock.nanoseconds(REALTIME, || 100))
            };
            // Either rate says 100; a mixture does not.
            clock.change_rate(|_| Rate { base_cycles: 50, base_ns: 50, multiplier: 1 << 32 });
            assert_eq!(reader.join().unwrap(), Some(100));
        });
    }

    #[test]
    fn nobody_reads_by_a_rate_that_was_overtaken() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let clock = Arc::new(clock());
            let reader = {
                let clock = Arc::clone(&clock);
                thread::spawn(move || clock.nanoseconds(REALTIME, || 100))
            };
            // A machine on which the counter is 1000 ahead: 100 is no reading of it, so who says 100 looked before.
            clock.announce_version(2);
            let rate = Rate { base_cycles: 50, base_ns: 5000, multiplier: 1 << 32 };
            clock.follow(|| 60, |_, [version, ..], now| if (version, now) == (2, 60) { rate } else { Rate::default() });
            clock.follow(|| 60, |_, _, _| Rate::default());
            let seen = reader.join().unwrap();
            assert!([None, Some(100), Some(5050)].contains(&seen), "{seen:?}");
            assert_eq!(clock.nanoseconds(REALTIME, || 100), Some(5050));
            assert!(!clock.is_overtaken());
        });
    }

    #[test]
    fn a_withdrawal_during_a_write_stays() {
        loom::model(|| {
            let clock = Arc::new(clock());
            let other = {
                let clock = Arc::clone(&clock);
                thread::spawn(move || clock.withdraw())
            };
            clock.change_rate(|rate| rate);
            other.join().unwrap();
            assert_eq!(clock.nanoseconds(REALTIME, || 100), None);
            clock.reinstate();
            assert_eq!(clock.nanoseconds(REALTIME, || 100), Some(100));
        });
    }

    #[test]
    fn writers_exclude_each_other() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let clock = Arc::new(clock());
            let add = |clock: &Clock| clock.change_rate(|rate| Rate { base_ns: rate.base_ns + 1, ..rate });
            let other = {
                let clock = Arc::clone(&clock);
                thread::spawn(move || add(&clock))
            };
            add(&clock);
            other.join().unwrap();
            assert_eq!(clock.rate().base_ns, 2);
        });
    }
}
