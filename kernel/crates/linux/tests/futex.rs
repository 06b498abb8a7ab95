//! Futexes among threads of the host, which run at the same time: words in program memory, system calls in, and sums that
//! must agree. What each call answers is compared with Linux in `tests/binaries`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use abi::process::{
    FUTEX_CLOCK_REALTIME, FUTEX_CMP_REQUEUE_PI, FUTEX_LOCK_PI, FUTEX_OWNER_DIED, FUTEX_PRIVATE_FLAG, FUTEX_REQUEUE,
    FUTEX_TID_MASK, FUTEX_UNLOCK_PI, FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_WAITERS, FUTEX_WAKE,
};
use abi::{Errno, RobustListHead, Timespec};
use linux::{Registers, Thread};
use sched::Policy;
use support::*;
use sync::machine;

const CLONE: u64 = 56;
const EXIT: u64 = 60;
const FUTEX: u64 = 202;
const CLOCK_SETTIME: u64 = 227;
const SET_ROBUST_LIST: u64 = 273;
const SCHED_SETSCHEDULER: u64 = 144;

/// What a C library makes threads with: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM.
const THREAD_FLAGS: u64 = 0x5_0f00;

/// Words of the program.
const FIRST: u64 = SCRATCH + 0x100;
const SECOND: u64 = SCRATCH + 0x140;
const LOCK: u64 = SCRATCH + 0x180;
const COUNTER: u64 = SCRATCH + 0x1c0;
/// A page nobody has touched.
const FRESH: u64 = SCRATCH + 0x5000;

/// A thread of the program, on whatever thread of the host it is used.
#[derive(Clone)]
struct Task {
    thread: Arc<Thread>,
    registers: Registers,
}

impl Task {
    fn first(machine: &Machine) -> Self {
        Self { thread: Arc::clone(&machine.thread), registers: machine.registers }
    }

    fn new(machine: &mut Machine) -> Self {
        assert!(machine.syscall(CLONE, &[THREAD_FLAGS, SCRATCH + 0x2000]) > 0);
        let thread = machine.cpu.made.lock().unwrap().pop().unwrap();
        Self { thread, registers: machine.registers }
    }

    fn tid(&self) -> u32 {
        self.thread.tid()
    }

    fn call(&mut self, number: u64, arguments: [u64; 6]) -> i64 {
        let registers = &mut self.registers;
        (registers.rax, registers.original_rax) = (number, number);
        [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9] = arguments;
        if linux::syscall_entry(&self.thread, registers) || self.thread.needs_attention() {
            linux::syscall_exit(&self.thread, registers);
        }
        self.registers.rax.cast_signed()
    }

    fn futex(&mut self, word: u64, operation: u32, value: u32, rest: [u64; 3]) -> i64 {
        let operation = u64::from(operation | FUTEX_PRIVATE_FLAG);
        self.call(FUTEX, [word, operation, value.into(), rest[0], rest[1], rest[2]])
    }

    fn exit(&mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| self.call(EXIT, [0; 6])));
        assert!(ended.is_err());
    }
}

fn errno(errno: Errno) -> i64 {
    i64::try_from(errno.as_negative()).unwrap()
}

fn word(address: u64) -> usize {
    usize::try_from(address).unwrap()
}

fn load(address: u64) -> u32 {
    machine::load_user_u32(word(address)).unwrap()
}

/// What the program does to a word by itself.
fn exchange(address: u64, old: u32, new: u32) -> bool {
    machine::compare_exchange_user_u32(word(address), old, new).unwrap().is_ok()
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

fn random(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}

#[test]
fn a_word_that_was_never_touched_is_paged_in() {
    let machine = boot();
    let mut task = Task::first(&machine);
    assert_eq!(task.futex(FRESH, FUTEX_WAIT, 1, [0; 3]), errno(Errno::EAGAIN));
    let limit = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    machine.write(SCRATCH, &limit);
    assert_eq!(task.futex(FRESH + 0x1000, FUTEX_WAIT, 0, [SCRATCH, 0, 0]), errno(Errno::ETIMEDOUT));
    assert_eq!(task.futex(FRESH + 0x2000, FUTEX_LOCK_PI, 0, [0; 3]), 0);
    assert_eq!(load(FRESH + 0x2000), task.tid());
}

#[test]
fn a_time_of_the_day_comes_when_the_clock_is_set() {
    let mut machine = boot();
    let mut task = Task::new(&mut machine);
    machine.write(FIRST, &0_u32);
    let far_ns = machine::realtime_ns() + 3_600_000_000_000;
    let far = Timespec { tv_sec: i64::try_from(far_ns / 1_000_000_000).unwrap(), tv_nsec: 0 };
    machine.write(SCRATCH, &far);
    let operation = FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME;
    let waiting = testkit::threads::spawn(move || task.futex(FIRST, operation, 0, [SCRATCH, 0, u64::from(u32::MAX)]));
    let mut first = Task::first(&machine);
    // Moved to its own word, a waiter shows.
    until(|| first.clone().futex(FIRST, FUTEX_REQUEUE, 0, [1, FIRST, 0]) == 1);
    assert!(!waiting.is_finished());
    machine.write(SCRATCH + 32, &Timespec { tv_sec: far.tv_sec + 1, tv_nsec: 0 });
    assert_eq!(first.call(CLOCK_SETTIME, [0, SCRATCH + 32, 0, 0, 0, 0]), 0);
    assert_eq!(waiting.join().unwrap(), errno(Errno::ETIMEDOUT));
}

#[test]
fn wakes_that_are_counted_arrive() {
    const WAITERS: u32 = 4;
    const ROUNDS: usize = 400;
    let mut machine = boot();
    machine.write(FIRST, &0_u32);
    machine.write(SECOND, &0_u32);
    let running = Arc::new(AtomicUsize::new(WAITERS as usize));
    let (woken, counted) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let mut threads = Vec::new();
    for number in 0..WAITERS {
        let mut task = Task::new(&mut machine);
        let (running, woken) = (Arc::clone(&running), Arc::clone(&woken));
        threads.push(testkit::threads::spawn(move || {
            let mut state = number + 77;
            for _ in 0..ROUNDS {
                let bits = random(&mut state);
                let limit = SCRATCH + 0x1000 + u64::from(number) * 16;
                let time = Timespec { tv_sec: 0, tv_nsec: i64::from(bits % 200_000) };
                mm::user::write_user_struct(word(limit), &time).unwrap();
                let place = if bits >> 20 & 1 == 0 { FIRST } else { SECOND };
                match task.futex(place, FUTEX_WAIT, 0, [limit, 0, 0]) {
                    0 => _ = woken.fetch_add(1, Ordering::Relaxed),
                    other => assert_eq!(other, errno(Errno::ETIMEDOUT)),
                }
            }
            running.fetch_sub(1, Ordering::Relaxed);
        }));
    }
    for number in 0..2 {
        let mut task = Task::new(&mut machine);
        let (running, counted) = (Arc::clone(&running), Arc::clone(&counted));
        threads.push(testkit::threads::spawn(move || {
            let mut state = number + 7;
            while running.load(Ordering::Relaxed) > 0 {
                let bits = random(&mut state);
                let (here, there) = if bits & 1 == 0 { (FIRST, SECOND) } else { (SECOND, FIRST) };
                if bits & 6 == 0 {
                    assert!(task.futex(here, FUTEX_REQUEUE, 0, [2, there, 0]) >= 0);
                } else {
                    let count = task.futex(here, FUTEX_WAKE, 1 + (bits >> 8) % 2, [0; 3]);
                    assert!(count >= 0);
                    counted.fetch_add(count, Ordering::Relaxed);
                }
                std::thread::yield_now();
            }
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(woken.load(Ordering::Relaxed), counted.load(Ordering::Relaxed));
    assert!(woken.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_lock_with_inheritance_has_one_holder() {
    const TASKS: usize = 4;
    const ROUNDS: usize = 300;
    let mut machine = boot();
    machine.write(LOCK, &0_u32);
    let total = Arc::new(AtomicUsize::new(0));
    let is_held = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..TASKS)
        .map(|_| {
            let mut task = Task::new(&mut machine);
            let (total, is_held) = (Arc::clone(&total), Arc::clone(&is_held));
            testkit::threads::spawn(move || {
                for round in 0..ROUNDS {
                    if !exchange(LOCK, 0, task.tid()) {
                        assert_eq!(task.futex(LOCK, FUTEX_LOCK_PI, 0, [0; 3]), 0);
                    }
                    assert!(!is_held.swap(true, Ordering::Relaxed));
                    total.fetch_add(1, Ordering::Relaxed);
                    if round % 3 == 0 {
                        std::thread::yield_now();
                    }
                    is_held.store(false, Ordering::Relaxed);
                    if !exchange(LOCK, task.tid(), 0) {
                        assert_eq!(task.futex(LOCK, FUTEX_UNLOCK_PI, 0, [0; 3]), 0);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(total.load(Ordering::Relaxed), TASKS * ROUNDS);
    assert_eq!(load(LOCK), 0);
}

#[test]
fn waiters_of_a_condition_get_the_lock_one_by_one() {
    const TASKS: u32 = 4;
    let mut machine = boot();
    machine.write(FIRST, &0_u32);
    machine.write(LOCK, &0_u32);
    machine.write(COUNTER, &0_u32);
    let threads: Vec<_> = (0..TASKS)
        .map(|_| {
            let mut task = Task::new(&mut machine);
            testkit::threads::spawn(move || {
                assert_eq!(task.futex(FIRST, FUTEX_WAIT_REQUEUE_PI, 0, [0, LOCK, 0]), 0);
                assert_eq!(load(LOCK) & FUTEX_TID_MASK, task.tid());
                let counter = load(COUNTER);
                std::thread::yield_now();
                assert!(exchange(COUNTER, counter, counter + 1));
                assert_eq!(task.futex(LOCK, FUTEX_UNLOCK_PI, 0, [0; 3]), 0);
            })
        })
        .collect();
    let mut task = Task::first(&machine);
    let mut moved = 0;
    while moved < i64::from(TASKS) {
        let more = task.futex(FIRST, FUTEX_CMP_REQUEUE_PI, 1, [1, LOCK, 0]);
        assert!(more >= 0, "{more}");
        moved += more;
        std::thread::yield_now();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(load(COUNTER), TASKS);
    assert_eq!(load(LOCK), 0);
}

#[test]
fn the_locks_of_a_thread_that_ends_go_to_those_who_wait() {
    let mut machine = boot();
    let mut holder = Task::new(&mut machine);
    let mut heir = Task::new(&mut machine);
    // One lock with inheritance, and one on the robust list, 16 bytes behind its link.
    let link = SCRATCH + 0x300;
    machine.write(LOCK, &holder.tid());
    machine.write(link, &(SCRATCH + 0x200));
    machine.write(link + 16, &(holder.tid() | FUTEX_WAITERS));
    machine.write(SCRATCH + 0x200, &RobustListHead { list: link, futex_offset: 16, list_op_pending: 0 });
    assert_eq!(holder.call(SET_ROBUST_LIST, [SCRATCH + 0x200, 24, 0, 0, 0, 0]), 0);
    let tid = heir.tid();
    // The heir waits for the holder from when it lends its priority: the bit in the word comes before that.
    machine.write(SCRATCH + 0x400, &50_u32);
    assert_eq!(heir.call(SCHED_SETSCHEDULER, [0, 1, SCRATCH + 0x400, 0, 0, 0]), 0);
    *machine.cpu.policy.lock().unwrap() = Policy::Other { nice: 0 };
    let waiting = testkit::threads::spawn(move || {
        assert_eq!(heir.futex(LOCK, FUTEX_LOCK_PI, 0, [0; 3]), 0);
        heir
    });
    until(|| machine.cpu.policy.lock().unwrap().priority().is_some());
    holder.exit();
    let mut heir = waiting.join().unwrap();
    assert_eq!(load(LOCK), tid | FUTEX_WAITERS | FUTEX_OWNER_DIED);
    assert_eq!(load(link + 16), FUTEX_WAITERS | FUTEX_OWNER_DIED);
    assert_eq!(heir.futex(LOCK, FUTEX_UNLOCK_PI, 0, [0; 3]), 0);
    assert_eq!(load(LOCK), 0);
}
