//! Work behind a lock that one side does not wait for, as the workers of the network do: they see work, find the lock taken, and leave. Who
//! holds the lock lets go of it, looks for work that has come meanwhile, and wakes them.

use alloc::sync::Arc;

use loom::thread;

use super::explore;
use crate::atomic::{AtomicBool, Ordering, fence};
use crate::{BatchQueue, Mutex, rank};

struct Work {
    queue: BatchQueue<u8>,
    lock: Mutex<()>,
    is_woken: AtomicBool,
}

impl Work {
    fn handle_under(&self, guard: crate::MutexGuard<'_, ()>) {
        drop(self.queue.take());
        drop(guard);
        fence(Ordering::SeqCst);
        if !self.queue.is_empty() {
            self.is_woken.store(true, Ordering::Release);
        }
    }
}

#[test]
fn nothing_is_left_that_nobody_is_woken_for() {
    explore(|| {
        let queue = BatchQueue::new(4);
        let work = Arc::new(Work { queue, lock: Mutex::new(rank::PIPE, ()), is_woken: AtomicBool::new(false) });
        work.queue.push(1);
        let holding = {
            let work = Arc::clone(&work);
            thread::spawn(move || work.handle_under(work.lock.lock()))
        };
        work.queue.push(2);
        if !work.queue.is_empty() {
            fence(Ordering::SeqCst);
            if let Some(guard) = work.lock.try_lock() {
                work.handle_under(guard);
            }
        }
        holding.join().unwrap();
        assert!(work.queue.is_empty() || work.is_woken.load(Ordering::Acquire));
    });
}
