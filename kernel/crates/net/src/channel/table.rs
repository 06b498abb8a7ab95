//! [`FlowTable`]: flows by their keys, found under RCU.
//!
//! The hash is keyed with a secret of this table, as remote ends choose most of a key.

use alloc::sync::Arc;
use alloc::vec::Vec;

use sync::rcu::{HashMap, ReadGuard};
use sync::{machine, rank};

use super::Flow;
use crate::FlowKey;

/// All flows by their keys.
pub struct FlowTable {
    flows: HashMap<FlowKey, Arc<dyn Flow>>,
    secret: [u64; 2],
}

impl Default for FlowTable {
    fn default() -> Self {
        Self::new()
    }
}

impl FlowTable {
    /// No flows.
    #[must_use]
    pub fn new() -> Self {
        let mut secret = [[0; 8]; 2];
        secret.iter_mut().for_each(|word| machine::fill_entropy(word));
        Self { flows: HashMap::new(rank::FLOW_TABLE), secret: secret.map(u64::from_le_bytes) }
    }

    /// Enters a flow. False: the key is taken.
    pub fn insert(&self, key: FlowKey, flow: Arc<dyn Flow>) -> bool {
        self.flows.insert(key.hash(self.secret), key, flow)
    }

    /// Takes a flow out, if it has this key. May sleep.
    pub fn remove(&self, key: &FlowKey, flow: &dyn Flow) {
        let is_it = |other: &Arc<dyn Flow>| core::ptr::addr_eq(Arc::as_ptr(other), flow);
        self.flows.remove_if(key.hash(self.secret), key, is_it);
    }

    /// The flow of a key, for the length of a read section.
    #[inline]
    pub fn find<'a>(&'a self, key: &FlowKey, section: &'a ReadGuard) -> Option<&'a Arc<dyn Flow>> {
        self.flows.get(key.hash(self.secret), key, section)
    }

    /// The flow of a key.
    #[must_use]
    pub fn get(&self, key: &FlowKey) -> Option<Arc<dyn Flow>> {
        self.find(key, &sync::rcu::read()).cloned()
    }

    /// Whether a key is taken.
    #[must_use]
    pub fn contains(&self, key: &FlowKey) -> bool {
        self.find(key, &sync::rcu::read()).is_some()
    }

    /// How many flows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// All flows, as they were when each was looked at.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<dyn Flow>> {
        self.flows.values()
    }
}
