//! What waits for little allocates nothing.

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use abi::{Pollfd, Timespec};
use netsim::counting::{CountingAllocator, allocation_count};
use support::*;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const POLL: u64 = 7;
const PIPE: u64 = 22;
const PSELECT: u64 = 270;
const POLLIN: u16 = 1;
/// Where the program has its arrays, behind each other.
const TIMEOUT: u64 = SCRATCH + 256;
const SET: u64 = SCRATCH + 512;

/// How often a call allocates that finds nothing and sleeps for a millisecond.
fn allocations(machine: &mut Machine, number: u64, arguments: &[u64]) -> usize {
    let before = allocation_count();
    assert_eq!(machine.syscall(number, arguments), 0);
    allocation_count() - before
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
