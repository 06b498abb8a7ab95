//! [`Completion`]: waits until transfers are over.

use alloc::sync::Arc;

use sync::Parker;
use sync::atomic::{AtomicU32, Ordering};

use crate::{BlockError, Done};

/// Set while the owner adds transfers.
const OPEN: u32 = 1;
/// What one transfer under way counts.
const ONE: u32 = 2;

/// Counts transfers of one thread, for it to wait for them all.
///
/// `pending` holds one bit for the owner, who may still add some, and counts the transfers above it. Whoever takes it to zero
/// wakes the owner, so exactly one does.
pub struct Completion {
    pending: AtomicU32,
    /// The first error, 0 for none.
    error: AtomicU32,
    owner: Parker,
}

impl Completion {
    /// One without transfers. The thread that waits for it is the one that adds to it.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { pending: AtomicU32::new(OPEN), error: AtomicU32::new(0), owner: Parker::new() })
    }

    /// Counts one transfer more; the result is for that one.
    pub fn add(self: &Arc<Self>) -> Arc<dyn Done> {
        self.pending.fetch_add(ONE, Ordering::Relaxed);
        self.clone()
    }

    /// Waits until every transfer is over, at most until `deadline_ns`; None when the time ran out. Then it may be called again.
    pub(crate) fn wait_until(&self, deadline_ns: u64) -> Option<Result<(), BlockError>> {
        // Acquire: what the transfers brought is visible. Only the owner takes its bit away.
        let mut pending = self.pending.load(Ordering::Acquire);
        if pending & OPEN != 0 {
            pending = self.pending.fetch_sub(OPEN, Ordering::AcqRel) - OPEN;
        }
        while pending != 0 {
            if self.owner.park_until(deadline_ns) {
                pending = self.pending.load(Ordering::Acquire);
                if pending != 0 {
                    return None;
                }
            } else {
                pending = self.pending.load(Ordering::Acquire);
            }
        }
        Some(self.result())
    }

    fn result(&self) -> Result<(), BlockError> {
        match u8::try_from(self.error.load(Ordering::Relaxed)) {
            Ok(0) => Ok(()),
            Ok(number) => Err(BlockError::from_number(number)),
            Err(_) => Err(BlockError::Io),
        }
    }
}

impl Done for Completion {
    fn done(&self, result: Result<(), BlockError>) {
        if let Err(error) = result {
            // Only the first error counts.
            let _ = self.error.compare_exchange(0, error as u32, Ordering::Relaxed, Ordering::Relaxed);
        }
        // Release: the error and the data come before the count.
        if self.pending.fetch_sub(ONE, Ordering::AcqRel) == ONE {
            self.owner.unpark();
        }
    }
}
