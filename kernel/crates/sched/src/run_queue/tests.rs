use super::*;

const MS: u64 = 1_000_000;
const START_NS: u64 = 1_000_000 * MS;

fn other(nice: i8) -> Policy {
    Policy::Other { nice }
}

fn nodes(policies: &[Policy]) -> Vec<Node> {
    policies.iter().map(|policy| Node::new(*policy, CpuSet::ALL)).collect()
}

/// A queue to which all threads have just come.
fn queue_of(nodes: &[Node]) -> RunQueue {
    let mut queue = RunQueue::new(0);
    for id in 0..nodes.len() {
        queue.enqueue(nodes, ThreadId(u32::try_from(id).unwrap()), START_NS, Arrival::New);
    }
    queue
}

#[test]
fn a_thread_alone_needs_no_timer() {
    let nodes = nodes(&[other(0), other(0)]);
    let mut queue = RunQueue::new(0);
    assert_eq!(queue.schedule(nodes.as_slice(), START_NS, Leave::Preempted), None);
    assert!(queue.enqueue(nodes.as_slice(), ThreadId(0), START_NS, Arrival::New));
    assert_eq!(queue.schedule(nodes.as_slice(), START_NS, Leave::Preempted), Some(ThreadId(0)));
    assert_eq!(queue.next_event(nodes.as_slice()), None);
    // A year later it has not lost its place.
    let year_ns = START_NS + 31_536_000_000 * MS;
    assert!(!queue.tick(nodes.as_slice(), year_ns));
    assert_eq!(queue.runtime_ns(nodes.as_slice(), ThreadId(0), year_ns), year_ns - START_NS);
    assert!(!queue.enqueue(nodes.as_slice(), ThreadId(1), year_ns, Arrival::New));
    let turn_ns = queue.next_event(nodes.as_slice()).unwrap() - year_ns;
    assert!((GRANULE_NS..=2 * GRANULE_NS).contains(&turn_ns), "{turn_ns}");
    queue.schedule(nodes.as_slice(), year_ns, Leave::Blocks);
    assert_eq!(queue.next_event(nodes.as_slice()), None);
}

#[test]
fn the_event_is_when_the_turn_ends() {
    let nodes = nodes(&[other(0), other(5), other(-5), Policy::Idle]);
    let nodes = nodes.as_slice();
    let mut queue = queue_of(nodes);
    let mut now_ns = START_NS;
    queue.schedule(nodes, now_ns, Leave::Preempted);
    for _ in 0..1000 {
        let event_ns = queue.next_event(nodes).unwrap();
        for alarm_ns in
            [now_ns, now_ns + 1, event_ns.saturating_sub(MS), event_ns - 1, event_ns, event_ns + MS, u64::MAX]
        {
            assert!(!queue.has_no_event_before(alarm_ns) || alarm_ns <= event_ns);
        }
        assert!(event_ns == now_ns || !queue.tick(nodes, event_ns - 1));
        // An event may come a whole half-life early, never by a little.
        let is_over = queue.tick(nodes, event_ns);
        assert!(is_over || queue.next_event(nodes).unwrap() - event_ns < 4 || event_ns - now_ns > 100 * MS);
        now_ns = event_ns;
        queue.schedule(nodes, now_ns, Leave::Preempted);
    }
}

#[test]
fn a_sleeper_preempts_and_a_batch_thread_does_not() {
    for (policy, preempts) in [(other(0), true), (Policy::Batch { nice: 0 }, false), (Policy::Idle, false)] {
        let nodes = nodes(&[other(0), policy]);
        let nodes = nodes.as_slice();
        let mut queue = RunQueue::new(0);
        queue.enqueue(nodes, ThreadId(1), START_NS, Arrival::New);
        queue.schedule(nodes, START_NS, Leave::Preempted);
        queue.schedule(nodes, START_NS, Leave::Blocks);
        queue.enqueue(nodes, ThreadId(0), START_NS, Arrival::New);
        queue.schedule(nodes, START_NS, Leave::Preempted);
        assert_eq!(queue.enqueue(nodes, ThreadId(1), START_NS + 50 * MS, Arrival::Woken), preempts, "{policy:?}");
    }
}

#[test]
fn who_is_released_waits_for_the_shortest_turn() {
    for (ran_ns, preempts) in [(GRANULE_MIN_NS - 1, false), (GRANULE_MIN_NS, true)] {
        let nodes = nodes(&[other(0), other(0)]);
        let nodes = nodes.as_slice();
        let mut queue = queue_of(nodes);
        let sleeper = queue.schedule(nodes, START_NS, Leave::Preempted).unwrap();
        queue.schedule(nodes, START_NS, Leave::Blocks);
        let turn_ns = START_NS + 50 * MS;
        queue.schedule(nodes, turn_ns, Leave::Preempted);
        assert_eq!(queue.enqueue(nodes, sleeper, turn_ns + ran_ns, Arrival::Released), preempts, "{ran_ns}");
    }
}

/// Enters a thread, and says whether it preempts.
type Enter<'a> = &'a mut dyn FnMut(&mut RunQueue, &[Node], ThreadId) -> Option<bool>;

#[test]
fn a_wake_without_the_time_is_like_one_with_it() {
    const SEED: u64 = 0x3a1e;
    let mut random = testkit::Random::new(SEED);
    let mut quick = 0;
    for _ in 0..2_000 {
        let (ran_ns, slept_ns) = (random.next_u64() % (4 * MS), random.next_u64() % (2 * MS));
        let alarm_ns = START_NS + ran_ns + slept_ns + 1 + random.next_u64() % MS;
        let wake = |enter: Enter<'_>| {
            let nodes = nodes(&[other(0), other(0)]);
            let mut queue = queue_of(&nodes);
            let sleeper = queue.schedule(nodes.as_slice(), START_NS, Leave::Preempted).unwrap();
            queue.schedule(nodes.as_slice(), START_NS + ran_ns, Leave::Blocks);
            let preempts = enter(&mut queue, &nodes, sleeper);
            queue.tick(nodes.as_slice(), alarm_ns);
            (preempts, nodes[sleeper.0 as usize].key.get(), queue.floor, queue.load())
        };
        let without = wake(&mut |queue, nodes, id| queue.enqueue_woken(nodes, id, Arrival::Woken, alarm_ns));
        let with =
            wake(&mut |queue, nodes, id| Some(queue.enqueue(nodes, id, START_NS + ran_ns + slept_ns, Arrival::Woken)));
        if without.0.is_some() {
            quick += 1;
            assert_eq!(without.0, Some(false), "seed {SEED:#x}");
            assert_eq!((without.1, without.3), (with.1, with.3), "seed {SEED:#x}");
            let behind = with.2.checked_sub(without.2).unwrap();
            assert!(behind <= decay::slope(alarm_ns, decay::epoch(START_NS)) * GRANULE_NS, "seed {SEED:#x}: {behind}");
        }
    }
    assert!(quick > 100, "seed {SEED:#x}: {quick}");
}

/// A way to wake and a way to block.
struct Ways {
    wake: fn(&mut RunQueue, &[Node], ThreadId, u64, Arrival) -> bool,
    block: fn(&mut RunQueue, &[Node], u64) -> Option<ThreadId>,
}

const GENERAL: Ways = Ways {
    wake: |queue, nodes, id, now_ns, arrival| {
        let node = &nodes[id.0 as usize];
        let is_home = node.cpu() == queue.cpu as usize;
        node.arrive(queue.cpu);
        queue.enter(nodes, id, now_ns, arrival, is_home)
    },
    block: |queue, nodes, now_ns| queue.choose(nodes, now_ns, Leave::Blocks),
};

const QUICK: Ways = Ways {
    wake: |queue, nodes, id, now_ns, arrival| queue.enqueue(nodes, id, now_ns, arrival),
    block: |queue, nodes, now_ns| queue.schedule(nodes, now_ns, Leave::Blocks),
};

/// Blocks, wakes, time and changes of policy among a few threads, and everything that there is after each step.
fn history(seed: u64, ways: &Ways) -> Vec<String> {
    let mut random = testkit::Random::new(seed);
    let nodes = nodes(&[other(0), other(0), other(0), other(if seed.is_multiple_of(4) { 5 } else { 0 })]);
    let nodes = nodes.as_slice();
    let mut queue = queue_of(nodes);
    let mut now_ns = START_NS;
    queue.schedule(nodes, now_ns, Leave::Preempted);
    let step = |_| {
        now_ns += random.next_u64() % if random.one_in(8) { 3 * MS } else { MS / 20 };
        let index = random.below(nodes.len());
        let id = ThreadId(u32::try_from(index).unwrap());
        let answer = match random.below(64) {
            0 => {
                let policy = *random.pick(&[other(0), Policy::Fifo { priority: 1 }]);
                format!("{:?}", nodes[index].set_policy(policy))
            }
            1 => format!("{:?}", queue.follow_policy(nodes, id, now_ns)),
            number @ 2..32 if nodes[index].place() == Place::Off => {
                let arrival = if number % 2 == 0 { Arrival::Woken } else { Arrival::Released };
                format!("{:?}", (ways.wake)(&mut queue, nodes, id, now_ns, arrival))
            }
            32..40 => format!("{:?}", queue.schedule(nodes, now_ns, Leave::Preempted)),
            _ => format!("{:?}", (ways.block)(&mut queue, nodes, now_ns)),
        };
        format!("{answer} {queue:?} {nodes:?}")
    };
    (0..500).map(step).collect()
}

#[test]
fn the_short_ways_do_what_the_general_ones_do() {
    for seed in 0..64 {
        for (step, (quick, general)) in history(seed, &QUICK).iter().zip(&history(seed, &GENERAL)).enumerate() {
            assert!(quick == general, "seed {seed}, step {step}");
        }
    }
}

#[test]
fn two_threads_that_take_turns_are_handed_over() {
    let nodes = nodes(&[other(0), other(0)]);
    let mut queue = queue_of(&nodes);
    let first = queue.schedule(nodes.as_slice(), START_NS, Leave::Preempted);
    assert_ne!(queue.hand_over(nodes.as_slice(), START_NS + 1_000), first);
    assert_eq!(queue.hand_over(nodes.as_slice(), START_NS + 2_000), None, "nobody waits");
    assert_eq!(queue.choose(nodes.as_slice(), START_NS + 2_000, Leave::Blocks), None);
}

#[test]
fn a_sleeper_has_no_more_than_its_credit() {
    let nodes = nodes(&[other(0), other(0)]);
    let nodes = nodes.as_slice();
    let mut queue = queue_of(nodes);
    let sleeper = queue.schedule(nodes, START_NS, Leave::Preempted);
    let hog = queue.schedule(nodes, START_NS, Leave::Blocks);
    let now_ns = START_NS + 3_600_000 * MS;
    assert!(queue.enqueue(nodes, sleeper.unwrap(), now_ns, Arrival::Woken));
    assert_eq!(queue.schedule(nodes, now_ns, Leave::Preempted), sleeper);
    let turn_ns = queue.next_event(nodes).unwrap() - now_ns;
    assert!((CREDIT_NS..=CREDIT_NS + GRANULE_NS).contains(&turn_ns), "{turn_ns}");
    assert_eq!(queue.schedule(nodes, now_ns + turn_ns, Leave::Preempted), hog);
}

#[test]
fn sleepers_that_wake_together_do_not_add_up_their_credits() {
    let nodes = nodes(&[other(0); 11]);
    let nodes = nodes.as_slice();
    let mut queue = queue_of(nodes);
    let mut hog = queue.schedule(nodes, START_NS, Leave::Preempted);
    let mut sleepers = Vec::new();
    while sleepers.len() < 10 {
        sleepers.extend(hog);
        hog = queue.schedule(nodes, START_NS, Leave::Blocks);
    }
    let woken_ns = START_NS + 500 * MS;
    for sleeper in &sleepers {
        queue.enqueue(nodes, *sleeper, woken_ns, Arrival::Woken);
    }
    let mut now_ns = woken_ns;
    while queue.schedule(nodes, now_ns, Leave::Preempted) != hog {
        now_ns = queue.next_event(nodes).unwrap();
    }
    let wait_ns = now_ns - woken_ns;
    assert!(wait_ns <= 10 * (CREDIT_NS + 2 * GRANULE_NS), "{wait_ns}");
}

#[test]
fn yielding_lets_another_go() {
    let nodes = nodes(&[other(0), other(-10), other(19)]);
    let nodes = nodes.as_slice();
    let mut queue = queue_of(nodes);
    let mut now_ns = START_NS;
    let mut before = queue.schedule(nodes, now_ns, Leave::Preempted);
    for _ in 0..200 {
        now_ns += 1000;
        let next = queue.schedule(nodes, now_ns, Leave::Yields);
        assert_ne!(next, before);
        before = next;
    }
}

#[test]
fn priorities_are_strict_and_round_robin_takes_turns() {
    let fifo = Policy::Fifo { priority: 10 };
    let turns = Policy::RoundRobin { priority: 10 };
    let nodes = nodes(&[other(-20), fifo, turns, turns, Policy::Fifo { priority: 11 }]);
    let nodes = nodes.as_slice();
    let id = |index| Some(ThreadId(index));
    let mut queue = RunQueue::new(0);
    assert!(queue.enqueue(nodes, ThreadId(0), START_NS, Arrival::New));
    queue.schedule(nodes, START_NS, Leave::Preempted);
    assert!(queue.enqueue(nodes, ThreadId(1), START_NS, Arrival::New));
    assert_eq!(queue.schedule(nodes, START_NS, Leave::Preempted), id(1));
    assert!(!queue.enqueue(nodes, ThreadId(2), START_NS, Arrival::New));
    assert!(!queue.enqueue(nodes, ThreadId(3), START_NS, Arrival::New));
    // First in, first out: no end to the turn.
    assert_eq!(queue.next_event(nodes), None);
    assert_eq!(queue.schedule(nodes, START_NS + MS, Leave::Yields), id(2));
    assert_eq!(queue.next_event(nodes), Some(START_NS + MS + ROUND_ROBIN_NS));
    // The preempted keeps its place and the rest of its turn.
    assert!(queue.enqueue(nodes, ThreadId(4), START_NS + 41 * MS, Arrival::New));
    assert_eq!(queue.schedule(nodes, START_NS + 41 * MS, Leave::Preempted), id(4));
    assert_eq!(queue.schedule(nodes, START_NS + 90 * MS, Leave::Blocks), id(2));
    assert_eq!(queue.next_event(nodes), Some(START_NS + 150 * MS));
    assert!(queue.tick(nodes, START_NS + 150 * MS));
    assert_eq!(queue.schedule(nodes, START_NS + 150 * MS, Leave::Preempted), id(3));
    assert_eq!(queue.schedule(nodes, START_NS + 151 * MS, Leave::Blocks), id(1));
    assert_eq!(queue.schedule(nodes, START_NS + 152 * MS, Leave::Blocks), id(2));
    assert_eq!(queue.schedule(nodes, START_NS + 153 * MS, Leave::Blocks), id(0));
    assert_eq!(queue.schedule(nodes, START_NS + 154 * MS, Leave::Blocks), None);
    assert_eq!(queue.load(), Load::default());
}

#[test]
fn a_change_of_policy_takes_effect_at_once() {
    let nodes = nodes(&[other(0), other(0)]);
    let nodes = nodes.as_slice();
    let mut queue = queue_of(nodes);
    let running = queue.schedule(nodes, START_NS, Leave::Preempted).unwrap();
    let waiting = ThreadId(1 - running.0);
    let change = |queue: &mut RunQueue, id: ThreadId, policy, now_ns| {
        nodes.node(id).set_policy(policy);
        queue.follow_policy(nodes, id, now_ns)
    };
    assert!(change(&mut queue, waiting, Policy::Fifo { priority: 1 }, START_NS + MS));
    assert_eq!(queue.schedule(nodes, START_NS + MS, Leave::Preempted), Some(waiting));
    assert!(!change(&mut queue, running, Policy::Fifo { priority: 1 }, START_NS + 2 * MS));
    assert!(change(&mut queue, waiting, other(19), START_NS + 3 * MS));
    assert_eq!(queue.schedule(nodes, START_NS + 3 * MS, Leave::Preempted), Some(running));
    change(&mut queue, running, other(0), START_NS + 4 * MS);
    assert_eq!(queue.load().weight, 1024 + 15);
}

#[test]
fn a_queue_counts_by_what_it_has_followed() {
    let nodes = nodes(&[other(0), other(0), other(0)]);
    let nodes = nodes.as_slice();
    let (running, waiting, off) = (ThreadId(0), ThreadId(1), ThreadId(2));
    let (mut queue, mut elsewhere) = (RunQueue::new(0), RunQueue::new(1));
    queue.enqueue(nodes, running, START_NS, Arrival::New);
    queue.schedule(nodes, START_NS, Leave::Preempted);
    queue.enqueue(nodes, waiting, START_NS, Arrival::New);
    for id in [running, waiting, off] {
        nodes.node(id).set_policy(other(19));
        assert_eq!(nodes.node(id).policy(), other(19));
    }
    assert_eq!(queue.load().weight, 2 * 1024);
    // What is in no queue, or in another, is none of its business.
    assert!(!queue.follow_policy(nodes, off, START_NS));
    assert!(!elsewhere.follow_policy(nodes, waiting, START_NS));
    assert_eq!((elsewhere.place(nodes, waiting), queue.place(nodes, waiting)), (Place::Off, Place::Queued));
    assert_eq!((queue.place(nodes, running), queue.place(nodes, off)), (Place::Running, Place::Off));
    // The one leaves as what it was counted, the others follow, or come as what they are.
    queue.remove(nodes, waiting, START_NS + MS);
    assert_eq!(queue.load().weight, 1024);
    queue.follow_policy(nodes, running, START_NS + MS);
    queue.enqueue(nodes, off, START_NS + MS, Arrival::Woken);
    assert_eq!(queue.load().weight, 2 * 15);
    elsewhere.enqueue(nodes, waiting, START_NS + MS, Arrival::Moved);
    assert_eq!(elsewhere.load().weight, 15);
    assert_eq!(queue.place(nodes, waiting), Place::Off);
}

#[test]
fn a_blocked_thread_comes_back_with_its_new_policy() {
    let nodes = nodes(&[other(0), other(0)]);
    let nodes = nodes.as_slice();
    let mut queue = queue_of(nodes);
    let first = queue.schedule(nodes, START_NS, Leave::Preempted).unwrap();
    let second = queue.schedule(nodes, START_NS + MS, Leave::Blocks).unwrap();
    nodes.node(first).set_policy(Policy::RoundRobin { priority: 3 });
    assert!(!queue.follow_policy(nodes, first, START_NS + MS));
    assert!(queue.enqueue(nodes, first, START_NS + 2 * MS, Arrival::Woken));
    assert_eq!(queue.schedule(nodes, START_NS + 2 * MS, Leave::Preempted), Some(first));
    assert_eq!(queue.schedule(nodes, START_NS + 3 * MS, Leave::Blocks), Some(second));
    nodes.node(first).set_policy(other(0));
    // It has had its time: no credit for having been real-time.
    assert!(!queue.enqueue(nodes, first, START_NS + 4 * MS, Arrival::Woken));
}

#[test]
fn what_moves_is_what_makes_loads_even_and_may() {
    let nodes = nodes(&[other(0), other(0), other(5), other(10)]);
    let nodes = nodes.as_slice();
    let mut queue = queue_of(nodes);
    queue.schedule(nodes, START_NS, Leave::Preempted);
    let one = Load { weight: 1024, runnable: 1, running: Urgency::FAIR };
    // 2,493 against 1,024: nice 0 leaves the smallest difference.
    let moved = queue.take_for(nodes, 1, one, START_NS).unwrap();
    assert_eq!(nodes.node(moved).policy(), other(0));
    assert_eq!(nodes.node(moved).place(), Place::Off);
    assert_eq!(queue.take_for(nodes, 1, Load { weight: 2048, ..one }, START_NS), None);
    nodes[3].set_affinity(CpuSet::of(0));
    nodes[2].set_affinity(CpuSet::of(0));
    assert_eq!(queue.take_for(nodes, 1, Load::default(), START_NS), None);
    nodes[3].set_affinity(CpuSet::of(1));
    assert_eq!(queue.take_for(nodes, 1, Load::default(), START_NS), Some(ThreadId(3)));
}

#[test]
fn a_moved_thread_keeps_its_distance() {
    let nodes = nodes(&[other(0), other(0), other(0), other(0)]);
    let nodes = nodes.as_slice();
    // Two CPUs whose clocks of fairness differ by a lot: one has been idle for hours.
    let (mut from, mut to) = (RunQueue::new(0), RunQueue::new(1));
    from.enqueue(nodes, ThreadId(0), START_NS, Arrival::New);
    from.schedule(nodes, START_NS, Leave::Preempted);
    let now_ns = START_NS + 7_200_000 * MS;
    from.enqueue(nodes, ThreadId(1), now_ns, Arrival::New);
    to.enqueue(nodes, ThreadId(2), now_ns, Arrival::New);
    to.schedule(nodes, now_ns, Leave::Preempted);
    let moved = from.take_for(nodes, 1, Load::default(), now_ns).unwrap();
    to.enqueue(nodes, moved, now_ns, Arrival::Moved);
    let wait_ns = to.next_event(nodes).unwrap() - now_ns;
    assert!(wait_ns <= 2 * GRANULE_NS + MS, "{wait_ns}");
}
