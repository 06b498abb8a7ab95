//! Who wants to know what happens to files: inotify and `F_NOTIFY`, and the places that tell of events.
//!
//! # 1. Events
//!
//! An event happens to an inode (it is opened, read, changed) or to a name in a directory (it is made, removed, moved). Who watches the
//! inode hears of the former, who watches a directory of the latter, and of what happens to the files behind its names as long as it
//! happens by that name ([`at`]). Which events there are, in which order, and what each says is as Linux has it (inotify(7)): programs
//! depend on it.
//!
//! # 2. Cost
//!
//! As long as nobody watches anything an event costs one load of a count. Otherwise the inode says whether it is watched
//! for that kind of event, and only then is the table of watches locked.
//!
//! # 3. Locks
//!
//! Events of names are told under the locks of the directories, so that they come in the order in which things happened. The
//! table (`WATCHES`) and the queues below it (`WATCH_EVENTS`) come after all other locks of this crate that sleep. Inodes that watches held
//! are dropped outside.
//!
//! # 4. The end of an inode
//!
//! A watch keeps its inode, but not its names: when the last name is removed and the last dentry goes that stood for it
//! ([`dentry_dropped`]), or its file system is not mounted any more, the watch ends.
//!
//! What it does not do: tell of reads and writes of devices and FIFOs, which go by the inode, nor of stores in mapped memory.

mod instance;
mod queue;
mod signalled;
mod watches;

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::inotify::InotifyMask;

use crate::{Dentry, Inode};

pub use instance::Inotify;
pub use signalled::{ARE_DIRECTORIES_TOLD, DirectoryListener, forget_directory, watch_directory};
pub use watches::{LIMITS, Limits};

pub(crate) use watches::is_any;
use watches::{Event, RENAMED, deliver};

/// What `IN_EXCL_UNLINK` leaves out for removed names: what happens to open files.
const OF_OPEN_FILES: InotifyMask = InotifyMask::ACCESS
    .union(InotifyMask::MODIFY)
    .union(InotifyMask::OPEN)
    .union(InotifyMask::CLOSE_WRITE)
    .union(InotifyMask::CLOSE_NOWRITE);

/// `ISDIR` for directories.
fn directory_bit(inode: &dyn Inode) -> InotifyMask {
    if inode.metadata().is_directory() { InotifyMask::ISDIR } else { InotifyMask::empty() }
}

/// Tells of something that happens to what a dentry stands for.
#[inline(always)]
pub(crate) fn at(dentry: &Dentry, mask: InotifyMask) {
    if is_any() {
        tell_at(dentry, mask);
    }
}

#[cold]
fn tell_at(dentry: &Dentry, mask: InotifyMask) {
    let inode = &**dentry.inode();
    let mask = mask | directory_bit(inode);
    let is_unlinked = mask.intersects(OF_OPEN_FILES) && dentry.is_removed();
    let (parent, name) = dentry.place();
    if let Some(parent) = parent {
        deliver(&**parent.inode(), &Event { mask, cookie: 0, name: name.as_bytes(), is_unlinked });
    }
    deliver(inode, &Event { mask, cookie: 0, name: b"", is_unlinked });
}

/// Tells of something that happens to an inode, whatever its name.
#[inline(always)]
pub(crate) fn of(inode: &dyn Inode, mask: InotifyMask) {
    if is_any() {
        tell_of(inode, mask);
    }
}

#[cold]
fn tell_of(inode: &dyn Inode, mask: InotifyMask) {
    // Those who watch a directory are not told that it is one when it moves.
    let kind = if mask == InotifyMask::MOVE_SELF { InotifyMask::empty() } else { directory_bit(inode) };
    deliver(inode, &Event { mask: mask | kind, cookie: 0, name: b"", is_unlinked: false });
}

/// Tells of a change of a name in a directory.
#[inline(always)]
pub(crate) fn in_directory(directory: &dyn Inode, mask: InotifyMask, name: &[u8], child: &dyn Inode) {
    if is_any() {
        tell_in_directory(directory, mask, name, child);
    }
}

#[cold]
fn tell_in_directory(directory: &dyn Inode, mask: InotifyMask, name: &[u8], child: &dyn Inode) {
    let mask = mask | directory_bit(child);
    deliver(directory, &Event { mask, cookie: 0, name, is_unlinked: false });
}

/// A name that goes from one directory to another.
pub(crate) struct Move<'a> {
    pub(crate) from: (&'a dyn Inode, &'a [u8]),
    pub(crate) to: (&'a dyn Inode, &'a [u8]),
    pub(crate) inode: &'a dyn Inode,
    /// What it takes the place of.
    pub(crate) replaced: Option<&'a dyn Inode>,
}

/// Tells of a move: two events with one cookie, and those of the inodes themselves.
#[cold]
pub(crate) fn moved(moved: &Move<'_>) {
    static LAST_COOKIE: AtomicU32 = AtomicU32::new(0);
    let cookie = LAST_COOKIE.fetch_add(1, Relaxed).wrapping_add(1);
    let kind = directory_bit(moved.inode);
    let (directory, name) = moved.from;
    if core::ptr::addr_eq(directory, moved.to.0) {
        deliver(directory, &Event { mask: RENAMED, cookie: 0, name, is_unlinked: false });
    }
    let sides = [(moved.from, InotifyMask::MOVED_FROM), (moved.to, InotifyMask::MOVED_TO)];
    for ((directory, name), mask) in sides {
        deliver(directory, &Event { mask: mask | kind, cookie, name, is_unlinked: false });
    }
    if let Some(replaced) = moved.replaced {
        of(replaced, InotifyMask::ATTRIB);
    }
    of(moved.inode, InotifyMask::MOVE_SELF);
}

/// A dentry is gone. If its inode has no names any more, those who watch it are told, and watch no longer.
#[inline(always)]
pub(crate) fn dentry_dropped(inode: &dyn Inode) {
    if is_any() && inode.metadata().watched() != 0 && inode.metadata().links() == 0 {
        watches::deleted(inode);
    }
}

/// The last mount of a file system with this device number is gone.
pub(crate) fn unmounted(device: u64) {
    if is_any() {
        watches::unmounted(device);
    }
}
