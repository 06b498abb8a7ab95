//! What happens in a directory, told by a signal (`F_NOTIFY`, Linux's dnotify).
//!
//! An open directory and the descriptors it was asked by are told, in the order in which things happen and while they
//! do: once, or again and again. It ends when any of these descriptors that stands for the open file is closed, as
//! Linux has it. Events are those of inotify for a directory, and one of its own.

use alloc::sync::Arc;
use core::sync::atomic::AtomicU32;

use abi::Errno;
use abi::inotify::InotifyMask;
use abi::open::DirectoryEvents;
use file::lock::OpenId;
use file::{LockOwner, OpenFile};

use super::watches::{self, RENAMED};
use crate::{Inode, VnodeFile};

/// `fs.dir-notify-enable`.
pub static ARE_DIRECTORIES_TOLD: AtomicU32 = AtomicU32::new(1);

/// Who is told.
pub trait DirectoryListener: Send + Sync {
    /// Something has happened. Called under locks of directories: it must not wait.
    fn tell(&self);
}

/// By which descriptors, of which open file.
pub(super) type SignalOwner = (LockOwner, OpenId);

/// Somebody who is told.
pub(super) struct SignalWatch {
    pub(super) owner: SignalOwner,
    pub(super) events: InotifyMask,
    pub(super) is_lasting: bool,
    pub(super) told: Arc<dyn DirectoryListener>,
    pub(super) inode: Arc<dyn Inode>,
}

/// The events of a mask of `F_NOTIFY`.
fn events(asked: DirectoryEvents) -> InotifyMask {
    let table = [
        (DirectoryEvents::ACCESS, InotifyMask::ACCESS),
        (DirectoryEvents::MODIFY, InotifyMask::MODIFY),
        (DirectoryEvents::CREATE, InotifyMask::CREATE | InotifyMask::MOVED_TO),
        (DirectoryEvents::DELETE, InotifyMask::DELETE | InotifyMask::MOVED_FROM),
        (DirectoryEvents::RENAME, RENAMED),
        (DirectoryEvents::ATTRIB, InotifyMask::ATTRIB),
    ];
    let wanted = table.iter().filter(|(asked_by, _)| asked.contains(*asked_by));
    wanted.fold(InotifyMask::empty(), |all, (_, event)| all | *event)
}

/// Has what happens in an open directory told to `told`, besides what it is told of already. `ENOTDIR` for other files.
pub fn watch_directory(
    open: &OpenFile,
    file: &VnodeFile,
    owner: LockOwner,
    asked: DirectoryEvents,
    told: impl FnOnce() -> Arc<dyn DirectoryListener>,
) -> Result<(), Errno> {
    let inode = Arc::clone(file.path().inode());
    if !inode.metadata().is_directory() {
        return Err(Errno::ENOTDIR);
    }
    let is_lasting = asked.contains(DirectoryEvents::MULTISHOT);
    let owner = (owner, OpenId::of(open));
    watches::add_signal(SignalWatch { owner, events: events(asked), is_lasting, told: told(), inode });
    Ok(())
}

/// Ends that.
pub fn forget_directory(open: &OpenFile, file: &VnodeFile, owner: LockOwner) {
    watches::remove_signal(&**file.path().inode(), (owner, OpenId::of(open)));
}
