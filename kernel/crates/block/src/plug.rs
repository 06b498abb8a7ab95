//! [`Plug`]: gathers transfers so that neighbours become one request.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::{Disk, Operation, Request, Transfer, sort_by_key};

/// The most transfers gathered before they are handed on.
const GATHERED_MAX: usize = 128;

/// Gathers transfers for one disk. They are handed on when it is dropped, or full.
pub struct Plug {
    disk: Arc<Disk>,
    gathered: Vec<Transfer>,
}

impl Plug {
    /// An empty one.
    pub fn new(disk: &Arc<Disk>) -> Self {
        Self { disk: disk.clone(), gathered: Vec::new() }
    }

    /// The disk.
    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// Adds a transfer that fits the disk and its limits; [`crate::Volume`] makes such.
    pub(crate) fn add(&mut self, transfer: Transfer) {
        self.gathered.push(transfer);
        if self.gathered.len() >= GATHERED_MAX {
            self.submit();
        }
    }

    /// Hands on what was gathered. May sleep.
    pub fn submit(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let mut transfers = core::mem::take(&mut self.gathered);
        sort_by_key(&mut transfers, |transfer| (kind(transfer.operation), transfer.sector));
        let mut pending: Option<Request> = None;
        for transfer in transfers {
            let rest = match &mut pending {
                Some(request) => request.append(transfer, self.disk.limits()).err(),
                None => Some(transfer),
            };
            if let Some(transfer) = rest
                && let Some(full) = pending.replace(Request::new(transfer))
            {
                self.disk.submit(full);
            }
        }
        if let Some(request) = pending {
            self.disk.submit(request);
        }
        self.disk.kick();
    }
}

/// Transfers of one kind may be merged.
fn kind(operation: Operation) -> u8 {
    match operation {
        Operation::Read => 0,
        Operation::Write { is_forced: false } => 1,
        Operation::Write { is_forced: true } => 2,
        Operation::WriteZeroes { may_unmap: false } => 3,
        Operation::WriteZeroes { may_unmap: true } => 4,
        Operation::Discard => 5,
        Operation::Flush => 6,
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        self.submit();
    }
}
