use std::sync::Arc;

use super::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Number(usize);

impl Key for Number {
    fn hash(&self) -> usize {
        self.0
    }
}

type Queues = KeyedQueues<Number, u32, 4>;

fn waiter() -> Arc<Waiter<Number, u32>> {
    Waiter::new(Arc::new(Parker::new()))
}

fn enqueue(queues: &Queues, key: usize, priority: u8, role: u32) -> Arc<Waiter<Number, u32>> {
    let waiter = waiter();
    let key = Number(key);
    queues.arrive(&key).enqueue(&waiter, Entry { key, bits: u32::MAX, priority, role });
    waiter
}

fn wake(queues: &Queues, key: usize, count: usize) -> Vec<u32> {
    let mut roles = Vec::new();
    let mut woken = Woken::new();
    queues.lock(&Number(key)).walk(&Number(key), &mut woken, |entry| {
        if roles.len() == count {
            return Step::Stop;
        }
        roles.push(entry.role);
        Step::Wake
    });
    roles
}

fn count(queues: &Queues) -> u32 {
    queues.buckets.iter().map(|bucket| bucket.count.load(Ordering::Relaxed)).sum()
}

#[test]
fn who_came_first_is_woken_first() {
    let queues = Queues::new();
    let waiters: Vec<_> = (0..3).map(|role| enqueue(&queues, 1, 0, role)).collect();
    let other = enqueue(&queues, 5, 0, 9);
    assert_eq!(wake(&queues, 1, 2), [0, 1]);
    assert!(waiters[0].is_free() && waiters[1].is_free() && !waiters[2].is_free());
    assert!(waiters[1].parker.take_token() && !waiters[2].parker.take_token());
    assert_eq!(wake(&queues, 1, 9), [2]);
    assert_eq!(wake(&queues, 5, 9), [9]);
    assert!(other.is_free());
    assert_eq!(count(&queues), 0);
}

#[test]
fn the_urgent_go_first() {
    let queues = Queues::new();
    let priorities = (0_u32..).zip([0, 5, 0, 9, 5]);
    let _waiters: Vec<_> = priorities.map(|(role, priority)| enqueue(&queues, 2, priority, role)).collect();
    assert_eq!(wake(&queues, 2, 9), [3, 1, 4, 0, 2]);
}

#[test]
fn who_looks_and_goes_leaves_no_trace() {
    let queues = Queues::new();
    let arrival = queues.arrive(&Number(1));
    assert!(queues.has_waiters(&Number(5)));
    drop(arrival);
    assert!(!queues.has_waiters(&Number(1)));
}

#[test]
fn giving_up_says_whether_a_wake_came_first() {
    let queues = Queues::new();
    let (first, second) = (enqueue(&queues, 1, 0, 1), enqueue(&queues, 1, 0, 2));
    assert!(queues.cancel(&first));
    assert_eq!(wake(&queues, 1, 1), [2]);
    assert!(!queues.cancel(&second));
    assert_eq!(count(&queues), 0);
    assert_eq!(Arc::strong_count(&first), 1);
    assert_eq!(Arc::strong_count(&second), 1);
}

#[test]
fn waiters_move_to_another_key() {
    for (from, to) in [(1, 2), (2, 1), (1, 5)] {
        let queues = Queues::new();
        let waiters: Vec<_> = (0..4).map(|role| enqueue(&queues, from, 0, role)).collect();
        let waiting = enqueue(&queues, to, 0, 7);
        let mut woken = Woken::new();
        let mut seen = 0;
        {
            let mut both = queues.lock_two(&Number(from), &Number(to));
            both.walk_first(&Number(from), &mut woken, |_| {
                seen += 1;
                if seen == 1 { Step::Wake } else { Step::Move(Number(to)) }
            });
            assert!(both.first().first(&Number(from)).is_none());
            assert!(both.second().first(&Number(to)).is_some());
        }
        drop(woken);
        assert_eq!(seen, 4);
        assert!(waiters[0].is_free());
        assert!(queues.cancel(&waiters[2]));
        let order = wake(&queues, to, 9);
        assert!(order == [7, 1, 3] || (from % 4 == to % 4 && order == [1, 3, 7]), "{order:?}");
        assert!(waiting.is_free());
        assert_eq!(count(&queues), 0);
    }
}

#[test]
fn notes_reach_the_thread() {
    let queues = Queues::new();
    let waiter = enqueue(&queues, 3, 0, 1);
    assert_eq!(queues.with_entry(&waiter, |entry| core::mem::replace(&mut entry.role, 2)), Some(1));
    let mut woken = Woken::new();
    assert!(queues.lock(&Number(3)).take_first(&Number(3), &mut woken, |entry| entry.role += 10));
    assert!(!queues.lock(&Number(3)).take_first(&Number(3), &mut woken, |entry| entry.role += 10));
    assert!(!waiter.is_free());
    drop(woken);
    assert_eq!(queues.entry(&waiter).map(|entry| entry.role), Some(12));
    assert_eq!(queues.with_entry(&waiter, |_| ()), None);
}

/// Threads pass a ball around; wakes, moves and departures race. Whoever is woken takes it as counted.
#[test]
fn no_wake_is_lost_among_threads() {
    use std::sync::atomic::AtomicUsize as Count;
    const ROUNDS: usize = 2_000;
    let queues = Arc::new(Queues::new());
    let (woken, given_up, sent) = (Arc::new(Count::new(0)), Arc::new(Count::new(0)), Arc::new(Count::new(0)));
    let waiters: Vec<_> = (0..3)
        .map(|number| {
            let (queues, woken, given_up) = (Arc::clone(&queues), Arc::clone(&woken), Arc::clone(&given_up));
            std::thread::spawn(move || {
                let parker = Arc::new(Parker::new());
                let waiter = Waiter::new(Arc::clone(&parker));
                for round in 0..ROUNDS {
                    let key = Number(number % 2);
                    queues.arrive(&key).enqueue(&waiter, Entry { key, bits: 1, priority: 0, role: 0 });
                    let deadline_ns = crate::machine::now_ns() + (round as u64 % 7) * 10_000;
                    while !waiter.is_free() && !parker.park_until(deadline_ns) {}
                    let is_given_up = queues.cancel(&waiter);
                    let counter = if is_given_up { &given_up } else { &woken };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let wakers: Vec<_> = (0..2)
        .map(|number| {
            let (queues, sent, done) =
                (Arc::clone(&queues), Arc::clone(&sent), (Arc::clone(&woken), Arc::clone(&given_up)));
            std::thread::spawn(move || {
                while done.0.load(Ordering::Relaxed) + done.1.load(Ordering::Relaxed) < 3 * ROUNDS {
                    let (from, to) = (Number(number), Number(1 - number));
                    let mut chain = Woken::new();
                    let mut visited = 0;
                    queues.lock_two(&from, &to).walk_first(&from, &mut chain, |_| {
                        visited += 1;
                        if visited == 1 {
                            sent.fetch_add(1, Ordering::Relaxed);
                            Step::Wake
                        } else {
                            Step::Move(to)
                        }
                    });
                    drop(chain);
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    for thread in waiters.into_iter().chain(wakers) {
        thread.join().unwrap();
    }
    assert_eq!(sent.load(Ordering::Relaxed), woken.load(Ordering::Relaxed));
    assert_eq!(count(&queues), 0);
}
