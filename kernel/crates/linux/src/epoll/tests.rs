//! What is told, against a model; and that wakes at any time lose nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use abi::OpenFlags;
use testkit::Random;

use super::*;

/// A file that is readable when a test says so.
struct Switch {
    is_on: AtomicBool,
    queue: WaitQueue,
}

impl Switch {
    fn new() -> Arc<Self> {
        Arc::new(Self { is_on: AtomicBool::new(false), queue: WaitQueue::new() })
    }

    fn turn_on(&self) {
        self.is_on.store(true, Ordering::SeqCst);
        self.queue.wake(PollEvents::READABLE.bits());
    }

    fn turn_off(&self) -> bool {
        self.is_on.swap(false, Ordering::SeqCst)
    }
}

impl File for Switch {
    fn readiness(&self) -> PollEvents {
        if self.is_on.load(Ordering::SeqCst) { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(Attributes::default())
    }
}

fn open_file<F: File + 'static>(file: &Arc<F>) -> Arc<OpenFile> {
    OpenFile::new(Arc::clone(file) as _, OpenFlags::RDWR)
}

fn event(flags: u32, data: u64) -> EpollEvent {
    EpollEvent { events: PollEvents::IN.bits() | flags, data }
}

fn take(epoll: &Epoll, count_max: usize) -> Vec<u64> {
    let mut told = Vec::new();
    let count = epoll.take(count_max, |event| {
        told.push(event.data);
        Ok(())
    });
    assert_eq!(count, Ok(told.len()));
    told
}

/// A watched file as the model has it.
struct Watched {
    file: Arc<Switch>,
    open: Arc<OpenFile>,
    flags: u32,
    /// Set by a wake, and by a change that finds the file ready; an edge.
    is_noted: bool,
    is_disabled: bool,
}

impl Watched {
    fn is_due(&self) -> bool {
        let is_on = self.file.is_on.load(Ordering::SeqCst);
        is_on && !self.is_disabled && (self.flags & EPOLLET == 0 || self.is_noted)
    }
}

#[test]
fn what_is_told_is_what_is_due() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let epoll = Epoll::new();
        let kinds = [0, EPOLLET, EPOLLONESHOT];
        let mut watched: Vec<Option<Watched>> = (0..12).map(|_| None).collect();
        for _ in 0..400 {
            let number = random.below(12);
            let fd = i32::try_from(number).unwrap();
            let flags = kinds[random.below(3)];
            match (random.below(8), &mut watched[number]) {
                (0..3, Some(item)) => {
                    item.file.turn_on();
                    item.is_noted = true;
                }
                (3, Some(item)) => drop(item.file.turn_off()),
                (4, Some(item)) => {
                    epoll.modify(fd, &item.open, event(flags, number as u64)).unwrap();
                    (item.flags, item.is_disabled) = (flags, false);
                    item.is_noted |= item.file.is_on.load(Ordering::SeqCst);
                }
                (5, slot @ Some(_)) => {
                    let item = slot.take().unwrap();
                    epoll.remove(fd, &item.open).unwrap();
                }
                (_, slot @ None) => {
                    let file = Switch::new();
                    let open = open_file(&file);
                    epoll.add(fd, &open, event(flags, number as u64)).unwrap();
                    *slot = Some(Watched { file, open, flags, is_noted: false, is_disabled: false });
                }
                (6, _) => check_all(&epoll, &mut watched, seed),
                (_, _) => check_some(&epoll, &mut watched, seed),
            }
        }
        check_all(&epoll, &mut watched, seed);
    }
}

fn due(watched: &[Option<Watched>]) -> BTreeSet<u64> {
    (0..)
        .zip(watched)
        .filter(|(_, item)| item.as_ref().is_some_and(Watched::is_due))
        .map(|(number, _)| number)
        .collect()
}

fn note_told(watched: &mut [Option<Watched>], told: &[u64]) {
    for number in told {
        let item = watched[usize::try_from(*number).unwrap()].as_mut().expect("it is watched");
        item.is_noted = false;
        item.is_disabled |= item.flags & EPOLLONESHOT != 0;
    }
}

fn check_all(epoll: &Epoll, watched: &mut [Option<Watched>], seed: u64) {
    let wanted = due(watched);
    assert!(wanted.is_empty() || epoll.may_have_events(), "seed {seed}");
    assert_eq!(epoll.readiness().is_empty(), wanted.is_empty(), "seed {seed}");
    let told = take(epoll, 100);
    assert_eq!(told.len(), wanted.len(), "seed {seed}");
    assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), wanted, "seed {seed}");
    note_told(watched, &told);
    // What was not ready when it was looked at is not an edge any more.
    for item in watched.iter_mut().flatten() {
        item.is_noted = false;
    }
}

/// Takes one at a time, in turn: nobody is told twice before all were told.
fn check_some(epoll: &Epoll, watched: &mut [Option<Watched>], seed: u64) {
    let wanted = due(watched);
    let told: Vec<u64> = wanted.iter().flat_map(|_| take(epoll, 1)).collect();
    assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), wanted, "seed {seed}");
    note_told(watched, &told);
    check_all(epoll, watched, seed);
}

#[test]
fn an_event_that_cannot_be_told_stays_first() {
    let epoll = Epoll::new();
    let files: Vec<_> = (0..3).map(|_| Switch::new()).collect();
    let opens: Vec<_> = files.iter().map(open_file).collect();
    for (number, open) in (0..).zip(&opens) {
        epoll.add(number, open, event(EPOLLET, u64::try_from(number).unwrap())).unwrap();
        files[usize::try_from(number).unwrap()].turn_on();
    }
    let mut left = 1;
    let told = epoll.take(3, |_| {
        left -= 1;
        if left < 0 { Err(Errno::EFAULT) } else { Ok(()) }
    });
    assert_eq!(told, Ok(1));
    assert_eq!(epoll.take(3, |_| Err(Errno::EFAULT)), Err(Errno::EFAULT));
    assert_eq!(take(&epoll, 3), [1, 2]);
    assert!(!epoll.may_have_events());
}

#[test]
fn an_instance_tells_the_one_that_watches_it_of_each_wake() {
    let (outer, inner, file) = (Epoll::new(), Epoll::new(), Switch::new());
    let open = open_file(&file);
    let inner_open = open_file(&inner);
    inner.add(0, &open, event(0, 7)).unwrap();
    outer.add(1, &inner_open, event(EPOLLET, 8)).unwrap();
    assert_eq!(take(&outer, 9), []);
    file.turn_on();
    assert_eq!((take(&outer, 9), take(&outer, 9)), (alloc::vec![8], alloc::vec![]));
    // It is listed in the inner instance still, and this is news all the same.
    file.turn_on();
    assert_eq!(take(&outer, 9), [8]);
    assert_eq!(take(&inner, 9), [7]);
    file.turn_off();
    assert_eq!((take(&inner, 9), take(&outer, 9)), (alloc::vec![], alloc::vec![]));
}

#[test]
fn wakes_at_any_time_are_told() {
    const WAKES: u64 = 3000;
    let epoll = Epoll::new();
    let files: Vec<_> = (0..3).map(|_| Switch::new()).collect();
    let opens: Vec<_> = files.iter().map(open_file).collect();
    for ((number, open), flags) in (0..).zip(&opens).zip([0, EPOLLET, EPOLLONESHOT]) {
        epoll.add(number, open, event(flags, u64::try_from(number).unwrap())).unwrap();
    }
    let seen = AtomicU64::new(0);
    thread::scope(|scope| {
        for file in &files {
            let seen = &seen;
            scope.spawn(move || {
                for _ in 0..WAKES {
                    file.turn_on();
                    while file.is_on.load(Ordering::SeqCst) {
                        thread::yield_now();
                    }
                    seen.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while seen.load(Ordering::SeqCst) < 3 * WAKES {
                    for number in take(&epoll, 2) {
                        let place = usize::try_from(number).unwrap();
                        files[place].turn_off();
                        if place == 2 {
                            epoll.modify(2, &opens[2], event(EPOLLONESHOT, 2)).unwrap();
                        }
                    }
                    thread::yield_now();
                }
            });
        }
    });
    assert_eq!(take(&epoll, 9), []);
}
