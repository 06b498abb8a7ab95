//! What Rust's standard library has for threads, each used by several threads at once. What is printed does not depend on
//! the order of events.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError, TrySendError};
use std::sync::{Arc, Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: usize = 8;

fn main() {
    panic::set_hook(Box::new(|_| {}));
    spawn_and_join();
    scoped();
    channels();
    bounded_channels();
    channel_time_outs();
    park_and_unpark();
    mutex();
    condition_variable();
    read_write_lock();
    barrier();
    once();
    thread_locals();
    panics();
    poison();
    many_threads();
    ring();
    pool();
    sleepers();
    println!("done");
}

fn spawn_and_join() {
    let handles: Vec<_> = (0..THREADS)
        .map(|i| {
            let builder = thread::Builder::new().name(format!("worker-{i}")).stack_size(256 << 10);
            builder.spawn(move || (thread::current().name().map(str::to_owned), i * i)).unwrap()
        })
        .collect();
    for handle in handles {
        println!("joined {:?}", handle.join().unwrap());
    }
    println!("main is {:?}", thread::current().name());
    println!("parallelism is there: {}", thread::available_parallelism().unwrap().get() >= 1);
    println!("too large a stack: {}", thread::Builder::new().stack_size(1 << 50).spawn(|| ()).is_err());
}

fn scoped() {
    let mut data = vec![1u64; 10_000];
    thread::scope(|scope| {
        for (i, chunk) in data.chunks_mut(1250).enumerate() {
            scope.spawn(move || chunk.iter_mut().for_each(|value| *value += i as u64));
        }
    });
    let sum = thread::scope(|scope| {
        let halves = data.split_at(5000);
        let left = scope.spawn(|| halves.0.iter().sum::<u64>());
        let right = scope.spawn(|| halves.1.iter().sum::<u64>());
        left.join().unwrap() + right.join().unwrap()
    });
    println!("scoped sum {sum}");
}

fn channels() {
    let (sender, receiver) = mpsc::channel();
    let producers: Vec<_> = (0..THREADS as u64)
        .map(|producer| {
            let sender = sender.clone();
            thread::spawn(move || (0..2000).for_each(|i| sender.send((producer, i)).unwrap()))
        })
        .collect();
    drop(sender);
    let mut next = BTreeMap::new();
    let mut in_order = true;
    for (producer, i) in receiver {
        let expected: &mut u64 = next.entry(producer).or_default();
        in_order &= *expected == i;
        *expected += 1;
    }
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    println!("channel: {next:?}, in order {in_order}");
}

fn bounded_channels() {
    let (sender, receiver) = mpsc::sync_channel(3);
    let producer = thread::spawn(move || (0..5000u64).for_each(|i| sender.send(i).unwrap()));
    println!("bounded: {}", receiver.iter().sum::<u64>());
    producer.join().unwrap();
    let (sender, receiver) = mpsc::sync_channel(0);
    let meeting = thread::spawn(move || (0..500u64).for_each(|i| sender.send(i).unwrap()));
    println!("rendezvous: {}", receiver.iter().sum::<u64>());
    meeting.join().unwrap();
    let (sender, receiver) = mpsc::sync_channel(1);
    println!("first {:?}", sender.try_send(1));
    println!("full {}", matches!(sender.try_send(2), Err(TrySendError::Full(2))));
    drop(receiver);
    println!("gone {}", matches!(sender.try_send(3), Err(TrySendError::Disconnected(3))));
}

fn channel_time_outs() {
    let (sender, receiver) = mpsc::channel::<()>();
    println!("empty {}", receiver.try_recv() == Err(TryRecvError::Empty));
    let start = Instant::now();
    println!("late {}", receiver.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout));
    println!("waited {}", start.elapsed() >= Duration::from_millis(20));
    drop(sender);
    println!("left {}", receiver.recv_timeout(Duration::from_secs(100)) == Err(RecvTimeoutError::Disconnected));
}

fn park_and_unpark() {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    let sleeper = thread::spawn(move || {
        while !seen.load(Ordering::Acquire) {
            thread::park();
        }
        "woken"
    });
    flag.store(true, Ordering::Release);
    sleeper.thread().unpark();
    println!("park: {}", sleeper.join().unwrap());
    thread::current().unpark();
    thread::park();
    thread::park_timeout(Duration::from_millis(5));
    println!("token and time-out passed");
    // Two threads hand a turn to and fro.
    let turn = Arc::new(AtomicUsize::new(0));
    let main_thread = thread::current();
    let partner_turn = Arc::clone(&turn);
    let partner = thread::spawn(move || {
        for round in 0..1000 {
            while partner_turn.load(Ordering::Acquire) != 2 * round + 1 {
                thread::park();
            }
            partner_turn.store(2 * round + 2, Ordering::Release);
            main_thread.unpark();
        }
    });
    for round in 0..1000 {
        turn.store(2 * round + 1, Ordering::Release);
        partner.thread().unpark();
        while turn.load(Ordering::Acquire) != 2 * round + 2 {
            thread::park();
        }
    }
    partner.join().unwrap();
    println!("turns: {}", turn.load(Ordering::Relaxed));
}

fn mutex() {
    let total = Mutex::new(0u64);
    let tried = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..5000 {
                    match total.try_lock() {
                        Ok(mut total) => *total += 1,
                        Err(_) => {
                            tried.fetch_add(1, Ordering::Relaxed);
                            *total.lock().unwrap() += 1;
                        }
                    }
                }
            });
        }
    });
    println!("mutex: {}", total.into_inner().unwrap());
}

fn condition_variable() {
    let pair = (Mutex::new(Vec::new()), Condvar::new());
    let consumed = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let mut queue = pair.1.wait_while(pair.0.lock().unwrap(), |queue: &mut Vec<u64>| queue.is_empty()).unwrap();
                    match queue.pop() {
                        Some(0) | None => return,
                        Some(item) => consumed.fetch_add(item, Ordering::Relaxed),
                    };
                }
            });
        }
        for item in 1..=2000 {
            pair.0.lock().unwrap().push(item);
            pair.1.notify_one();
        }
        // The zeros lie below what is still to be consumed.
        let mut queue = pair.0.lock().unwrap();
        for _ in 0..4 {
            queue.insert(0, 0);
        }
        drop(queue);
        pair.1.notify_all();
    });
    println!("consumed: {}", consumed.into_inner());
    let guard = pair.0.lock().unwrap();
    let (_guard, late) = pair.1.wait_timeout_while(guard, Duration::from_millis(10), |_| true).unwrap();
    println!("condition late: {}", late.timed_out());
}

fn read_write_lock() {
    let pair = RwLock::new((0u64, 0u64));
    let torn = AtomicU64::new(0);
    thread::scope(|scope| {
        for i in 0..THREADS {
            let (pair, torn) = (&pair, &torn);
            scope.spawn(move || {
                for _ in 0..2000 {
                    if i % 4 == 0 {
                        let mut pair = pair.write().unwrap();
                        pair.0 += 1;
                        pair.1 += 1;
                    } else {
                        let pair = pair.read().unwrap();
                        torn.fetch_add(u64::from(pair.0 != pair.1), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!("read-write lock: {:?}, torn {}", pair.read().unwrap(), torn.into_inner());
}

fn barrier() {
    let barrier = Barrier::new(THREADS);
    let (leaders, arrived, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for round in 1..=100 {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    leaders.fetch_add(usize::from(barrier.wait().is_leader()), Ordering::SeqCst);
                    wrong.fetch_add(usize::from(arrived.load(Ordering::SeqCst) < round * THREADS), Ordering::SeqCst);
                    barrier.wait();
                }
            });
        }
    });
    println!("barrier: {} leaders, {} early", leaders.into_inner(), wrong.into_inner());
}

fn once() {
    static ONCE: Once = Once::new();
    static CELL: OnceLock<String> = OnceLock::new();
    static LAZY: LazyLock<Vec<u32>> = LazyLock::new(|| (0..10).collect());
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                ONCE.call_once(|| {
                    thread::sleep(Duration::from_millis(5));
                    CALLS.fetch_add(1, Ordering::Relaxed);
                });
                CELL.get_or_init(|| {
                    CALLS.fetch_add(1, Ordering::Relaxed);
                    "once".to_owned()
                });
                assert_eq!(LAZY.len(), 10);
            });
        }
    });
    println!("once: {} calls, {:?}, {}", CALLS.load(Ordering::Relaxed), CELL.get(), LAZY.iter().sum::<u32>());
}

struct Noisy(Arc<AtomicUsize>);
impl Drop for Noisy {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(7) };
    static KEPT: RefCell<Vec<Noisy>> = const { RefCell::new(Vec::new()) };
}

fn thread_locals() {
    let drops = Arc::new(AtomicUsize::new(0));
    let handles: Vec<_> = (0..THREADS as u32)
        .map(|i| {
            let drops = Arc::clone(&drops);
            thread::spawn(move || {
                COUNT.set(COUNT.get() + i);
                KEPT.with_borrow_mut(|kept| (0..3).for_each(|_| kept.push(Noisy(Arc::clone(&drops)))));
                thread::yield_now();
                COUNT.get()
            })
        })
        .collect();
    let counts: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
    println!("thread locals: {counts:?}, mine {}, drops {}", COUNT.get(), drops.load(Ordering::Relaxed));
}

fn panics() {
    let results: Vec<_> = (0..THREADS)
        .map(|i| {
            thread::spawn(move || {
                let caught = panic::catch_unwind(|| if i % 2 == 0 { panic!("inner {i}") } else { i });
                if i % 3 == 0 {
                    panic!("outer {i}");
                }
                caught.map_err(|payload| *payload.downcast::<String>().unwrap())
            })
        })
        .map(|handle| handle.join().map_err(|payload| *payload.downcast::<String>().unwrap()))
        .collect();
    println!("panics: {results:?}");
    let outcome = panic::catch_unwind(|| thread::scope(|scope| drop(scope.spawn(|| panic!("in a scope")))));
    println!("a scope with a panic: {}", outcome.is_err());
}

fn poison() {
    let lock = Arc::new(Mutex::new(1));
    let poisoner = Arc::clone(&lock);
    let _ = thread::spawn(move || {
        let _guard = poisoner.lock().unwrap();
        panic!("with the lock held");
    })
    .join();
    println!("poisoned: {}, value {}", lock.is_poisoned(), lock.lock().unwrap_or_else(|error| error.into_inner()));
    lock.clear_poison();
    println!("cleared: {}", lock.lock().is_ok());
}

fn many_threads() {
    let alive = Arc::new(Barrier::new(201));
    let handles: Vec<_> = (0..200u64)
        .map(|i| {
            let alive = Arc::clone(&alive);
            thread::Builder::new().stack_size(64 << 10).spawn(move || {
                alive.wait();
                i
            })
        })
        .map(Result::unwrap)
        .collect();
    alive.wait();
    println!("two hundred: {}", handles.into_iter().map(|handle| handle.join().unwrap()).sum::<u64>());
    let short = (0..1000u64).map(|i| thread::spawn(move || i).join().unwrap()).sum::<u64>();
    println!("a thousand one by one: {short}");
}

fn ring() {
    let (first, mut previous) = mpsc::channel::<u64>();
    for _ in 0..50 {
        let (sender, receiver) = mpsc::channel();
        let input = std::mem::replace(&mut previous, receiver);
        thread::spawn(move || input.iter().try_for_each(|token| sender.send(token + 1)));
    }
    for token in 0..20 {
        first.send(token * 1000).unwrap();
    }
    drop(first);
    println!("ring: {:?}", previous.iter().collect::<Vec<_>>());
}

/// A pool whose jobs come back as futures of a kind.
fn pool() {
    type Job = Box<dyn FnOnce() -> u64 + Send>;
    let (jobs, queue) = mpsc::channel::<(usize, Job)>();
    let queue = Arc::new(Mutex::new(queue));
    let (results, answers) = mpsc::channel();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (queue, results) = (Arc::clone(&queue), results.clone());
            thread::spawn(move || {
                loop {
                    let job = queue.lock().unwrap().recv();
                    let Ok((number, job)) = job else { return };
                    results.send((number, job())).unwrap();
                }
            })
        })
        .collect();
    drop(results);
    for number in 0..100usize {
        let job: Job = Box::new(move || (0..=number as u64).map(|i| i * i).sum());
        jobs.send((number, job)).unwrap();
    }
    drop(jobs);
    let answers: BTreeMap<_, _> = answers.iter().collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    println!("pool: {} answers, the last {:?}", answers.len(), answers.last_key_value());
}

fn sleepers() {
    let start = Instant::now();
    thread::scope(|scope| {
        for i in 0..20 {
            scope.spawn(move || thread::sleep(Duration::from_millis(i)));
        }
    });
    println!("slept: {}", start.elapsed() >= Duration::from_millis(19));
}
