//! Rings: every value arrives once, in order, and slots are not used by both sides at once.

use loom::thread;

use super::{explore, explore_bounded};
use crate::ring;

#[test]
fn one_producer_keeps_the_order_around_the_ring() {
    explore_bounded(Some(3), || {
        let (mut producer, mut consumer) = ring::single_producer(2);
        let pushing = thread::spawn(move || (0..3).take_while(|value| producer.push(Box::new(*value)).is_ok()).count());
        let mut popped = Vec::new();
        for _ in 0..2 {
            popped.extend(consumer.pop());
            thread::yield_now();
        }
        let pushed = pushing.join().unwrap();
        popped.extend(std::iter::from_fn(|| consumer.pop()));
        let popped: Vec<usize> = popped.into_iter().map(|value| *value).collect();
        assert_eq!(popped, (0..pushed).collect::<Vec<_>>());
    });
}

#[test]
fn two_producers_lose_nothing() {
    explore_bounded(Some(3), || {
        let (producer, mut consumer) = ring::many_producers(2);
        let other = producer.clone();
        let pushing = thread::spawn(move || other.push(Box::new(1)).is_ok());
        assert!(producer.push(Box::new(2)).is_ok());
        assert!(pushing.join().unwrap());
        let mut popped: Vec<i32> = std::iter::from_fn(|| consumer.pop()).map(|value| *value).collect();
        popped.sort_unstable();
        assert_eq!(popped, [1, 2]);
    });
}

#[test]
fn producers_and_consumer_at_once() {
    explore_bounded(Some(2), || {
        let (producer, mut consumer) = ring::many_producers(2);
        let pushing: Vec<_> = (0..2)
            .map(|value| {
                let producer = producer.clone();
                thread::spawn(move || producer.push(Box::new(value)).is_ok())
            })
            .collect();
        let mut popped: Vec<Box<i32>> = consumer.pop().into_iter().collect();
        for thread in pushing {
            assert!(thread.join().unwrap());
        }
        popped.extend(std::iter::from_fn(|| consumer.pop()));
        let mut popped: Vec<i32> = popped.into_iter().map(|value| *value).collect();
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
