//! [`OpenSockets`]: the sockets that programs have open, for those who list them (`/proc/net`).
//!
//! A socket's file enters when it is made and leaves when its last descriptor is closed. The table has parts, each with a lock of its own, so that
//! CPUs that open and close sockets do not meet; nothing else looks at it.
//!
//! Lock: [`rank::SOCKET_FILES`], with nothing under it.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use sync::{Lazy, Mutex, rank};

use super::SocketFile;

/// Parts of the table: a power of two.
const PARTS: usize = 16;

/// A part of the table. A place that is free has a reference to nothing.
#[derive(Default)]
struct Part {
    files: Vec<Weak<SocketFile>>,
    free: Vec<usize>,
}

/// The sockets that are open.
pub(super) struct OpenSockets {
    parts: [Mutex<Part>; PARTS],
}

/// All of this machine.
pub(super) static OPEN_SOCKETS: Lazy<OpenSockets> =
    Lazy::new(|| OpenSockets { parts: core::array::from_fn(|_| Mutex::new(rank::SOCKET_FILES, Part::default())) });

impl OpenSockets {
    fn part(&self, inode: u64) -> &Mutex<Part> {
        let number = usize::try_from(inode % PARTS as u64).unwrap_or(0);
        &self.parts[number]
    }

    /// Enters the file with this inode number, and answers its place.
    pub(super) fn add(&self, inode: u64, file: Weak<SocketFile>) -> usize {
        let mut part = self.part(inode).lock();
        if let Some(place) = part.free.pop() {
            part.files[place] = file;
            return place;
        }
        part.files.push(file);
        part.files.len() - 1
    }

    /// Takes the file with this inode number out of its place.
    pub(super) fn remove(&self, inode: u64, place: usize) {
        let mut part = self.part(inode).lock();
        let removed = part.files.get_mut(place).map(core::mem::take);
        part.free.push(place);
        drop(part);
        drop(removed);
    }

    fn list(&self) -> Vec<Arc<SocketFile>> {
        let mut files: Vec<Arc<SocketFile>> = Vec::new();
        for part in &self.parts {
            files.extend(part.lock().files.iter().filter_map(Weak::upgrade));
        }
        files.sort_by_key(|file| file.inode());
        files
    }
}

/// All sockets that programs have open, in the order in which they were made.
#[must_use]
pub fn open_sockets() -> Vec<Arc<SocketFile>> {
    OPEN_SOCKETS.list()
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;
    use crate::Stack;
    use crate::socket::{Caller, SocketCredentials, unix};

    #[test]
    fn sockets_are_listed_while_they_are_open() {
        let stack = Stack::new(1);
        let caller = Caller {
            credentials: SocketCredentials { pid: 1, uid: 2, gid: 3 },
            may_bind_low_ports: false,
            may_use_raw: false,
            is_network_admin: false,
            in_flight_max: 0,
        };
        let make = || {
            let file = SocketFile::new(unix::create(&stack, 1), caller);
            (file.inode(), file::OpenFile::new(file, abi::OpenFlags::RDWR))
        };
        let mut open: Vec<_> = (0..50).map(|_| make()).collect();
        let is_listed = |inode: u64| open_sockets().iter().any(|file| file.inode() == inode);
        assert!(open.iter().all(|(inode, _)| is_listed(*inode)));
        let closed: Vec<u64> = open.drain(10..40).map(|(inode, _)| inode).collect();
        assert!(!closed.iter().any(|inode| is_listed(*inode)) && open.iter().all(|(inode, _)| is_listed(*inode)));
        let again: Vec<_> = (0..30).map(|_| make()).collect();
        assert!(open.iter().chain(&again).all(|(inode, _)| is_listed(*inode)));
    }
}
