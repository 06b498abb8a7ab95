//! What waits for little allocates nothing.

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use abi::{Iovec, Pollfd, Timespec};
use netsim::counting::{CountingAllocator, allocation_count};
use support::*;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const POLL: u64 = 7;
const READ: u64 = 0;
const WRITE: u64 = 1;
const READV: u64 = 19;
const WRITEV: u64 = 20;
const PIPE: u64 = 22;
const PSELECT: u64 = 270;
const POLLIN: u16 = 1;
/// Where the program has its arrays, behind each other.
const TIMEOUT: u64 = SCRATCH + 256;
const SET: u64 = SCRATCH + 512;

/// How often a call allocates that answers this.
fn allocations_of(machine: &mut Machine, answer: i64, number: u64, arguments: &[u64]) -> usize {
    let before = allocation_count();
    assert_eq!(machine.syscall(number, arguments), answer);
    allocation_count() - before
}

/// How often a call allocates that finds nothing and sleeps for a millisecond.
fn allocations(machine: &mut Machine, number: u64, arguments: &[u64]) -> usize {
    allocations_of(machine, 0, number, arguments)
}

#[test]
fn vectors_of_few_buffers_allocate_nothing() {
    let mut machine = boot();
    assert_eq!(machine.syscall(PIPE, &[SCRATCH]), 0);
    let [read_end, write_end] = machine.read::<[i32; 2]>(SCRATCH).map(|fd| u64::try_from(fd).unwrap());
    let iov_base = usize::try_from(SCRATCH).unwrap();
    let vector = [Iovec { iov_base, iov_len: 2 }; 4];
    for round in 0..2 {
        // The memory of a test allocates for each copy.
        let alone = [
            allocations_of(&mut machine, 2, WRITE, &[write_end, SCRATCH, 2]),
            allocations_of(&mut machine, 2, READ, &[read_end, SCRATCH, 2]),
        ];
        machine.write(SCRATCH, &vector);
        let together = [
            allocations_of(&mut machine, 8, WRITEV, &[write_end, SCRATCH, vector.len() as u64]),
            allocations_of(&mut machine, 8, READV, &[read_end, SCRATCH, vector.len() as u64]),
        ];
        assert!(round == 0 || together == alone.map(|count| count * vector.len()), "{together:?} for {alone:?}");
    }
}

#[test]
fn a_poll_of_few_that_sleeps_allocates_the_first_time_only() {
    let mut machine = boot();
    let mut ends = Vec::new();
    for _ in 0..4 {
        assert_eq!(machine.syscall(PIPE, &[SCRATCH]), 0);
        let [read_end, _] = machine.read::<[i32; 2]>(SCRATCH);
        ends.push(read_end);
    }
    for count in 1..=ends.len() {
        let array: Vec<_> = ends[..count].iter().map(|&fd| Pollfd { fd, events: POLLIN, revents: 0 }).collect();
        for (index, one) in (0_u64..).zip(&array) {
            machine.write(SCRATCH + 8 * index, one);
        }
        let count = u64::try_from(count).unwrap();
        // What a file needs to be waited for is made once, and so are the thread's nodes.
        allocations(&mut machine, POLL, &[SCRATCH, count, 1]);
        assert_eq!(allocations(&mut machine, POLL, &[SCRATCH, count, 1]), 0, "poll of {count}");
        let set: u64 = ends.iter().take(array.len()).map(|fd| 1 << fd).sum();
        let last = u64::try_from(ends[array.len() - 1]).unwrap();
        for round in 0..2 {
            machine.write(SET, &set);
            machine.write(TIMEOUT, &Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
            let made = allocations(&mut machine, PSELECT, &[last + 1, SET, 0, 0, TIMEOUT, 0]);
            assert!(round == 0 || made == 0, "select of {count}: {made}");
        }
    }
}
