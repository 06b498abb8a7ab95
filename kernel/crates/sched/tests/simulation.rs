//! The policy at work: simulated CPUs and threads, seconds of their time, events at the nanosecond.
//!
//! [`Machine`] does with the crate what a kernel does, without the locks. A CPU that has become idle looks for work once and then sleeps
//! until it is asked to help. After every event the machine asserts that nothing waits behind something less urgent, and that no CPU
//! idles beside work it could do, but for the time that it takes to ask ([`IDLE_BESIDE_WORK_MAX_NS`]); when a fair thread gets the
//! CPU, that it waited no longer than the bound of `run_queue`'s section 4. The tests add what holds over a second. Every test runs
//! over [`SEEDS`] and names the seed that fails.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "the whole file is a test")]

use sched::balance::{self, BALANCE_PERIOD_NS};
use sched::{Arrival, CREDIT_NS, CpuSet, GRANULE_NS, Leave, Node, Nodes, Place, Policy, RunQueue, ThreadId};
use testkit::Random;

const SEEDS: u64 = 12;
const MS: u64 = 1_000_000;
const SECOND_NS: u64 = 1000 * MS;
/// How often a busy CPU's timer fires at least.
const TICK_NS: u64 = 10 * MS;
/// For how long a CPU may idle while a thread that may run on it waits elsewhere: until the next tick there.
const IDLE_BESIDE_WORK_MAX_NS: u64 = TICK_NS;

/// What a thread does.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Runs for ever.
    Hog,
    /// Runs and sleeps by turns, for up to these times.
    Sleeper { run_ns: u64, sleep_ns: u64 },
}

#[derive(Debug)]
struct Thread {
    work: Work,
    /// Of the present run.
    left_ns: u64,
    wakes_at_ns: Option<u64>,
    waits_since_ns: u64,
    wait_max_ns: u64,
    moves: u64,
}

#[derive(Debug)]
struct Cpu {
    queue: RunQueue,
    balances_at_ns: u64,
    ticks_at_ns: u64,
    /// Since when it idles beside work that it could do.
    wasted_since_ns: Option<u64>,
}

struct Machine {
    seed: u64,
    random: Random,
    now_ns: u64,
    nodes: Vec<Node>,
    threads: Vec<Thread>,
    cpus: Vec<Cpu>,
    /// Asserted of every wait, if set.
    is_bound: bool,
    moves: u64,
    /// How many were entered without the time.
    woken_quickly: u64,
}

impl Machine {
    fn new(seed: u64, cpus: u32) -> Self {
        let mut random = Random::new(seed);
        let now_ns = random.next_u64() >> 10;
        let cpus = (0..cpus).map(|cpu| Cpu {
            queue: RunQueue::new(cpu),
            balances_at_ns: now_ns + BALANCE_PERIOD_NS + u64::from(cpu) * MS,
            ticks_at_ns: now_ns + TICK_NS,
            wasted_since_ns: None,
        });
        let cpus = cpus.collect();
        Self {
            seed,
            random,
            now_ns,
            nodes: Vec::new(),
            threads: Vec::new(),
            cpus,
            is_bound: false,
            moves: 0,
            woken_quickly: 0,
        }
    }

    /// Adds threads; `affinity` and the CPU they come to are as a creating thread's would be.
    fn add(&mut self, count: usize, policy: Policy, work: Work, affinity: CpuSet) {
        for _ in 0..count {
            let id = ThreadId(u32::try_from(self.nodes.len()).unwrap());
            self.nodes.push(Node::new(policy, affinity));
            self.threads.push(Thread {
                work,
                left_ns: 0,
                wakes_at_ns: None,
                waits_since_ns: self.now_ns,
                wait_max_ns: 0,
                moves: 0,
            });
            self.begin_run(id);
            self.arrive(id, Arrival::New);
        }
    }

    fn begin_run(&mut self, id: ThreadId) {
        let thread = &mut self.threads[id.0 as usize];
        thread.left_ns = match thread.work {
            Work::Hog => u64::MAX,
            Work::Sleeper { run_ns, .. } => 1 + self.random.next_u64() % run_ns,
        };
    }

    /// Sends a runnable thread to a CPU.
    fn arrive(&mut self, id: ThreadId, arrival: Arrival) {
        let node = &self.nodes[id.0 as usize];
        let load = |cpu: usize| self.cpus[cpu].queue.load();
        let urgency = node.policy().urgency();
        let cpu = balance::place(node.affinity(), urgency, node.cpu(), self.cpus.len(), load).unwrap();
        self.threads[id.0 as usize].waits_since_ns = self.now_ns;
        self.enqueue(id, cpu, arrival);
    }

    fn enqueue(&mut self, id: ThreadId, cpu: usize, arrival: Arrival) {
        let nodes = self.nodes.as_slice();
        let Cpu { queue, ticks_at_ns, .. } = &mut self.cpus[cpu];
        let alarm_ns = queue.next_event(nodes).unwrap_or(u64::MAX).min(*ticks_at_ns);
        let quickly = queue.enqueue_woken(nodes, id, arrival, alarm_ns);
        self.woken_quickly += u64::from(quickly.is_some());
        if quickly.unwrap_or_else(|| queue.enqueue(nodes, id, self.now_ns, arrival)) {
            self.schedule(cpu, Leave::Preempted);
        }
        self.ask_for_help(cpu);
    }

    /// Lets another CPU take something of what waits on this one, if there is a CPU that could.
    fn ask_for_help(&mut self, cpu: usize) {
        let loads: Vec<_> = self.cpus.iter().map(|cpu| cpu.queue.load()).collect();
        let waiting = || self.cpus[cpu].queue.waiting(self.nodes.as_slice());
        if let Some(helper) = balance::helper(cpu, loads.len(), |cpu| loads[cpu], waiting) {
            self.pull(helper);
        }
    }

    fn set_policy(&mut self, id: ThreadId, policy: Policy) {
        let node = &self.nodes[id.0 as usize];
        node.set_policy(policy);
        let cpu = node.cpu();
        if self.cpus[cpu].queue.follow_policy(self.nodes.as_slice(), id, self.now_ns) {
            self.schedule(cpu, Leave::Preempted);
        }
    }

    fn set_affinity(&mut self, id: ThreadId, affinity: CpuSet) {
        let node = &self.nodes[id.0 as usize];
        node.set_affinity(affinity);
        let cpu = node.cpu();
        if affinity.contains(cpu) {
            return;
        }
        match self.cpus[cpu].queue.place(self.nodes.as_slice(), id) {
            Place::Off => return,
            Place::Queued => self.cpus[cpu].queue.remove(self.nodes.as_slice(), id, self.now_ns),
            Place::Running => self.schedule(cpu, Leave::Moves),
        }
        self.arrive(id, Arrival::Moved);
    }

    fn schedule(&mut self, cpu: usize, leave: Leave) {
        let before = self.cpus[cpu].queue.current();
        let next = self.cpus[cpu].queue.schedule(self.nodes.as_slice(), self.now_ns, leave);
        if before == next && leave != Leave::Blocks {
            return;
        }
        if next.is_none() {
            self.pull(cpu);
            return;
        }
        if let Some(before) = before.filter(|_| leave == Leave::Preempted || leave == Leave::Yields) {
            self.threads[before.0 as usize].waits_since_ns = self.now_ns;
        }
        if let Some(next) = next {
            let bound_ns = self.is_bound.then(|| self.bound_ns(next, cpu));
            let thread = &mut self.threads[next.0 as usize];
            let wait_ns = self.now_ns - thread.waits_since_ns;
            thread.wait_max_ns = thread.wait_max_ns.max(wait_ns);
            if let Some(bound_ns) = bound_ns {
                assert!(wait_ns <= bound_ns, "seed {}: {next:?} waited {wait_ns}, bound {bound_ns}", self.seed);
            }
        }
    }

    /// The longest that a fair thread may wait, whatever the others that may run on this CPU do.
    fn bound_ns(&self, id: ThreadId, cpu: usize) -> u64 {
        let weight = u64::from(self.nodes[id.0 as usize].policy().weight().value());
        let granule_ns = sched::granule_ns(self.nodes[id.0 as usize].policy().weight());
        let others = self.nodes.iter().enumerate().filter(|(index, _)| *index != id.0 as usize);
        let others = others.filter(|(_, node)| node.affinity().contains(cpu));
        others
            .map(|(_, node)| {
                let other = node.policy().weight();
                CREDIT_NS + sched::granule_ns(other) + granule_ns * u64::from(other.value()) / weight
            })
            .sum()
    }

    fn run_for(&mut self, duration_ns: u64) {
        let end_ns = self.now_ns + duration_ns;
        while self.now_ns < end_ns {
            let next_ns = self.next_ns().min(end_ns);
            let elapsed_ns = next_ns - self.now_ns;
            self.now_ns = next_ns;
            for cpu in 0..self.cpus.len() {
                if let Some(current) = self.cpus[cpu].queue.current() {
                    let thread = &mut self.threads[current.0 as usize];
                    thread.left_ns -= elapsed_ns.min(thread.left_ns);
                }
            }
            self.fire();
            self.check();
            self.check_waste();
        }
        for cpu in &mut self.cpus {
            cpu.queue.tick(self.nodes.as_slice(), self.now_ns);
        }
    }

    /// When something happens next, which may be now.
    fn next_ns(&self) -> u64 {
        let wakes = self.threads.iter().filter_map(|thread| thread.wakes_at_ns);
        let turns = self.cpus.iter().filter_map(|cpu| cpu.queue.next_event(self.nodes.as_slice()));
        let current = self.cpus.iter().filter_map(|cpu| cpu.queue.current());
        let ends = current.map(|id| self.now_ns.saturating_add(self.threads[id.0 as usize].left_ns));
        let busy = self.cpus.iter().filter(|cpu| cpu.queue.current().is_some());
        let ticks = busy.map(|cpu| cpu.balances_at_ns.min(cpu.ticks_at_ns));
        let never = core::iter::once(u64::MAX);
        wakes.chain(turns).chain(ends).chain(ticks).chain(never).min().unwrap().max(self.now_ns)
    }

    /// Does what is due.
    fn fire(&mut self) {
        for cpu in 0..self.cpus.len() {
            while let Some(id) = self.cpus[cpu].queue.current().filter(|id| self.threads[id.0 as usize].left_ns == 0) {
                if let Work::Sleeper { sleep_ns, .. } = self.threads[id.0 as usize].work {
                    let wakes_at_ns = self.now_ns + 1 + self.random.next_u64() % sleep_ns;
                    self.threads[id.0 as usize].wakes_at_ns = Some(wakes_at_ns);
                }
                self.schedule(cpu, Leave::Blocks);
            }
            // As a timer does it: the queue is not told the time in between.
            let Cpu { queue, ticks_at_ns, .. } = &mut self.cpus[cpu];
            let event_ns = queue.next_event(self.nodes.as_slice()).unwrap_or(u64::MAX);
            let is_due = event_ns.min(*ticks_at_ns) <= self.now_ns;
            let is_over = is_due && queue.tick(self.nodes.as_slice(), self.now_ns);
            if is_over {
                self.schedule(cpu, Leave::Preempted);
            }
            if is_over || self.cpus[cpu].ticks_at_ns <= self.now_ns {
                self.cpus[cpu].ticks_at_ns = self.now_ns + TICK_NS;
                self.ask_for_help(cpu);
            }
        }
        for index in 0..self.threads.len() {
            let id = ThreadId(u32::try_from(index).unwrap());
            if self.threads[index].wakes_at_ns.is_some_and(|at_ns| at_ns <= self.now_ns) {
                self.threads[index].wakes_at_ns = None;
                self.begin_run(id);
                let arrival = if self.random.below(2) == 0 { Arrival::Woken } else { Arrival::Released };
                self.arrive(id, arrival);
            }
        }
        for cpu in 0..self.cpus.len() {
            let is_due = self.cpus[cpu].balances_at_ns <= self.now_ns;
            if is_due {
                self.cpus[cpu].balances_at_ns = self.now_ns + BALANCE_PERIOD_NS;
            }
            if is_due && self.cpus[cpu].queue.current().is_some() {
                self.pull(cpu);
            }
        }
    }

    /// Takes one thread from another CPU, if one gains by it.
    fn pull(&mut self, here: usize) {
        let loads: Vec<_> = self.cpus.iter().map(|cpu| cpu.queue.load()).collect();
        for source in balance::sources(here, loads.len(), |cpu| loads[cpu]) {
            let queue = &mut self.cpus[source].queue;
            let Some(id) = queue.take_for(self.nodes.as_slice(), here, loads[here], self.now_ns) else { continue };
            let squares = |loads: &[balance::Load]| loads.iter().map(|l| u128::from(l.weight).pow(2)).sum::<u128>();
            self.enqueue(id, here, Arrival::Moved);
            let after: Vec<_> = self.cpus.iter().map(|cpu| cpu.queue.load()).collect();
            assert!(squares(&after) < squares(&loads), "seed {}: a move of no use", self.seed);
            self.moves += 1;
            self.threads[id.0 as usize].moves += 1;
            return;
        }
    }

    /// What holds at every moment.
    fn check(&self) {
        let seed = self.seed;
        let mut runnable = vec![(0_u64, 0_u32); self.cpus.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            if node.place() == Place::Off {
                assert!(self.threads[index].wakes_at_ns.is_some(), "seed {seed}: thread {index} is lost");
                continue;
            }
            assert!(node.affinity().contains(node.cpu()), "seed {seed}: thread {index} is where it may not be");
            let count = &mut runnable[node.cpu()];
            *count = (count.0 + u64::from(node.policy().weight().value()), count.1 + 1);
            if node.place() == Place::Running {
                continue;
            }
            let running = self.cpus[node.cpu()].queue.current().map(|id| self.nodes.as_slice().node(id).policy());
            let running = running.unwrap_or_else(|| panic!("seed {seed}: CPU {} idles with work", node.cpu()));
            assert!(priority(node.policy()) <= priority(running), "seed {seed}: {index} waits behind {running:?}");
        }
        for (cpu, (weight, count)) in self.cpus.iter().zip(runnable) {
            let load = cpu.queue.load();
            assert_eq!((load.weight, load.runnable), (weight, count), "seed {seed}");
        }
    }

    /// No CPU idles for long while another has two threads of which one may run on it.
    fn check_waste(&mut self) {
        let waiting = self.nodes.iter().filter(|node| node.place() == Place::Queued);
        let cpus = waiting.fold(0, |cpus, node| cpus | node.affinity().0);
        for (index, cpu) in self.cpus.iter_mut().enumerate() {
            let is_wasted = cpu.queue.current().is_none() && CpuSet(cpus).contains(index);
            cpu.wasted_since_ns = cpu.wasted_since_ns.or(Some(self.now_ns)).filter(|_| is_wasted);
            if let Some(since_ns) = cpu.wasted_since_ns {
                let wasted_ns = self.now_ns - since_ns;
                let seed = self.seed;
                assert!(
                    wasted_ns <= IDLE_BESIDE_WORK_MAX_NS,
                    "seed {seed}: CPU {index} idles beside work for {wasted_ns}"
                );
            }
        }
    }

    fn runtime_ns(&self, index: usize) -> u64 {
        let id = ThreadId(u32::try_from(index).unwrap());
        self.cpus[self.nodes[index].cpu()].queue.runtime_ns(self.nodes.as_slice(), id, self.now_ns)
    }

    fn runtimes_ns(&self) -> Vec<u64> {
        (0..self.nodes.len()).map(|index| self.runtime_ns(index)).collect()
    }

    /// Runs for a second and returns what each thread ran.
    fn second(&mut self) -> Vec<u64> {
        let before = self.runtimes_ns();
        self.run_for(SECOND_NS);
        self.runtimes_ns().iter().zip(before).map(|(after, before)| after - before).collect()
    }

    /// Asserts that in each of `seconds`, the hogs share by weight what they get together: within 5%, or, for those whose part is
    /// too small for that, within a granule of nice 0, 0.15% of the CPU (see section 7 of `decay`).
    fn assert_hogs_are_fair(&mut self, seconds: usize) {
        for second in 0..seconds {
            let ran = self.second();
            let hogs = || (0..self.threads.len()).filter(|index| matches!(self.threads[*index].work, Work::Hog));
            let weight = |index: usize| u64::from(self.nodes[index].policy().weight().value());
            let total: u64 = hogs().map(|index| ran[index]).sum();
            let weights: u64 = hogs().map(weight).sum();
            for index in hogs() {
                let due = total * weight(index) / weights;
                let allowed = (due / 20).max(GRANULE_NS);
                assert!(
                    ran[index].abs_diff(due) <= allowed,
                    "seed {}: second {second}: {index} {:?} ran {} of {due}",
                    self.seed,
                    self.nodes[index].policy(),
                    ran[index]
                );
            }
        }
    }
}

fn priority(policy: Policy) -> u8 {
    policy.priority().unwrap_or(0)
}

fn other(nice: i8) -> Policy {
    Policy::Other { nice }
}

fn random_nice(random: &mut Random) -> i8 {
    i8::try_from(random.below(40)).unwrap() - 20
}

#[test]
fn equal_hogs_share_equally() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 1);
        machine.is_bound = true;
        let count = 2 + machine.random.below(15);
        machine.add(count, other(0), Work::Hog, CpuSet::ALL);
        machine.assert_hogs_are_fair(4);
    }
}

#[test]
fn hogs_share_by_nice() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 1);
        machine.is_bound = true;
        for _ in 0..2 + machine.random.below(8) {
            let nice = random_nice(&mut machine.random);
            machine.add(1, other(nice), Work::Hog, CpuSet::ALL);
        }
        machine.assert_hogs_are_fair(4);
    }
}

#[test]
fn hogs_share_by_weight_what_sleepers_of_all_kinds_leave() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 1);
        machine.is_bound = true;
        for nice in [0, 0, 3, -3, 10] {
            machine.add(1, other(nice), Work::Hog, CpuSet::ALL);
        }
        machine.add(1, Policy::Batch { nice: 0 }, Work::Hog, CpuSet::ALL);
        for _ in 0..8 {
            let work = Work::Sleeper { run_ns: 1 + machine.random.next_u64() % MS, sleep_ns: 20 * MS };
            let nice = random_nice(&mut machine.random) / 4;
            machine.add(1, other(nice), work, CpuSet::ALL);
        }
        machine.assert_hogs_are_fair(4);
    }
}

#[test]
fn the_idle_class_gets_little_and_is_not_starved() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 1);
        machine.is_bound = true;
        machine.add(3, other(0), Work::Hog, CpuSet::ALL);
        machine.add(1, Policy::Idle, Work::Hog, CpuSet::ALL);
        machine.assert_hogs_are_fair(4);
        let share = machine.runtime_ns(3);
        assert!(share > 0 && share < 4 * SECOND_NS / 200, "seed {seed}: {share}");
    }
}

#[test]
fn an_interactive_thread_among_hogs_runs_at_once() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 1);
        machine.is_bound = true;
        machine.add(1, other(0), Work::Sleeper { run_ns: MS / 5, sleep_ns: 10 * MS }, CpuSet::ALL);
        machine.add(8, other(0), Work::Hog, CpuSet::ALL);
        machine.run_for(SECOND_NS);
        machine.threads[0].wait_max_ns = 0;
        machine.run_for(5 * SECOND_NS);
        let wait_ns = machine.threads[0].wait_max_ns;
        assert!(wait_ns <= 2 * GRANULE_NS, "seed {seed}: {wait_ns}");
    }
}

#[test]
fn many_that_sleep_and_run_do_not_starve_a_hog() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 1);
        machine.is_bound = true;
        machine.add(1, other(0), Work::Hog, CpuSet::ALL);
        machine.add(20, other(0), Work::Sleeper { run_ns: 4 * MS, sleep_ns: 4 * MS }, CpuSet::ALL);
        for second in 0..4 {
            let ran = machine.second();
            assert!(ran[0] > SECOND_NS / 21 * 19 / 20, "seed {seed}: second {second}: {}", ran[0]);
        }
    }
}

#[test]
fn a_stream_of_new_threads_does_not_starve_an_old_one() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 1);
        machine.add(1, other(0), Work::Hog, CpuSet::ALL);
        for _ in 0..100 {
            // Each runs once and then sleeps for good.
            machine.add(2, other(0), Work::Sleeper { run_ns: 10 * MS, sleep_ns: u64::MAX >> 12 }, CpuSet::ALL);
            machine.run_for(5 * MS);
        }
        let (ran, wait_ns) = (machine.runtime_ns(0), machine.threads[0].wait_max_ns);
        assert!(ran > 2 * MS, "seed {seed}: {ran}");
        assert!(wait_ns < 200 * 2 * GRANULE_NS, "seed {seed}: {wait_ns}");
    }
}

#[test]
fn real_time_threads_take_what_they_need_and_fair_ones_share_the_rest() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 1);
        for _ in 0..4 {
            let priority = 1 + u8::try_from(machine.random.below(99)).unwrap();
            let policy = *machine.random.pick(&[Policy::Fifo { priority }, Policy::RoundRobin { priority }]);
            machine.add(1, policy, Work::Sleeper { run_ns: 2 * MS, sleep_ns: 15 * MS }, CpuSet::ALL);
        }
        machine.add(2, other(0), Work::Hog, CpuSet::ALL);
        machine.add(1, other(-5), Work::Hog, CpuSet::ALL);
        machine.assert_hogs_are_fair(4);
    }
}

#[test]
fn round_robin_threads_take_equal_turns() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 1);
        machine.add(4, Policy::RoundRobin { priority: 7 }, Work::Hog, CpuSet::ALL);
        machine.add(2, other(-20), Work::Hog, CpuSet::ALL);
        machine.run_for(4 * SECOND_NS);
        assert_eq!(machine.runtimes_ns(), [SECOND_NS, SECOND_NS, SECOND_NS, SECOND_NS, 0, 0], "seed {seed}");
    }
}

#[test]
fn equal_hogs_spread_over_cpus_and_then_stay() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 8);
        // All begin on one CPU.
        let count = 1 + machine.random.below(40);
        machine.add(count, other(0), Work::Hog, CpuSet::of(0));
        for index in 0..count {
            machine.set_affinity(ThreadId(u32::try_from(index).unwrap()), CpuSet::ALL);
        }
        machine.run_for(2 * SECOND_NS);
        let counts: Vec<_> = machine.cpus.iter().map(|cpu| cpu.queue.load().runnable).collect();
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "seed {seed}: {counts:?}");
        let moves = machine.moves;
        assert!(moves <= count as u64, "seed {seed}: {moves} moves of {count}");
        let ran = machine.second();
        assert_eq!(machine.moves, moves, "seed {seed}: threads go on moving");
        // Fair among those of one CPU.
        for (index, ran) in ran.iter().enumerate() {
            let due = SECOND_NS / u64::from(counts[machine.nodes[index].cpu()]);
            assert!(ran.abs_diff(due) <= due / 20, "seed {seed}: {index} ran {ran} of {due}");
        }
    }
}

#[test]
fn hogs_of_all_weights_settle() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 4);
        for _ in 0..30 {
            let nice = random_nice(&mut machine.random);
            machine.add(1, other(nice), Work::Hog, CpuSet::ALL);
        }
        machine.run_for(3 * SECOND_NS);
        let moves = machine.moves;
        machine.run_for(2 * SECOND_NS);
        assert_eq!(machine.moves, moves, "seed {seed}: threads go on moving");
    }
}

#[test]
fn random_affinities_leave_no_cpu_idle_beside_work() {
    for seed in 0..SEEDS {
        let cpus = 2 + u32::try_from(Random::new(seed).below(7)).unwrap();
        let mut machine = Machine::new(seed, cpus);
        for _ in 0..30 {
            let mask = loop {
                let mask = machine.random.next_u64() & ((1 << cpus) - 1);
                if mask != 0 {
                    break mask;
                }
            };
            let work = match machine.random.below(3) {
                0 => Work::Hog,
                _ => Work::Sleeper { run_ns: 5 * MS, sleep_ns: 1 + machine.random.next_u64() % (30 * MS) },
            };
            let nice = random_nice(&mut machine.random) / 2;
            machine.add(1, other(nice), work, CpuSet(mask));
        }
        machine.run_for(2 * SECOND_NS);
        for (index, ran) in machine.second().iter().enumerate() {
            assert!(*ran > 0, "seed {seed}: {index} starves");
        }
    }
}

/// A set of CPUs that is not empty.
fn random_cpus(random: &mut Random, cpus: u32) -> CpuSet {
    CpuSet(1 + random.next_u64() % ((1 << cpus) - 1))
}

#[test]
fn changes_of_policy_and_affinity_in_every_state_leave_nothing_idle_or_unfair() {
    for seed in 0..SEEDS {
        let cpus = 2 + u32::try_from(Random::new(seed).below(5)).unwrap();
        let mut machine = Machine::new(seed, cpus);
        for _ in 0..20 {
            let work = match machine.random.below(3) {
                0 => Work::Hog,
                _ => Work::Sleeper { run_ns: 4 * MS, sleep_ns: 1 + machine.random.next_u64() % (20 * MS) },
            };
            machine.add(1, other(0), work, CpuSet::ALL);
        }
        for _ in 0..400 {
            let id = ThreadId(u32::try_from(machine.random.below(20)).unwrap());
            let is_hog = matches!(machine.threads[id.0 as usize].work, Work::Hog);
            let nice = random_nice(&mut machine.random);
            let priority = 1 + u8::try_from(machine.random.below(99)).unwrap();
            match machine.random.below(6) {
                0 | 1 => {
                    let set = random_cpus(&mut machine.random, cpus);
                    machine.set_affinity(id, set);
                }
                2 => machine.set_policy(id, Policy::Batch { nice }),
                3 => machine.set_policy(id, Policy::Idle),
                4 if !is_hog => machine.set_policy(id, Policy::RoundRobin { priority }),
                5 if !is_hog => machine.set_policy(id, Policy::Fifo { priority }),
                _ => machine.set_policy(id, other(nice)),
            }
            let pause_ns = machine.random.next_u64() % (4 * MS);
            machine.run_for(1 + pause_ns);
        }
        // What happened is forgotten: all are alike again, and share as if they had always been.
        for index in 0..20 {
            machine.set_policy(ThreadId(index), other(0));
            machine.set_affinity(ThreadId(index), CpuSet::of(0));
        }
        machine.run_for(SECOND_NS);
        machine.assert_hogs_are_fair(2);
    }
}

#[test]
fn a_pinned_neighbour_does_not_keep_others_from_idle_cpus() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 4);
        // All on one CPU; some may go to the last one only, which is not the first idle one that is found.
        machine.add(3, other(0), Work::Hog, CpuSet::of(0));
        machine.add(2, Policy::Idle, Work::Hog, CpuSet::of(0));
        machine.run_for(20 * MS);
        machine.set_affinity(ThreadId(1), CpuSet(0b1001));
        machine.set_affinity(ThreadId(4), CpuSet(0b0101));
        let before = machine.runtimes_ns();
        machine.run_for(SECOND_NS);
        let ran: Vec<_> = machine.runtimes_ns().iter().zip(before).map(|(after, before)| after - before).collect();
        assert!(ran[1] >= SECOND_NS - 2 * IDLE_BESIDE_WORK_MAX_NS, "seed {seed}: {ran:?}");
        assert!(ran[4] >= SECOND_NS - 2 * IDLE_BESIDE_WORK_MAX_NS, "seed {seed}: {ran:?}");
    }
}

#[test]
fn fair_shares_hold_on_every_cpu_among_sleepers_that_move() {
    for seed in 0..SEEDS {
        let cpus = 4;
        let mut machine = Machine::new(seed, cpus);
        // Two hogs of different weight stay on each CPU; sleepers go wherever there is room.
        for cpu in 0..cpus as usize {
            machine.add(1, other(0), Work::Hog, CpuSet::of(cpu));
            machine.add(1, other(5), Work::Hog, CpuSet::of(cpu));
        }
        for _ in 0..10 {
            let work = Work::Sleeper { run_ns: 2 * MS, sleep_ns: 1 + machine.random.next_u64() % (30 * MS) };
            machine.add(1, other(0), work, CpuSet::ALL);
        }
        machine.run_for(SECOND_NS);
        for second in 0..3 {
            let ran = machine.second();
            for pair in ran[..2 * cpus as usize].chunks(2) {
                let weights = [0, 5].map(|nice| u64::from(other(nice).weight().value()));
                let due = (pair[0] + pair[1]) * weights[0] / (weights[0] + weights[1]);
                assert!(pair[0].abs_diff(due) <= due / 20, "seed {seed}: second {second}: {pair:?}, due {due}");
            }
        }
    }
}

#[test]
fn real_time_hogs_do_not_starve_fair_threads_that_could_move() {
    for seed in 0..SEEDS {
        let mut machine = Machine::new(seed, 4);
        machine.add(6, other(0), Work::Hog, CpuSet::ALL);
        machine.add(2, Policy::Fifo { priority: 50 }, Work::Hog, CpuSet::ALL);
        machine.run_for(SECOND_NS);
        let ran = machine.second();
        assert_eq!(ran[6..], [SECOND_NS, SECOND_NS], "seed {seed}");
        assert!(ran[..6].iter().all(|ran| *ran > SECOND_NS / 4), "seed {seed}: {ran:?}");
    }
}
