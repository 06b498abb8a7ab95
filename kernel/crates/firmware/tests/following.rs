//! A hypervisor that moves the machine, stops it and changes its mind, while programs and the kernel ask for the time: at any moment, also
//! between two steps of an answer. Nobody is ever told a time before one that was told already.

use std::cell::{Cell, RefCell};

use firmware::following::{BACK_NS_MAX, Counter, Follower};
use vdso::Page;
use vdso::page::{HYPERVISOR_WORDS, MONOTONIC};

const NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * NS;
/// What one update may put the kernel's time ahead of the hypervisor's.
const AHEAD_NS_MAX: u64 = 5_000_000;

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// The words of a long one, the lower first.
fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// What the host knows of the machine.
#[derive(Clone, Copy)]
struct Host {
    /// The time that passes.
    true_ns: u64,
    frequency_hz: u64,
    /// The counter at a time.
    cycles: u64,
    cycles_at_ns: u64,
    /// The hypervisor's clock less the time that passes.
    clock_offset_ns: u64,
    is_stable: bool,
    version: u32,
}

/// A machine with two CPUs, whose counters agree as long as they are stable.
struct Machine {
    page: Page,
    host: Cell<Host>,
    random: RefCell<u64>,
    /// The CPU that runs, and by how much the second one's counter is ahead of the first one's.
    cpu: Cell<usize>,
    skew: Cell<u64>,
    /// Whether the kernel has found that they differ.
    is_skewed: Cell<bool>,
    /// Where the hypervisor tells the second CPU.
    second: Page,
    /// Whether the counter was replaced, and whether the hypervisor erred, since the kernel followed last: it is no match for both at
    /// once.
    is_replaced: Cell<bool>,
    has_erred: Cell<bool>,
    /// One reading in so many is met by something that the host does.
    moves_in: u64,
    frequency_hz: Cell<u64>,
}

impl Machine {
    fn new(seed: u64, moves_in: u64) -> Self {
        let host = Host {
            true_ns: 0,
            frequency_hz: 2_600_000_000,
            cycles: 1 << 40,
            cycles_at_ns: 0,
            clock_offset_ns: 10 * DAY_NS,
            is_stable: true,
            version: 0,
        };
        let machine = Self {
            page: Page::new(),
            host: Cell::new(host),
            random: RefCell::new(seed),
            cpu: Cell::new(0),
            skew: Cell::new(0),
            is_skewed: Cell::new(false),
            second: Page::new(),
            is_replaced: Cell::new(false),
            has_erred: Cell::new(false),
            moves_in,
            frequency_hz: Cell::new(0),
        };
        machine.announce();
        machine
    }

    fn random(&self, below: u64) -> u64 {
        next(&mut self.random.borrow_mut()) % below
    }

    fn first_cycles(&self) -> u64 {
        let host = self.host.get();
        let elapsed = u128::from(host.true_ns - host.cycles_at_ns) * u128::from(host.frequency_hz) / u128::from(NS);
        host.cycles.wrapping_add(u64::try_from(elapsed).expect("less than centuries"))
    }

    fn hypervisor_ns(&self) -> u64 {
        let host = self.host.get();
        host.true_ns.wrapping_add(host.clock_offset_ns)
    }

    /// Writes the structures of both CPUs.
    fn announce(&self) {
        let mut host = self.host.get();
        host.version = host.version.wrapping_add(2);
        self.host.set(host);
        let now_ns = self.hypervisor_ns();
        // As KVM's `kvm_get_time_scale` has it: a multiplier between a half and one, of a counter that is shifted.
        let (mut shift, mut hz) = (0_i8, host.frequency_hz);
        while hz > 2 * NS {
            (hz, shift) = (hz / 2, shift - 1);
        }
        while hz <= NS {
            (hz, shift) = (hz * 2, shift + 1);
        }
        let multiplier = u32::try_from((u128::from(NS) << 32) / u128::from(hz)).expect("a frequency above 1 GHz");
        let ([tsc_low, tsc_high], [time_low, time_high]) = (halves(self.first_cycles()), halves(now_ns));
        let flags = u32::from(shift.to_le_bytes()[0]) | u32::from(host.is_stable) << 8;
        let words = [host.version, 0, tsc_low, tsc_high, time_low, time_high, multiplier, flags];
        self.page.clock.announce(words);
        let [tsc_low, tsc_high] = halves(self.first_cycles().wrapping_add(self.skew.get()));
        let words = [host.version, 0, tsc_low, tsc_high, time_low, time_high, multiplier, flags];
        self.second.clock.announce(words);
    }

    /// Something that the host does.
    fn meet(&self) {
        if self.random(self.moves_in) != 0 {
            return;
        }
        if !self.page.clock.is_overtaken() {
            self.is_replaced.set(false);
            self.has_erred.set(false);
        }
        let mut host = self.host.get();
        let cycles = self.first_cycles();
        let what = self.random(10);
        let (errs, replaces) = (what == 7, [2, 3, 4, 8, 9].contains(&what));
        if self.has_erred.get() && (errs || replaces) || self.is_replaced.get() && errs {
            return;
        }
        self.has_erred.set(self.has_erred.get() || errs);
        self.is_replaced.set(self.is_replaced.get() || replaces);
        match what {
            // KVM says the same again every five minutes.
            0 | 1 => {}
            2 => host.frequency_hz = 400_000_000 + self.random(5_000_000_000),
            // Another host, whose counter is younger, or older.
            3 => host.cycles = self.random(1 << 30),
            4 => host.cycles = cycles.wrapping_add(host.frequency_hz * (1 + self.random(1_000_000))),
            // Stopped: its own clock stands, or goes on.
            5 => {
                let stop_ns = self.random(DAY_NS);
                host.true_ns += stop_ns;
                host.clock_offset_ns = host.clock_offset_ns.wrapping_sub(stop_ns);
            }
            6 => host.true_ns += self.random(DAY_NS),
            // An error of the hypervisor.
            7 => host.clock_offset_ns = host.clock_offset_ns.wrapping_sub(self.random(BACK_NS_MAX / 2)),
            8 => {
                host.is_stable = false;
                self.skew.set(self.random(1 << 40));
            }
            _ => {
                host.is_stable = true;
                self.skew.set(0);
            }
        }
        if host.cycles == self.host.get().cycles {
            host.cycles = cycles;
        }
        host.cycles_at_ns = host.true_ns;
        self.host.set(host);
        self.announce();
    }

    fn pass(&self, ns_max: u64) {
        let mut host = self.host.get();
        host.true_ns += self.random(ns_max);
        self.host.set(host);
    }
}

impl Counter for &Machine {
    fn cycles(&self) -> u64 {
        self.meet();
        self.pass(200);
        let cycles = self.first_cycles().wrapping_add(if self.cpu.get() == 1 { self.skew.get() } else { 0 });
        self.meet();
        cycles
    }

    fn own_words(&self) -> Option<[u32; HYPERVISOR_WORDS]> {
        let page = if self.cpu.get() == 1 { &self.second } else { &self.page };
        page.clock.hypervisor_time()
    }

    fn is_skewed(&self) -> bool {
        self.is_skewed.get()
    }

    fn note_frequency(&self, frequency_hz: u64) {
        self.frequency_hz.set(frequency_hz);
    }
}

/// A program asks the page, and the kernel where that tells nothing.
fn ask(machine: &Machine, follower: &Follower) -> u64 {
    let by_page = machine.page.clock.nanoseconds(MONOTONIC, || Counter::cycles(&machine));
    by_page.unwrap_or_else(|| follower.now_ns(&machine.page.clock, &machine))
}

#[test]
fn the_time_never_goes_back_whatever_the_host_does() {
    for seed in 1..60_u64 {
        let machine = Machine::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), 2 + seed % 100);
        let follower = Follower::start(&machine.page.clock, &&machine);
        let mut last = 0;
        for _ in 0..1_000 {
            machine.cpu.set(usize::try_from(machine.random(2)).unwrap());
            let now = ask(&machine, &follower);
            assert!(now >= last, "seed {seed}: {now} after {last}");
            last = now;
            machine.pass(1 << machine.random(40));
        }
    }
}

/// Without errors of the hypervisor the kernel's time is the hypervisor's plus a constant.
#[test]
fn a_machine_that_is_moved_keeps_the_time_of_its_hypervisor() {
    for seed in 1..50_u64 {
        // Nothing happens but what is made to.
        let machine = Machine::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), u64::MAX);
        let follower = Follower::start(&machine.page.clock, &&machine);
        let offset = machine.hypervisor_ns() - ask(&machine, &follower);
        for moved in 1..=50 {
            let mut host = machine.host.get();
            host.frequency_hz = 400_000_000 + machine.random(5_000_000_000);
            host.cycles = machine.random(1 << 60);
            host.cycles_at_ns = host.true_ns;
            machine.host.set(host);
            machine.announce();
            let now = ask(&machine, &follower);
            let expected = machine.hypervisor_ns() - offset;
            let ahead_ns = i128::from(now) - i128::from(expected);
            assert!((-1_000..=i128::from(moved * AHEAD_NS_MAX)).contains(&ahead_ns), "seed {seed}: {ahead_ns}");
            assert!(machine.frequency_hz.get().abs_diff(host.frequency_hz) <= host.frequency_hz >> 29);
            // Programs need the kernel once.
            let counter = &machine;
            assert!(machine.page.clock.nanoseconds(MONOTONIC, || counter.first_cycles()).is_some());
            machine.pass(DAY_NS / 10);
        }
    }
}

#[test]
fn a_counter_that_is_not_stable_is_no_clock_until_it_is() {
    let machine = Machine::new(7, u64::MAX);
    let follower = Follower::start(&machine.page.clock, &&machine);
    let mut told = ask(&machine, &follower);
    for (is_stable, skew) in [(false, 1 << 35), (true, 0), (false, 1 << 20), (true, 0)] {
        machine.pass(NS);
        machine.host.set(Host { is_stable, ..machine.host.get() });
        machine.skew.set(skew);
        machine.announce();
        for cpu in [1, 0, 1, 1, 0] {
            machine.cpu.set(cpu);
            let now = ask(&machine, &follower);
            assert!(now >= told && now - told < 2 * NS, "{now} after {told}");
            told = now;
            assert_eq!(machine.page.clock.is_withdrawn(), !is_stable);
        }
    }
}

/// The hypervisor holds the counters for stable, and the kernel has found that they differ.
#[test]
fn counters_that_differ_are_read_by_what_is_said_of_each() {
    let machine = Machine::new(7, u64::MAX);
    machine.skew.set(1 << 40);
    machine.announce();
    let follower = Follower::start(&machine.page.clock, &&machine);
    let offset = machine.hypervisor_ns() - ask(&machine, &follower);
    machine.is_skewed.set(true);
    machine.page.clock.withdraw();
    for cpu in [1, 0, 1, 1, 0] {
        machine.cpu.set(cpu);
        machine.pass(NS);
        machine.announce();
        let now = ask(&machine, &follower);
        let expected = machine.hypervisor_ns() - offset;
        assert!(now.abs_diff(expected) < 1_000, "{now} on CPU {cpu} instead of {expected}");
        assert!(machine.page.clock.is_withdrawn());
    }
}
