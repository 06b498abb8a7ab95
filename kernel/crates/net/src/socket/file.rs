//! [`SocketFile`]: a socket behind a descriptor.

use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::stat::S_IFSOCK;
use abi::{Errno, PollEvents};
use file::{Attributes, File, IoResult, LockOwner, OpenFile, Progress};
use mm::user::{UserReader, UserWriter};
use sync::WaitQueue;

use super::open_sockets::OPEN_SOCKETS;
use super::{Caller, Socket};

/// Numbers the sockets, as the inode numbers that `fstat` shows.
static NEXT_INODE: AtomicU64 = AtomicU64::new(1);

/// `SOCK_STREAM`.
const STREAM: i32 = 1;

/// A socket as an open file.
pub struct SocketFile {
    socket: Arc<dyn Socket>,
    inode: u64,
    /// Who made it: writes by `write` are its.
    creator: Caller,
    /// Permission bits, owner and group: nothing follows from the former.
    permissions: AtomicU32,
    user: AtomicU32,
    group: AtomicU32,
    /// Its place among the open sockets.
    place: usize,
}

impl SocketFile {
    /// The file of a socket that `creator` made or accepted.
    #[must_use]
    pub fn new(socket: Arc<dyn Socket>, creator: Caller) -> Arc<Self> {
        let inode = NEXT_INODE.fetch_add(1, Ordering::Relaxed);
        Arc::new_cyclic(|me| Self {
            socket,
            inode,
            permissions: AtomicU32::new(0o777),
            user: AtomicU32::new(creator.credentials.uid),
            group: AtomicU32::new(creator.credentials.gid),
            creator,
            place: OPEN_SOCKETS.add(inode, Weak::clone(me)),
        })
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Arc<dyn Socket> {
        &self.socket
    }

    /// The user who made or accepted it, or to whom it was given.
    #[must_use]
    pub fn user(&self) -> u32 {
        self.user.load(Ordering::Relaxed)
    }

    /// Its inode number.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }
}

impl File for SocketFile {
    fn read(&self, _open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        if to.is_full() {
            return Ok(Progress::Done(0));
        }
        Ok(self.socket.read(to)?.map_or(Progress::WouldBlock, Progress::Done))
    }

    fn waits_its_own_way(&self) -> bool {
        true
    }

    fn write(&self, _open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        self.socket.write(from, &self.creator)
    }

    fn is_stream(&self) -> bool {
        self.socket.kind().kind == STREAM
    }

    fn readiness(&self) -> PollEvents {
        self.socket.readiness()
    }

    fn readiness_of(&self, wanted: PollEvents) -> PollEvents {
        self.socket.readiness_of(wanted)
    }

    fn signal_queue(&self) -> Option<&WaitQueue> {
        self.wait_queue()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(self.socket.wait_queue())
    }

    fn wakes_one(&self, events: PollEvents) -> bool {
        self.socket.wakes_one(events)
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        let attributes = Attributes::anonymous(self.inode, S_IFSOCK | self.permissions.load(Ordering::Relaxed));
        Ok(Attributes { uid: self.user(), gid: self.group.load(Ordering::Relaxed), ..attributes })
    }

    fn set_ownership(&self, new: Option<&Attributes>) -> Result<(), Errno> {
        if let Some(new) = new {
            self.permissions.store(new.mode & 0o7777, Ordering::Relaxed);
            self.user.store(new.uid, Ordering::Relaxed);
            self.group.store(new.gid, Ordering::Relaxed);
        }
        Ok(())
    }

    fn ioctl(&self, _open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        self.socket.ioctl(command, argument)
    }

    fn descriptor_closed(&self, open: &OpenFile, _owner: LockOwner) {
        self.socket.descriptor_closed(open);
    }

    fn released(&self, _open: &OpenFile) {
        OPEN_SOCKETS.remove(self.inode, self.place);
        self.socket.close();
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(format!("socket:[{}]", self.inode).into_bytes())
    }
}
