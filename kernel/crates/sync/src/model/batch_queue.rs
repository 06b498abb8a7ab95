//! Batch queues: every value is taken once, those of one producer in their order, and a consumer that is told of firsts misses none.

use alloc::sync::Arc;
use alloc::vec::Vec;

use loom::thread;

use super::explore_bounded;
use crate::atomic::{AtomicUsize, Ordering};
use crate::batch_queue::{BatchQueue, Pushed};

#[test]
fn two_producers_and_a_consumer() {
    explore_bounded(Some(3), || {
        let queue = Arc::new(BatchQueue::new(8));
        let producers: Vec<_> = (0..2)
            .map(|number: usize| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    queue.push(number * 10);
                    queue.push(number * 10 + 1);
                })
            })
            .collect();
        let mut taken: Vec<usize> = queue.take().collect();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        taken.extend(queue.take());
        for number in 0..2 {
            let own: Vec<_> = taken.iter().filter(|value| **value / 10 == number).collect();
            assert_eq!(own, [&(number * 10), &(number * 10 + 1)]);
        }
        assert_eq!((taken.len(), queue.len()), (4, 0));
    });
}

#[test]
fn the_first_of_each_batch_is_announced() {
    explore_bounded(Some(3), || {
        let queue = Arc::new(BatchQueue::new(8));
        let announced = Arc::new(AtomicUsize::new(0));
        let producer = {
            let (queue, announced) = (Arc::clone(&queue), Arc::clone(&announced));
            thread::spawn(move || {
                for value in 0..2 {
                    if queue.push(value) == Pushed::First {
                        announced.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let early = queue.take().count();
        producer.join().unwrap();
        let batches = usize::from(early > 0) + usize::from(!queue.is_empty());
        assert_eq!(announced.load(Ordering::Relaxed), batches);
        assert_eq!(early + queue.take().count(), 2);
    });
}

#[test]
fn a_full_queue_refuses_and_takes_again() {
    explore_bounded(Some(3), || {
        let queue = Arc::new(BatchQueue::new(1));
        let producer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push(1))
        };
        let other = queue.push(2);
        let taken = queue.take().count();
        let first = producer.join().unwrap();
        let refused = usize::from(first == Pushed::Full) + usize::from(other == Pushed::Full);
        assert_eq!(taken + queue.take().count() + refused, 2);
        assert_eq!(queue.push(3), Pushed::First);
    });
}
