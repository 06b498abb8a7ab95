//! Tests of wait queues on threads of the host.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::*;

const READ: u32 = 1;
const WRITE: u32 = 4;

/// Notes its number and the events of each wake in a common log.
struct Recorder(u32, Arc<Mutex<Vec<(u32, u32)>>>);

impl Wake for Recorder {
    fn wake(&self, events: u32) -> bool {
        self.1.lock().expect("no test panics with the log").push((self.0, events));
        true
    }
}

fn add_all(queue: &WaitQueue, nodes: &[Arc<WaitNode>]) {
    for node in nodes {
        queue.add(node);
    }
}

#[derive(Default)]
struct Log(Arc<Mutex<Vec<(u32, u32)>>>);

impl Log {
    fn node(&self, number: u32, events: u32, is_exclusive: bool) -> Arc<WaitNode> {
        WaitNode::with_events(Arc::new(Recorder(number, Arc::clone(&self.0))), events, is_exclusive)
    }

    fn take(&self) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.0.lock().expect("no test panics with the log"))
    }
}

#[test]
fn a_wake_reaches_those_who_want_its_events() {
    let (log, queue) = (Log::default(), WaitQueue::new());
    let (reader, writer) = (log.node(1, READ, false), log.node(2, WRITE, false));
    queue.add(&reader);
    queue.add(&writer);
    queue.wake(READ);
    assert_eq!(log.take(), [(1, READ)]);
    queue.wake(READ | WRITE);
    assert_eq!(log.take(), [(2, WRITE), (1, READ)]);
    writer.set_events(READ);
    queue.wake(WRITE);
    assert_eq!(log.take(), []);
}

#[test]
fn one_exclusive_node_is_woken_at_a_time_in_order() {
    let (log, queue) = (Log::default(), WaitQueue::new());
    let exclusive = [log.node(1, READ, true), log.node(2, READ, true)];
    let shared = log.node(3, READ, false);
    queue.add(&exclusive[0]);
    queue.add(&exclusive[1]);
    queue.add(&shared);
    queue.wake(READ);
    assert_eq!(log.take(), [(3, READ), (1, READ)]);
    queue.wake(READ);
    assert_eq!(log.take(), [(3, READ), (2, READ)]);
    queue.wake(READ);
    assert_eq!(log.take(), [(3, READ)]);
    // Armed again, in the order of arming.
    queue.add(&exclusive[1]);
    queue.add(&exclusive[0]);
    queue.wake(READ);
    assert_eq!(log.take(), [(3, READ), (2, READ)]);
}

#[test]
fn adding_again_keeps_the_place_of_a_node_that_was_not_woken() {
    let (log, queue) = (Log::default(), WaitQueue::new());
    let exclusive = [log.node(1, READ, true), log.node(2, READ, true)];
    queue.add(&exclusive[0]);
    queue.add(&exclusive[1]);
    queue.add(&exclusive[0]);
    queue.wake(READ);
    assert_eq!(log.take(), [(1, READ)]);
}

#[test]
fn who_leaves_passes_the_wake_on() {
    let (log, queue) = (Log::default(), WaitQueue::new());
    let exclusive = [log.node(1, READ, true), log.node(2, READ, true)];
    queue.add(&exclusive[0]);
    queue.add(&exclusive[1]);
    queue.wake(READ);
    log.take();
    queue.leave(&exclusive[0]);
    assert_eq!(log.take(), [(2, READ)]);
    // The second got what it waited for.
    assert!(queue.remove(&exclusive[1]));
    assert!(!queue.has_waiters());
}

#[test]
fn what_a_woken_waiter_owes_the_next_is_told() {
    let (log, queue) = (Log::default(), WaitQueue::new());
    let exclusive = [log.node(1, READ, true), log.node(2, READ, true)];
    queue.add(&exclusive[0]);
    queue.add(&exclusive[1]);
    queue.wake(READ | WRITE);
    assert_eq!(queue.take_out(&exclusive[0]), READ);
    assert_eq!(queue.take_out(&exclusive[0]), 0);
    assert_eq!(queue.take_out(&exclusive[1]), 0);
    assert_eq!(log.take(), [(1, READ)]);
    // The same nodes serve another wait, of another kind.
    exclusive.iter().for_each(|node| node.reset(WRITE, false));
    add_all(&queue, &exclusive);
    queue.wake(READ | WRITE);
    assert_eq!(log.take(), [(2, WRITE), (1, WRITE)]);
}

#[test]
fn who_takes_turns_wakes_the_next_if_something_is_left() {
    let (log, queue) = (Log::default(), WaitQueue::new());
    let [first, second, third] = [1, 2, 3].map(|number| log.node(number, READ, true));
    let mut turns = [first, second, third].map(|node| Turn::new(&queue, node)).into_iter();
    let [mut first, mut second, third] = [(); 3].map(|()| turns.next().expect("there are three"));
    // Nobody was woken, nobody is owed anything.
    third.finish(|| true);
    queue.wake(READ);
    first.arm();
    first.finish(|| true);
    assert_eq!(log.take(), [(1, READ), (2, READ)]);
    second.arm();
    second.finish(|| false);
    assert_eq!(log.take(), []);
    assert!(!queue.has_waiters());
}

#[test]
fn a_wake_reaches_nobody_while_all_who_wait_are_on_their_way() {
    let (log, queue) = (Log::default(), WaitQueue::new());
    let exclusive = [log.node(1, READ, true), log.node(2, READ, true)];
    add_all(&queue, &exclusive);
    assert!(queue.wake(READ) && queue.has_waiters() && queue.wake(READ));
    assert!(!queue.has_waiters() && !queue.wake(READ));
    log.take();
    queue.add(&exclusive[1]);
    assert!(queue.has_waiters() && queue.wake(READ));
    assert_eq!((log.take(), queue.has_waiters()), (alloc::vec![(2, READ)], false));
    queue.remove(&exclusive[0]);
    let shared = log.node(3, READ, false);
    queue.add(&shared);
    queue.remove(&exclusive[1]);
    assert!(queue.wake(READ) && queue.wake(READ) && queue.has_waiters());
    assert_eq!(log.take(), [(3, READ), (3, READ)]);
    queue.add(&exclusive[0]);
    queue.wake_all();
    queue.remove(&shared);
    assert!(!queue.has_waiters());
}

/// Takes up every second wake.
struct Choosy(Mutex<u32>);

impl Wake for Choosy {
    fn wake(&self, _events: u32) -> bool {
        let mut count = self.0.lock().expect("no test panics with the count");
        *count += 1;
        count.is_multiple_of(2)
    }
}

#[test]
fn a_wake_that_is_not_taken_up_goes_on() {
    let (log, queue) = (Log::default(), WaitQueue::new());
    let choosy = Arc::new(Choosy(Mutex::new(0)));
    let nodes = [WaitNode::with_events(choosy.clone(), READ, true), log.node(2, READ, true)];
    add_all(&queue, &nodes);
    queue.wake(READ);
    assert_eq!(log.take(), [(2, READ)]);
    queue.add(&nodes[1]);
    queue.wake(READ);
    assert_eq!((log.take(), *choosy.0.lock().unwrap()), (vec![], 2));
    // It took this one up and is not asked again before it is added.
    queue.wake(READ);
    assert_eq!((log.take(), *choosy.0.lock().unwrap()), (vec![(2, READ)], 2));
}

/// Only notes that something happened.
struct Onlooker;

impl Wake for Onlooker {
    fn wake(&self, _events: u32) -> bool {
        false
    }
}

#[test]
fn whoever_looks_on_does_not_count_as_woken() {
    let (log, queue) = (Log::default(), WaitQueue::new());
    queue.add(&WaitNode::new(Arc::new(Onlooker)));
    assert!(!queue.wake(READ));
    queue.add(&log.node(1, READ, false));
    assert!(queue.wake(READ));
    assert!(!queue.wake(WRITE));
}

#[test]
fn wake_all_wakes_all() {
    let (log, queue) = (Log::default(), WaitQueue::new());
    let nodes = [log.node(1, READ, true), log.node(2, 0, true), log.node(3, 0, false)];
    add_all(&queue, &nodes);
    queue.wake_all();
    assert_eq!(log.take(), [(3, u32::MAX), (1, u32::MAX), (2, u32::MAX)]);
}

#[test]
fn nodes_leave_from_anywhere_in_the_list() {
    for leaver in 0..4 {
        let (log, queue) = (Log::default(), WaitQueue::new());
        let nodes: Vec<_> = (0..4).map(|number| log.node(number, READ, true)).collect();
        add_all(&queue, &nodes);
        assert!(queue.remove(&nodes[leaver]));
        assert!(!queue.remove(&nodes[leaver]));
        queue.wake_all();
        let woken: Vec<_> = log.take().into_iter().map(|(number, _)| number as usize).collect();
        assert_eq!(woken, (0..4).filter(|number| *number != leaver).collect::<Vec<_>>());
    }
}

#[test]
fn a_queue_lets_go_of_its_nodes() {
    let log = Log::default();
    let node = log.node(1, READ, false);
    let queue = WaitQueue::new();
    queue.add(&node);
    assert!(node.is_queued());
    // Moving the queue does not matter.
    let queue = Box::new(queue);
    queue.wake(READ);
    assert_eq!(log.take().len(), 1);
    drop(queue);
    assert!(!node.is_queued());
    assert_eq!(Arc::strong_count(&node), 1);
    let other = WaitQueue::new();
    other.add(&node);
    assert!(other.remove(&node));
}

#[test]
#[should_panic(expected = "a wait node is in two queues")]
fn a_node_is_in_one_queue() {
    let (first, second) = (WaitQueue::new(), WaitQueue::new());
    let node = Log::default().node(1, READ, false);
    first.add(&node);
    second.add(&node);
}

#[test]
fn a_linked_node_outlives_its_owner() {
    let (log, queue) = (Log::default(), WaitQueue::new());
    queue.add(&log.node(1, READ, false));
    queue.wake(READ);
    assert_eq!(log.take(), [(1, READ)]);
}

#[test]
fn block_until_sleeps_until_there_is_a_result() {
    let shared = Arc::new((WaitQueue::new(), Mutex::new(None)));
    let other = Arc::clone(&shared);
    let waker = thread::spawn(move || {
        thread::sleep(Duration::from_millis(10));
        other.0.wake(READ);
        *other.1.lock().unwrap() = Some(5);
        other.0.wake(READ);
    });
    assert_eq!(shared.0.block_until(READ, || *shared.1.lock().unwrap()), 5);
    waker.join().unwrap();
    assert!(!shared.0.has_waiters());
}
