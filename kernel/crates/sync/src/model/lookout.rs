//! Lookout: what was left is found, or a look is still to come.

use alloc::sync::Arc;

use loom::thread;

use super::explore;
use crate::Lookout;
use crate::atomic::{AtomicBool, Ordering};
use crate::machine::NEVER;

#[test]
fn what_is_left_is_looked_at() {
    explore(|| {
        let lookout = Arc::new(Lookout::new());
        let thing = Arc::new(AtomicBool::new(false));
        // The looker goes on from an earlier time, once with use since and then without.
        assert!(lookout.note(|| 1));
        let looking = {
            let (lookout, thing) = (Arc::clone(&lookout), Arc::clone(&thing));
            thread::spawn(move || {
                for now_ns in 1..=2 {
                    if lookout.begin(now_ns, 1) {
                        thing.swap(false, Ordering::AcqRel);
                    }
                }
            })
        };
        thing.store(true, Ordering::Release);
        let is_to_be_woken = lookout.note(|| 9);
        looking.join().unwrap();
        let is_left = thing.load(Ordering::Acquire);
        assert!(!is_left || is_to_be_woken || lookout.at_ns() != NEVER);
        assert!(!is_to_be_woken || lookout.at_ns() == 9);
    });
}
