//! Changes: nobody keeps what another has found without users.

use alloc::sync::Arc;

use loom::thread;

use super::explore;
use crate::ChangeCount;
use crate::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn nobody_takes_what_has_ended() {
    explore(|| {
        let changes = Arc::new(ChangeCount::new());
        let is_listed = Arc::new(AtomicBool::new(true));
        let users = Arc::new(AtomicUsize::new(0));
        let taking = {
            let (changes, is_listed, users) = (Arc::clone(&changes), Arc::clone(&is_listed), Arc::clone(&users));
            thread::spawn(move || {
                let before = changes.now();
                if !is_listed.load(Ordering::Acquire) {
                    return false;
                }
                users.fetch_add(1, Ordering::Relaxed);
                if changes.is_still(before) {
                    return true;
                }
                users.fetch_sub(1, Ordering::Relaxed);
                false
            })
        };
        is_listed.store(false, Ordering::Release);
        changes.note();
        let has_ended = users.load(Ordering::Relaxed) == 0;
        let is_taken = taking.join().unwrap();
        assert!(!(has_ended && is_taken));
    });
}
