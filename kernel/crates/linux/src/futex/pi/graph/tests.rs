use std::cell::Cell;
use std::rc::Rc;

use super::*;

/// A thread with priorities to look at.
#[derive(Clone, Debug, Default)]
struct Fake(Rc<(Cell<u8>, Cell<u8>)>);

impl Member for Fake {
    fn own_priority(&self) -> u8 {
        self.0.0.get()
    }

    fn lend(&self, priority: u8) {
        self.0.1.set(priority);
    }
}

impl Fake {
    fn lent(&self) -> u8 {
        self.0.1.get()
    }
}

type Fakes = Graph<Fake, usize>;

/// A graph with tasks of these priorities.
fn graph(priorities: &[u8]) -> (Fakes, Vec<(TaskId, Fake)>) {
    let mut graph = Fakes::new();
    let mut tasks = Vec::new();
    for priority in priorities {
        if graph.is_full() {
            let room = Room::beyond(graph.room());
            drop(graph.grow(room));
        }
        let fake = Fake::default();
        fake.0.0.set(*priority);
        tasks.push((graph.enter(fake.clone()).unwrap(), fake));
    }
    (graph, tasks)
}

#[test]
fn the_most_urgent_waiter_is_inherited_from_and_goes_first() {
    let (mut graph, tasks) = graph(&[0, 5, 9, 5]);
    let lock = graph.make_lock(1, tasks[0].0);
    for (task, _) in &tasks[1..] {
        graph.block(*task, lock).unwrap();
    }
    assert_eq!(tasks[0].1.lent(), 9);
    assert_eq!(graph.hand_over(lock, false), Some(tasks[2].0));
    assert_eq!((tasks[0].1.lent(), tasks[2].1.lent()), (0, 5));
    assert_eq!(graph.hand_over(lock, false), Some(tasks[1].0));
    assert_eq!(graph.unblock(tasks[3].0), Some(lock));
    assert_eq!(tasks[1].1.lent(), 0);
    graph.drop_unused(lock);
    assert!(tasks.iter().all(|(task, _)| graph.owned(*task).is_none()));
}

#[test]
fn a_chain_passes_priorities_on() {
    let (mut graph, tasks) = graph(&[0, 1, 2, 50]);
    let locks: Vec<_> = (0..3).map(|index| graph.make_lock(index, tasks[index].0)).collect();
    graph.block(tasks[1].0, locks[0]).unwrap();
    graph.block(tasks[2].0, locks[1]).unwrap();
    assert_eq!((tasks[0].1.lent(), tasks[1].1.lent()), (2, 2));
    graph.block(tasks[3].0, locks[2]).unwrap();
    assert_eq!(tasks.iter().map(|(_, fake)| fake.lent()).collect::<Vec<_>>(), [50, 50, 50, 0]);
    // It changes its mind, and then gives up.
    tasks[3].1.0.0.set(7);
    graph.own_priority_changed(tasks[3].0);
    assert_eq!(tasks[0].1.lent(), 7);
    graph.unblock(tasks[3].0);
    graph.drop_unused(locks[2]);
    assert_eq!(tasks.iter().map(|(_, fake)| fake.lent()).collect::<Vec<_>>(), [2, 2, 0, 0]);
}

#[test]
fn nobody_waits_for_itself() {
    let (mut graph, tasks) = graph(&[0, 0, 0]);
    let locks: Vec<_> = (0..3).map(|index| graph.make_lock(index, tasks[index].0)).collect();
    graph.block(tasks[0].0, locks[1]).unwrap();
    graph.block(tasks[1].0, locks[2]).unwrap();
    assert_eq!(graph.block(tasks[2].0, locks[0]), Err(Deadlock));
    assert_eq!(graph.block(tasks[2].0, locks[2]), Err(Deadlock));
    assert_eq!(graph.awaited(tasks[2].0), None);
}

#[test]
fn a_chain_has_a_longest_length() {
    let (mut graph, tasks) = graph(&[0; CHAIN_MAX + 2]);
    let locks: Vec<_> = tasks.iter().enumerate().map(|(index, (task, _))| graph.make_lock(index, *task)).collect();
    for index in 1..=CHAIN_MAX {
        // Built from the far end, each is the last of a longer chain.
        graph.block(tasks[index].0, locks[index - 1]).unwrap();
    }
    assert_eq!(graph.block(tasks[CHAIN_MAX + 1].0, locks[CHAIN_MAX]), Err(Deadlock));
}

#[test]
fn an_heir_has_to_come_for_its_lock() {
    let (mut graph, tasks) = graph(&[0, 3]);
    let lock = graph.make_lock(4, tasks[0].0);
    graph.block(tasks[1].0, lock).unwrap();
    assert_eq!(graph.hand_over(lock, true), Some(tasks[1].0));
    assert_eq!(graph.leave(tasks[0].0).lent(), 0);
    graph.drop_unused(lock);
    assert!(graph.is_pending(lock));
    assert_eq!(graph.inherited(tasks[1].0), Some(lock));
    assert_eq!(graph.owned(tasks[1].0), Some((lock, 4)));
    assert_eq!(graph.settle(tasks[1].0), Some(lock));
    graph.drop_unused(lock);
    assert_eq!(graph.owned(tasks[1].0), None);
}

/// What the graph must answer, computed from scratch.
#[derive(Default)]
struct Model {
    /// The owner of each lock that has waiters, and its waiters in the order of arrival.
    locks: Vec<Option<(usize, Vec<usize>)>>,
}

impl Model {
    fn effective(&self, priorities: &[u8], task: usize) -> u8 {
        priorities[task].max(self.lent(priorities, task))
    }

    fn lent(&self, priorities: &[u8], task: usize) -> u8 {
        let owned = self.locks.iter().flatten().filter(|(owner, _)| *owner == task);
        owned.flat_map(|(_, waiters)| waiters).map(|waiter| self.effective(priorities, *waiter)).max().unwrap_or(0)
    }

    fn awaited(&self, task: usize) -> Option<usize> {
        self.locks.iter().position(|lock| lock.as_ref().is_some_and(|(_, waiters)| waiters.contains(&task)))
    }

    fn would_deadlock(&self, task: usize, owner: usize) -> bool {
        let mut at = owner;
        loop {
            if at == task {
                return true;
            }
            let Some(lock) = self.awaited(at) else { return false };
            at = self.locks[lock].as_ref().map(|(owner, _)| *owner).unwrap();
        }
    }
}

#[test]
fn any_sequence_lends_what_it_should() {
    const TASKS: usize = 8;
    const LOCKS: usize = 5;
    for seed in 0..200_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % bound as u64).unwrap()
        };
        let mut priorities: Vec<u8> = (0..TASKS).map(|_| random(4).to_le_bytes()[0]).collect();
        let (mut graph, tasks) = graph(&priorities);
        let mut ids: Vec<Option<LockId>> = vec![None; LOCKS];
        let mut model = Model { locks: (0..LOCKS).map(|_| None).collect() };
        for step in 0..300 {
            let (task, lock) = (random(TASKS), random(LOCKS));
            match random(4) {
                0 | 1 if model.awaited(task).is_none() => {
                    let owner = model.locks[lock].as_ref().map_or_else(|| random(TASKS), |(owner, _)| *owner);
                    let id = *ids[lock].get_or_insert_with(|| graph.make_lock(lock, tasks[owner].0));
                    let expected = if model.would_deadlock(task, owner) { Err(Deadlock) } else { Ok(()) };
                    assert_eq!(graph.block(tasks[task].0, id), expected, "seed {seed} step {step}");
                    if expected.is_ok() {
                        model.locks[lock].get_or_insert_with(|| (owner, Vec::new())).1.push(task);
                    } else if model.locks[lock].is_none() {
                        graph.drop_unused(id);
                        ids[lock] = None;
                    }
                }
                2 => {
                    if let Some(lock) = model.awaited(task) {
                        assert_eq!(graph.unblock(tasks[task].0), ids[lock]);
                        let (_, waiters) = model.locks[lock].as_mut().unwrap();
                        waiters.retain(|waiter| *waiter != task);
                        if waiters.is_empty() {
                            graph.drop_unused(ids[lock].take().unwrap());
                            model.locks[lock] = None;
                        }
                    }
                }
                3 if random(2) == 0 => {
                    priorities[task] = random(4).to_le_bytes()[0];
                    tasks[task].1.0.0.set(priorities[task]);
                    graph.own_priority_changed(tasks[task].0);
                }
                _ => {
                    // Owners that wait themselves let go of nothing.
                    let Some((owner, waiters)) = model.locks[lock].clone() else { continue };
                    if model.awaited(owner).is_some() {
                        continue;
                    }
                    let id = ids[lock].unwrap();
                    let next = graph.hand_over(id, false).unwrap();
                    let next = tasks.iter().position(|(task, _)| *task == next).unwrap();
                    let urgent = waiters.iter().map(|waiter| model.effective(&priorities, *waiter)).max().unwrap();
                    assert_eq!(model.effective(&priorities, next), urgent, "seed {seed} step {step}");
                    let rest: Vec<_> = waiters.into_iter().filter(|waiter| *waiter != next).collect();
                    if rest.is_empty() {
                        graph.drop_unused(id);
                        ids[lock] = None;
                        model.locks[lock] = None;
                    } else {
                        model.locks[lock] = Some((next, rest));
                    }
                }
            }
            for (index, (_, fake)) in tasks.iter().enumerate() {
                assert_eq!(fake.lent(), model.lent(&priorities, index), "seed {seed} step {step} task {index}");
            }
        }
    }
}
