//! Rings: every value arrives once, in order, and slots are not used by both sides at once.

use loom::thread;

use super::{explore, explore_bounded};
use crate::ring;

#[test]
fn one_producer_keeps_the_order_around_the_ring() {
    const COUNT: usize = 3;
    explore_bounded(Some(3), || {
        let (mut producer, mut consumer) = ring::single_producer::<Box<usize>>(2);
        let popping = thread::spawn(move || {
            let mut popped = Vec::new();
            while popped.len() < COUNT {
                match consumer.pop() {
                    Some(value) => popped.push(*value),
                    None => thread::yield_now(),
                }
            }
            popped
        });
        for value in 0..COUNT {
            let mut refused = producer.push(Box::new(value));
            while let Err(value) = refused {
                thread::yield_now();
                refused = producer.push(value);
            }
        }
        assert_eq!(popping.join().unwrap(), [0, 1, 2]);
    });
}

#[test]
fn many_producers_reuse_slots_after_the_consumer() {
    const COUNT: usize = 3;
    explore_bounded(Some(3), || {
        let (producer, mut consumer) = ring::many_producers::<Box<usize>>(2);
        let popping = thread::spawn(move || {
            let mut popped = Vec::new();
            while popped.len() < COUNT {
                match consumer.pop() {
                    Some(value) => popped.push(*value),
                    None => thread::yield_now(),
                }
            }
            popped
        });
        for value in 0..COUNT {
            let mut refused = producer.push(Box::new(value));
            while let Err(value) = refused {
                thread::yield_now();
                refused = producer.push(value);
            }
        }
        assert_eq!(popping.join().unwrap(), [0, 1, 2]);
    });
}

#[test]
fn two_producers_lose_nothing() {
    explore_bounded(Some(3), || {
        let (producer, mut consumer) = ring::many_producers::<Box<usize>>(2);
        let other = producer.clone();
        let pushing = thread::spawn(move || other.push(Box::new(1)).is_ok());
        assert!(producer.push(Box::new(2)).is_ok());
        assert!(pushing.join().unwrap());
        let mut popped: Vec<usize> = std::iter::from_fn(|| consumer.pop()).map(|value| *value).collect();
        popped.sort_unstable();
        assert_eq!(popped, [1, 2]);
    });
}

#[test]
fn producers_and_consumer_at_once() {
    explore_bounded(Some(2), || {
        let (producer, mut consumer) = ring::many_producers::<Box<usize>>(2);
        let pushing: Vec<_> = (0..2)
            .map(|value| {
                let producer = producer.clone();
                thread::spawn(move || producer.push(Box::new(value)).is_ok())
            })
            .collect();
        let mut popped: Vec<Box<usize>> = consumer.pop().into_iter().collect();
        for thread in pushing {
            assert!(thread.join().unwrap());
        }
        popped.extend(std::iter::from_fn(|| consumer.pop()));
        let mut popped: Vec<usize> = popped.into_iter().map(|value| *value).collect();
        popped.sort_unstable();
        assert_eq!(popped, [0, 1]);
    });
}

#[test]
fn what_is_left_is_dropped() {
    explore(|| {
        let (mut producer, consumer) = ring::single_producer(2);
        let value = std::sync::Arc::new(());
        let pushed = std::sync::Arc::clone(&value);
        let pushing = thread::spawn(move || producer.push(pushed).is_ok());
        drop(consumer);
        assert!(pushing.join().unwrap());
        assert_eq!(std::sync::Arc::strong_count(&value), 1);
    });
}
