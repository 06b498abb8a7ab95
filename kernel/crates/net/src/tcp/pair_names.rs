//! [`PairNames`]: which ends the connections of the machine with itself have, so that no two have the same.
//!
//! A [`PairName`] is taken before a connection begins, and given back when both its ends are gone. There is no TIME-WAIT after it, as within the
//! machine nothing strays that a later connection could take for its own: an address can be bound again at once that Linux keeps for a minute.
//!
//! Lock: [`rank::PORT_TABLES`], never with another of this rank.

use alloc::sync::Arc;
use core::net::SocketAddr;

use hashbrown::HashTable;
use sync::{Mutex, rank};

use super::passive::Secrets;
use crate::flow_key::{FlowKey, protocol};

/// The ends of all connections of the machine with itself.
pub(super) struct PairNames {
    names: Mutex<HashTable<FlowKey>>,
    secrets: Secrets,
}

/// The ends of one connection, which no other has until this is dropped.
pub(super) struct PairName {
    names: Arc<PairNames>,
    key: FlowKey,
}

impl PairNames {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { names: Mutex::new(rank::PORT_TABLES, HashTable::new()), secrets: Secrets::new() })
    }

    /// The ends of a connection from `local` to `remote`. None: one has them.
    pub(super) fn take(self: &Arc<Self>, local: SocketAddr, remote: SocketAddr) -> Option<PairName> {
        let key = FlowKey::new(protocol::TCP, local, remote);
        let hash = self.secrets.hash(&key);
        let mut names = self.names.lock();
        if names.find(hash, |other| *other == key).is_some() {
            return None;
        }
        names.insert_unique(hash, key, |other| self.secrets.hash(other));
        drop(names);
        Some(PairName { names: Arc::clone(self), key })
    }
}

impl Drop for PairName {
    fn drop(&mut self) {
        let mut names = self.names.names.lock();
        if let Ok(entry) = names.find_entry(self.names.secrets.hash(&self.key), |other| *other == self.key) {
            entry.remove();
        }
        if names.is_empty() {
            // The memory of a busy time goes back.
            *names = HashTable::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;

    #[test]
    fn two_connections_never_have_the_same_ends() {
        let names = PairNames::new();
        let ends: [SocketAddr; 2] = [([127, 0, 0, 1], 5000).into(), ([127, 0, 0, 1], 80).into()];
        let name = names.take(ends[0], ends[1]);
        assert!(name.is_some() && names.take(ends[0], ends[1]).is_none());
        assert!(names.take(ends[1], ends[0]).is_some(), "the other way is another connection");
        drop(name);
        assert!(names.take(ends[0], ends[1]).is_some());
        assert!(names.names.lock().is_empty());
    }
}
