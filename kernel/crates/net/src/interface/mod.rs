//! Interfaces: devices with names and addresses, and the ways from them to the world.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use sync::{Mutex, rank};

use crate::Nic;

/// Interfaces that a machine has at most.
pub const INTERFACES_MAX: usize = 64;

/// An interface.
pub struct Interface {
    index: u32,
    name: String,
    nic: Option<Arc<dyn Nic>>,
}

impl Interface {
    /// Its number, from 1.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its name, such as `eth0`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its device; none for loopback.
    #[must_use]
    pub fn nic(&self) -> Option<&Arc<dyn Nic>> {
        self.nic.as_ref()
    }
}

/// The interfaces of a machine. The first is loopback.
pub struct Interfaces {
    list: Mutex<Vec<Arc<Interface>>>,
}

impl Default for Interfaces {
    fn default() -> Self {
        Self::new()
    }
}

impl Interfaces {
    /// Loopback alone.
    #[must_use]
    pub fn new() -> Self {
        let loopback = Arc::new(Interface { index: 1, name: "lo".into(), nic: None });
        Self { list: Mutex::new(rank::NETWORK, alloc::vec![loopback]) }
    }

    /// Adds a device under the next name `ethN`. None: there are too many.
    pub fn add(&self, nic: Arc<dyn Nic>) -> Option<Arc<Interface>> {
        let mut list = self.list.lock();
        if list.len() >= INTERFACES_MAX {
            return None;
        }
        let index = u32::try_from(list.len() + 1).ok()?;
        let interface = Arc::new(Interface { index, name: alloc::format!("eth{}", index - 2), nic: Some(nic) });
        list.push(Arc::clone(&interface));
        Some(interface)
    }
}
