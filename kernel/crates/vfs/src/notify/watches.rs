//! The watches of all instances, and how an event finds them.
//!
//! A watch belongs to an inode, which it keeps, and so finds it by its address; an inode that is watched knows of what kinds of events
//! ([`Metadata::set_watched`]). One table (rank `WATCHES`) has them all: changes of it and events that somebody waits for are
//! rare enough. Queues have their own locks, so that readers do not meet events of others. Those who are told by a
//! signal ([`super::signalled`]) are in the same table.
//!
//! [`Metadata::set_watched`]: crate::Metadata

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use abi::Errno;
use abi::inotify::InotifyMask;
use sync::{Mutex, rank};

use super::instance::EventQueue;
use super::signalled::{SignalOwner, SignalWatch};
use crate::Inode;

/// Watches of all instances, so that a system without any pays one load for an event.
static COUNT: AtomicUsize = AtomicUsize::new(0);

static WATCHES: Mutex<Watches> = Mutex::new(rank::WATCHES, Watches::new());

/// An event that only `F_NOTIFY` knows: a name changed to another in the same directory.
pub(super) const RENAMED: InotifyMask = InotifyMask::from_bits_retain(0x1000);

/// The events that watches may wait for.
const EVENTS: InotifyMask = InotifyMask::ALL_EVENTS.union(RENAMED);

/// Limits of `/proc/sys/fs/inotify`.
pub struct Limits {
    /// Events that wait in an instance made from now on.
    pub queued_events_max: AtomicU32,
    /// Instances of a user.
    pub user_instances_max: AtomicU32,
    /// Watches of a user; 0 means as many as go with the size of memory.
    pub user_watches_max: AtomicU32,
}

/// The limits in force.
pub static LIMITS: Limits = Limits {
    queued_events_max: AtomicU32::new(16384),
    user_instances_max: AtomicU32::new(128),
    user_watches_max: AtomicU32::new(0),
};

impl Limits {
    /// Watches a user may have: unless it was set, what takes a hundredth of memory.
    pub fn watches(&self) -> u32 {
        /// About what a watch takes, with the inode it keeps.
        const WATCH_LEN: u64 = 1280;
        match self.user_watches_max.load(Relaxed) {
            0 => {
                let share = mm::frame::total().saturating_mul(mm::PAGE_SIZE as u64) / 100;
                u32::try_from((share / WATCH_LEN).clamp(8192, 1 << 20)).unwrap_or(u32::MAX)
            }
            limit => limit,
        }
    }
}

/// Identifies an instance.
pub(super) type InstanceId = u64;

struct Watch {
    queue: Arc<EventQueue>,
    descriptor: i32,
    /// Events, with `EXCL_UNLINK` and `ONESHOT`.
    mask: InotifyMask,
    inode: Arc<dyn Inode>,
}

/// What a user has.
struct User {
    uid: u32,
    instances: u32,
    watches: u32,
}

struct Watches {
    by_inode: BTreeMap<usize, Vec<Watch>>,
    signalled: BTreeMap<usize, Vec<SignalWatch>>,
    by_descriptor: BTreeMap<(InstanceId, i32), usize>,
    users: Vec<User>,
}

/// An event, as those who watch an inode see it.
#[derive(Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) mask: InotifyMask,
    pub(super) cookie: u32,
    pub(super) name: &'a [u8],
    /// It comes by a name that is removed, which those with `EXCL_UNLINK` do not want to know of.
    pub(super) is_unlinked: bool,
}

/// What was taken out of the table, to be dropped without its lock.
#[derive(Default)]
struct Ended {
    watches: Vec<Watch>,
    signalled: Vec<SignalWatch>,
}

/// Whether anybody watches anything.
#[inline(always)]
pub(crate) fn is_any() -> bool {
    COUNT.load(Relaxed) != 0
}

fn key(inode: &dyn Inode) -> usize {
    core::ptr::from_ref(inode.metadata()).addr()
}

/// The table, and what is to be dropped when its lock is released.
fn with_table<R>(action: impl FnOnce(&mut Watches, &mut Ended) -> R) -> R {
    let mut ended = Ended::default();
    let result = action(&mut WATCHES.lock(), &mut ended);
    drop(ended);
    result
}

impl Watches {
    const fn new() -> Self {
        Self {
            by_inode: BTreeMap::new(),
            signalled: BTreeMap::new(),
            by_descriptor: BTreeMap::new(),
            users: Vec::new(),
        }
    }

    /// Lets the inode know what its watches wait for, and forgets lists that are empty.
    fn publish(&mut self, inode: &dyn Inode) {
        let key = key(inode);
        let mut all = InotifyMask::empty();
        if let Some(list) = self.by_inode.get(&key) {
            all |= list.iter().fold(InotifyMask::empty(), |all, watch| all | watch.mask);
            if list.is_empty() {
                self.by_inode.remove(&key);
            }
        }
        if let Some(list) = self.signalled.get(&key) {
            all |= list.iter().fold(InotifyMask::empty(), |all, watch| all | watch.events);
            if list.is_empty() {
                self.signalled.remove(&key);
            }
        }
        inode.metadata().set_watched(all.bits());
    }

    fn user(&mut self, uid: u32) -> &mut User {
        let at = match self.users.iter().position(|user| user.uid == uid) {
            Some(at) => at,
            None => {
                self.users.push(User { uid, instances: 0, watches: 0 });
                self.users.len() - 1
            }
        };
        &mut self.users[at]
    }

    fn forget_user_without_any(&mut self, uid: u32) {
        self.users.retain(|user| user.uid != uid || user.instances > 0 || user.watches > 0);
    }

    /// Takes a watch out and says so to its queue. The caller drops it without the lock.
    fn remove(&mut self, id: InstanceId, descriptor: i32) -> Option<Watch> {
        let key = self.by_descriptor.remove(&(id, descriptor))?;
        let watches = self.by_inode.get_mut(&key)?;
        let at = watches.iter().position(|watch| watch.queue.id() == id && watch.descriptor == descriptor)?;
        let watch = watches.remove(at);
        self.publish(&*watch.inode);
        let uid = watch.queue.uid();
        self.user(uid).watches -= 1;
        self.forget_user_without_any(uid);
        COUNT.fetch_sub(1, Relaxed);
        watch.queue.push(descriptor, InotifyMask::IGNORED, 0, b"");
        Some(watch)
    }

    /// Tells those who watch an inode. Watches that end by it are put in `ended`.
    fn deliver(&mut self, inode: &dyn Inode, event: &Event<'_>, ended: &mut Ended) {
        self.signal(inode, event.mask, ended);
        let Some(watches) = self.by_inode.get(&key(inode)) else { return };
        let mut last = Vec::new();
        for watch in watches.iter().filter(|watch| watch.mask.intersects(event.mask & InotifyMask::ALL_EVENTS)) {
            if event.is_unlinked && watch.mask.contains(InotifyMask::EXCL_UNLINK) {
                continue;
            }
            watch.queue.push(watch.descriptor, event.mask, event.cookie, event.name);
            if watch.mask.contains(InotifyMask::ONESHOT) {
                last.push((watch.queue.id(), watch.descriptor));
            }
        }
        ended.watches.extend(last.into_iter().filter_map(|(id, descriptor)| self.remove(id, descriptor)));
    }

    /// Sends the signals of those who watch a directory so. Who wanted one only is taken out.
    fn signal(&mut self, inode: &dyn Inode, events: InotifyMask, ended: &mut Ended) {
        let Some(list) = self.signalled.get_mut(&key(inode)) else { return };
        let is_met = |watch: &SignalWatch| watch.events.intersects(events & EVENTS);
        list.iter().filter(|watch| is_met(watch)).for_each(|watch| watch.told.tell());
        let before = ended.signalled.len();
        ended.signalled.extend(list.extract_if(.., |watch| is_met(watch) && !watch.is_lasting));
        let count = ended.signalled.len() - before;
        if count > 0 {
            COUNT.fetch_sub(count, Relaxed);
            self.publish(inode);
        }
    }

    /// Tells all who watch an inode of its end, and takes their watches out.
    fn end(&mut self, inode: usize, mask: InotifyMask, ended: &mut Ended) {
        let Some(watches) = self.by_inode.get(&inode) else { return };
        let all: Vec<_> =
            watches.iter().map(|watch| (Arc::clone(&watch.queue), watch.descriptor, watch.mask)).collect();
        for (queue, descriptor, wanted) in all {
            if wanted.intersects(mask) || mask.contains(InotifyMask::UNMOUNT) {
                queue.push(descriptor, mask, 0, b"");
            }
            ended.watches.extend(self.remove(queue.id(), descriptor));
        }
    }
}

/// Tells those who watch an inode.
#[cold]
pub(super) fn deliver(inode: &dyn Inode, event: &Event<'_>) {
    if inode.metadata().watched() & event.mask.bits() & EVENTS.bits() != 0 {
        with_table(|watches, ended| watches.deliver(inode, event, ended));
    }
}

/// An inode has lost its last name, and the last place that stood for it.
#[cold]
pub(super) fn deleted(inode: &dyn Inode) {
    with_table(|watches, ended| watches.end(key(inode), InotifyMask::DELETE_SELF, ended));
}

/// A file system is not mounted any more.
#[cold]
pub(super) fn unmounted(device: u64) {
    let is_of = |list: &Vec<Watch>| list.first().is_some_and(|watch| watch.inode.metadata().device() == device);
    with_table(|watches, ended| {
        let keys: Vec<_> = watches.by_inode.iter().filter(|(_, list)| is_of(list)).map(|(key, _)| *key).collect();
        for key in keys {
            watches.end(key, InotifyMask::UNMOUNT, ended);
        }
    });
}

/// Counts an instance of a user; `EMFILE` when there are too many.
pub(super) fn add_instance(uid: u32) -> Result<(), Errno> {
    let mut watches = WATCHES.lock();
    let user = watches.user(uid);
    if user.instances >= LIMITS.user_instances_max.load(Relaxed) {
        watches.forget_user_without_any(uid);
        return Err(Errno::EMFILE);
    }
    user.instances += 1;
    Ok(())
}

/// Ends an instance: its watches go with it.
pub(super) fn remove_instance(id: InstanceId, uid: u32) {
    with_table(|watches, ended| {
        let all: Vec<i32> =
            watches.by_descriptor.range((id, i32::MIN)..=(id, i32::MAX)).map(|((_, number), _)| *number).collect();
        ended.watches.extend(all.into_iter().filter_map(|descriptor| watches.remove(id, descriptor)));
        watches.user(uid).instances -= 1;
        watches.forget_user_without_any(uid);
    });
}

/// Has events of a directory told by a signal. Who is told so by the same descriptors already is told of more.
pub(super) fn add_signal(watch: SignalWatch) {
    with_table(|watches, ended| {
        let inode = Arc::clone(&watch.inode);
        let list = watches.signalled.entry(key(&*inode)).or_default();
        match list.iter_mut().find(|other| other.owner == watch.owner) {
            Some(other) => {
                let before = core::mem::replace(other, watch);
                other.events |= before.events;
                other.is_lasting |= before.is_lasting;
                ended.signalled.push(before);
            }
            None => {
                // Linux tells whoever came last first.
                list.insert(0, watch);
                COUNT.fetch_add(1, Relaxed);
            }
        }
        watches.publish(&*inode);
    });
}

/// Takes back [`add_signal`].
pub(super) fn remove_signal(inode: &dyn Inode, owner: SignalOwner) {
    with_table(|watches, ended| {
        let Some(list) = watches.signalled.get_mut(&key(inode)) else { return };
        let Some(at) = list.iter().position(|watch| watch.owner == owner) else { return };
        ended.signalled.push(list.remove(at));
        COUNT.fetch_sub(1, Relaxed);
        watches.publish(inode);
    });
}

/// Watches an inode, or changes the watch that the instance has on it. Answers the watch's number.
pub(super) fn add(queue: &Arc<EventQueue>, inode: &Arc<dyn Inode>, asked: InotifyMask) -> Result<i32, Errno> {
    let kept = asked & (InotifyMask::ALL_EVENTS | InotifyMask::EXCL_UNLINK | InotifyMask::ONESHOT);
    let mut watches = WATCHES.lock();
    let key = key(&**inode);
    if let Some(list) = watches.by_inode.get_mut(&key)
        && let Some(watch) = list.iter_mut().find(|watch| watch.queue.id() == queue.id())
    {
        if asked.contains(InotifyMask::MASK_CREATE) {
            return Err(Errno::EEXIST);
        }
        watch.mask = if asked.contains(InotifyMask::MASK_ADD) { watch.mask | kept } else { kept };
        let descriptor = watch.descriptor;
        watches.publish(&**inode);
        return Ok(descriptor);
    }
    let user = watches.user(queue.uid());
    if user.watches >= LIMITS.watches() {
        return Err(Errno::ENOSPC);
    }
    user.watches += 1;
    let descriptor = queue.next_descriptor();
    watches.by_descriptor.insert((queue.id(), descriptor), key);
    let list = watches.by_inode.entry(key).or_default();
    list.push(Watch { queue: Arc::clone(queue), descriptor, mask: kept, inode: Arc::clone(inode) });
    watches.publish(&**inode);
    COUNT.fetch_add(1, Relaxed);
    Ok(descriptor)
}

/// Ends a watch; `EINVAL` when the instance has none of this number.
pub(super) fn remove(id: InstanceId, descriptor: i32) -> Result<(), Errno> {
    let removed = WATCHES.lock().remove(id, descriptor);
    removed.map(drop).ok_or(Errno::EINVAL)
}

/// Gives number, inode number, device and mask of each watch of an instance.
pub(super) fn describe(id: InstanceId, mut give: impl FnMut(i32, u64, u64, InotifyMask)) {
    let watches = WATCHES.lock();
    for ((_, descriptor), key) in watches.by_descriptor.range((id, i32::MIN)..=(id, i32::MAX)) {
        let is_it = |watch: &&Watch| watch.queue.id() == id && watch.descriptor == *descriptor;
        if let Some(watch) = watches.by_inode.get(key).and_then(|list| list.iter().find(is_it)) {
            let metadata = watch.inode.metadata();
            give(*descriptor, metadata.number(), metadata.device(), watch.mask);
        }
    }
}
