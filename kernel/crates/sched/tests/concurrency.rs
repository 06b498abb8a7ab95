//! Queues of several CPUs under real concurrency: threads of the host play the CPUs, others change policies and affinities in
//! the meantime, and threads block, wake and move. Whatever the interleaving, no queue's sums go wrong, no thread is lost or runs
//! twice, and none stays where it may not be.
//!
//! The glue is what the crate's documentation asks of a machine, with the switch left out: a thread is off its CPU when the queue
//! has let it go.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "the whole file is a test")]

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use sched::balance::{self, Load};
use sched::{Arrival, CpuSet, Inbox, Leave, Node, Nodes, Place, Policy, RunQueue, ThreadId};
use testkit::Random;

const CPUS: usize = 3;
const THREADS: u32 = 12;
const STEPS: usize = 100_000;
const SEEDS: u64 = 6;

/// Whose business a thread is: it runs or waits, its CPU has put it to sleep, or somebody is waking it.
const AWAKE: usize = 0;
const ASLEEP: usize = 1;

struct Cpu {
    queue: Mutex<RunQueue>,
    inbox: Inbox,
    load: Mutex<Load>,
}

struct Machine {
    nodes: Vec<Node>,
    states: Vec<AtomicUsize>,
    /// How many CPUs run a thread: never more than one.
    running: Vec<AtomicUsize>,
    cpus: Vec<Cpu>,
    clock: AtomicU64,
    is_over: AtomicBool,
}

impl Machine {
    fn new() -> Self {
        Self {
            nodes: (0..THREADS).map(|_| Node::new(Policy::Other { nice: 0 }, CpuSet::ALL)).collect(),
            states: (0..THREADS).map(|_| AtomicUsize::new(AWAKE)).collect(),
            running: (0..THREADS).map(|_| AtomicUsize::new(0)).collect(),
            cpus: (0..CPUS)
                .map(|cpu| Cpu {
                    queue: Mutex::new(RunQueue::new(u32::try_from(cpu).unwrap())),
                    inbox: Inbox::new(),
                    load: Mutex::new(Load::default()),
                })
                .collect(),
            clock: AtomicU64::new(1 << 40),
            is_over: AtomicBool::new(false),
        }
    }

    fn now_ns(&self) -> u64 {
        self.clock.fetch_add(10_000, Ordering::Relaxed)
    }

    fn node(&self, id: ThreadId) -> &Node {
        self.nodes.as_slice().node(id)
    }

    fn load_of(&self, cpu: usize) -> Load {
        *self.cpus[cpu].load.lock().unwrap()
    }

    fn publish(&self, cpu: usize, queue: &RunQueue) {
        *self.cpus[cpu].load.lock().unwrap() = queue.load();
    }

    /// Locks the queue that a thread is in or was in last.
    fn queue_of(&self, id: ThreadId) -> (usize, MutexGuard<'_, RunQueue>) {
        loop {
            let cpu = self.node(id).cpu();
            let queue = self.cpus[cpu].queue.lock().unwrap();
            if self.node(id).cpu() == cpu {
                return (cpu, queue);
            }
        }
    }

    /// Brings a thread that is in no queue to one.
    fn send(&self, id: ThreadId) {
        let node = self.node(id);
        let cpu = balance::place(node.affinity(), node.policy().urgency(), node.cpu(), CPUS, |cpu| self.load_of(cpu));
        self.cpus[cpu.unwrap()].inbox.push(self.nodes.as_slice(), id);
    }

    fn wake(&self, id: ThreadId) {
        if self.states[id.0 as usize].compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.send(id);
        }
    }

    fn enter(&self, cpu: usize, id: ThreadId, arrival: Arrival) {
        let mut queue = self.cpus[cpu].queue.lock().unwrap();
        queue.enqueue(self.nodes.as_slice(), id, self.now_ns(), arrival);
        let may_stay = self.node(id).affinity().contains(cpu);
        if !may_stay {
            queue.remove(self.nodes.as_slice(), id, self.now_ns());
        }
        self.publish(cpu, &queue);
        drop(queue);
        if !may_stay {
            self.send(id);
        }
    }

    /// Ends the turn of what a CPU runs and chooses the next.
    fn schedule(&self, cpu: usize, leave: Leave) {
        let nodes = self.nodes.as_slice();
        let mut queue = self.cpus[cpu].queue.lock().unwrap();
        let before = queue.current();
        let mut leave = leave;
        if let Some(id) = before {
            assert_eq!(self.running[id.0 as usize].fetch_sub(1, Ordering::AcqRel), 1, "{id:?} ran twice");
            if leave != Leave::Blocks && !self.node(id).affinity().contains(cpu) {
                leave = Leave::Moves;
            }
        }
        let next = queue.schedule(nodes, self.now_ns(), leave);
        if let Some(id) = next {
            assert_eq!(self.running[id.0 as usize].fetch_add(1, Ordering::AcqRel), 0, "{id:?} runs twice");
        }
        self.publish(cpu, &queue);
        drop(queue);
        match (before, leave) {
            (Some(id), Leave::Blocks) => self.states[id.0 as usize].store(ASLEEP, Ordering::Release),
            (Some(id), Leave::Moves) => self.send(id),
            _ => {}
        }
    }

    fn take_inbox(&self, cpu: usize) {
        for id in self.cpus[cpu].inbox.take(self.nodes.as_slice()) {
            self.enter(cpu, id, Arrival::Woken);
        }
    }

    fn steal(&self, cpu: usize) {
        for source in balance::sources(cpu, CPUS, |cpu| self.load_of(cpu)) {
            let mut queue = self.cpus[source].queue.lock().unwrap();
            let taken = queue.take_for(self.nodes.as_slice(), cpu, self.load_of(cpu), self.now_ns());
            self.publish(source, &queue);
            drop(queue);
            if let Some(id) = taken {
                return self.enter(cpu, id, Arrival::Moved);
            }
        }
    }

    /// What a CPU does.
    fn run(&self, cpu: usize, mut random: Random) {
        while !self.is_over.load(Ordering::Relaxed) {
            self.take_inbox(cpu);
            match random.below(8) {
                0 | 1 => self.schedule(cpu, Leave::Blocks),
                2 => self.schedule(cpu, Leave::Yields),
                3 => self.steal(cpu),
                _ => self.schedule(cpu, Leave::Preempted),
            }
            if self.load_of(cpu).is_idle() {
                self.steal(cpu);
                thread::yield_now();
            }
        }
    }

    fn set_policy(&self, id: ThreadId, policy: Policy) {
        self.node(id).set_policy(policy);
        let (cpu, mut queue) = self.queue_of(id);
        queue.follow_policy(self.nodes.as_slice(), id, self.now_ns());
        self.publish(cpu, &queue);
    }

    fn set_affinity(&self, id: ThreadId, affinity: CpuSet) {
        self.node(id).set_affinity(affinity);
        let (cpu, mut queue) = self.queue_of(id);
        let is_taken = queue.place(self.nodes.as_slice(), id) == Place::Queued && !affinity.contains(cpu);
        if is_taken {
            queue.remove(self.nodes.as_slice(), id, self.now_ns());
            self.publish(cpu, &queue);
            drop(queue);
            self.send(id);
        }
    }

    /// What others do to the threads.
    fn disturb(&self, mut random: Random) {
        for _ in 0..STEPS {
            let id = ThreadId(u32::try_from(random.below(THREADS as usize)).unwrap());
            match random.below(4) {
                0 => {
                    let nice = i8::try_from(random.below(40)).unwrap() - 20;
                    let priority = 1 + u8::try_from(random.below(4)).unwrap();
                    let policies = [
                        Policy::Other { nice },
                        Policy::Batch { nice },
                        Policy::Idle,
                        Policy::Fifo { priority },
                        Policy::RoundRobin { priority },
                    ];
                    self.set_policy(id, *random.pick(&policies));
                }
                1 => self.set_affinity(id, CpuSet(1 + random.next_u64() % ((1 << CPUS) - 1))),
                _ => self.wake(id),
            }
        }
    }
}

fn torture(seed: u64) {
    let machine = Machine::new();
    for id in 0..THREADS {
        machine.send(ThreadId(id));
    }
    thread::scope(|scope| {
        for cpu in 0..CPUS {
            let machine = &machine;
            scope.spawn(move || machine.run(cpu, Random::new(seed * 100 + cpu as u64)));
        }
        let disturbing: Vec<_> = (0..2)
            .map(|who| {
                let machine = &machine;
                scope.spawn(move || machine.disturb(Random::new(seed * 100 + 50 + who)))
            })
            .collect();
        let ends: Vec<_> = disturbing.into_iter().map(thread::ScopedJoinHandle::join).collect();
        machine.is_over.store(true, Ordering::Relaxed);
        ends.into_iter().for_each(Result::unwrap);
    });
    // Everything comes to rest: what is on its way arrives, what may not stay leaves, what sleeps wakes.
    for id in 0..THREADS {
        machine.wake(ThreadId(id));
    }
    for _ in 0..THREADS {
        for cpu in 0..CPUS {
            machine.take_inbox(cpu);
            machine.schedule(cpu, Leave::Preempted);
        }
    }
    let mut sums = [(0_u64, 0_u32); CPUS];
    for (id, node) in machine.nodes.iter().enumerate() {
        assert_ne!(node.place(), Place::Off, "seed {seed}: {id} is lost");
        assert!(node.affinity().contains(node.cpu()), "seed {seed}: {id} is where it may not be");
        let sum = &mut sums[node.cpu()];
        *sum = (sum.0 + u64::from(node.policy().weight().value()), sum.1 + 1);
    }
    for (cpu, sum) in sums.into_iter().enumerate() {
        let load = machine.cpus[cpu].queue.lock().unwrap().load();
        assert_eq!((load.weight, load.runnable), sum, "seed {seed}: CPU {cpu}");
    }
}

#[test]
fn changes_from_outside_leave_queues_sound() {
    (0..SEEDS).for_each(torture);
}
