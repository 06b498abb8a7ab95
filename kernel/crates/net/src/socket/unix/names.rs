//! [`Names`]: which socket is bound to which name.
//!
//! A name is a file, by its inode, or bytes in the abstract name space, where sockets of different kinds do not meet. The table keeps
//! no socket alive: a socket takes its name out when it is closed.
//!
//! Lock: [`rank::UNIX_NAMES`].

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::Errno;
use sync::{Mutex, machine, rank};

use super::endpoint::Endpoint;
use crate::socket::UnixName;
use crate::socket::address::InodeKey;

/// Names that the kernel gives: five hexadecimal digits.
const AUTOMATIC_COUNT: u32 = 1 << 20;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Path(InodeKey),
    Abstract(i32, Vec<u8>),
}

impl Key {
    fn of(name: &UnixName, kind: i32) -> Option<Self> {
        match name {
            UnixName::Unnamed => None,
            UnixName::Abstract(bytes) => Some(Self::Abstract(kind, bytes.clone())),
            UnixName::Path { inode, .. } => Some(Self::Path(*inode)),
        }
    }
}

/// The names in use.
pub struct Names {
    table: Mutex<BTreeMap<Key, Weak<Endpoint>>>,
}

impl Default for Names {
    fn default() -> Self {
        Self { table: Mutex::new(rank::UNIX_NAMES, BTreeMap::new()) }
    }
}

impl Names {
    /// The socket that is bound to `name`, as a socket of `kind` sees it.
    pub(super) fn find(&self, name: &UnixName, kind: i32) -> Option<Arc<Endpoint>> {
        self.table.lock().get(&Key::of(name, kind)?)?.upgrade()
    }

    /// Gives `endpoint` its name, which is its only one. `EINVAL` if it has one, `EADDRINUSE` if another has this.
    pub(super) fn bind(&self, endpoint: &Arc<Endpoint>, name: UnixName) -> Result<(), Errno> {
        let key = Key::of(&name, endpoint.kind).ok_or(Errno::EINVAL)?;
        let mut table = self.table.lock();
        if table.get(&key).is_some_and(|other| other.strong_count() > 0) {
            return Err(Errno::EADDRINUSE);
        }
        if !endpoint.set_name(name) {
            return Err(Errno::EINVAL);
        }
        table.insert(key, Arc::downgrade(endpoint));
        Ok(())
    }

    /// Gives `endpoint` an abstract name that nobody has, unless it has a name.
    pub(super) fn bind_automatically(&self, endpoint: &Arc<Endpoint>) -> Result<(), Errno> {
        let mut random = [0; 4];
        machine::fill_entropy(&mut random);
        let first = u32::from_ne_bytes(random);
        for step in 0..AUTOMATIC_COUNT {
            if endpoint.has_name() {
                return Ok(());
            }
            let number = first.wrapping_add(step) % AUTOMATIC_COUNT;
            match self.bind(endpoint, UnixName::Abstract(format!("{number:05x}").into_bytes())) {
                Err(Errno::EADDRINUSE) => {}
                // Somebody else gave it a name in between.
                Err(Errno::EINVAL) | Ok(()) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::ENOSPC)
    }

    /// Takes the name of `endpoint` out.
    pub(super) fn remove(&self, endpoint: &Arc<Endpoint>) {
        let Some(key) = Key::of(&endpoint.name(), endpoint.kind) else { return };
        let mut table = self.table.lock();
        // Accepted sockets show the name of their listener, and are not who it stands for.
        if table.get(&key).is_some_and(|entry| Weak::as_ptr(entry) == Arc::as_ptr(endpoint)) {
            table.remove(&key);
        }
    }
}
