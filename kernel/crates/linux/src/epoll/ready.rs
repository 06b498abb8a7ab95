//! [`Core`]: the part of an instance that wakes reach; [`Watch`]: what they call.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use abi::PollEvents;
use file::ReleaseWatcher;
use sync::{IrqSpinLock, WaitQueue, Wake, rank};

use super::Epoll;
use super::items::Key;

/// What wakes have noted, and who waits for it.
pub(super) struct Core {
    /// How many items are noted: what a look without the lock tells. Changed under the lock.
    noted_count: AtomicUsize,
    /// How many items are on the list of the instance, at least. Changed by who has the items locked.
    kept_count: AtomicUsize,
    noted: IrqSpinLock<Noted>,
    /// Other instances watch this one. Changed under the lock.
    has_parents: AtomicBool,
    pub(super) queue: WaitQueue,
}

struct Noted {
    /// Numbers of items that may be ready and that nobody has taken, each at most once.
    list: Vec<u32>,
    /// The items of other instances that watch this one.
    parents: Vec<Arc<Watch>>,
}

impl Core {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            noted_count: AtomicUsize::new(0),
            kept_count: AtomicUsize::new(0),
            noted: IrqSpinLock::new(rank::EPOLL_READY, Noted { list: Vec::new(), parents: Vec::new() }),
            has_parents: AtomicBool::new(false),
            queue: WaitQueue::with_rank(rank::EPOLL_WAIT_QUEUES),
        })
    }

    /// Makes room for so many items. One thread at a time: the caller has the items locked.
    pub(super) fn reserve(&self, count: usize) {
        if self.noted.lock().list.capacity() >= count {
            return;
        }
        let mut list = Vec::with_capacity(count.next_power_of_two());
        let mut noted = self.noted.lock();
        list.append(&mut noted.list);
        core::mem::swap(&mut noted.list, &mut list);
        drop(noted);
    }

    /// An item may be ready: notes it and wakes. Called under the lock of a wait queue, or of what is noted of an instance this
    /// one watches. True if somebody waited for it.
    fn note(&self, watch: &Watch) -> bool {
        let is_news = watch.list();
        if is_news || self.has_parents.load(Ordering::Relaxed) {
            let mut noted = self.noted.lock_nested();
            if is_news {
                debug_assert!(noted.list.len() < noted.list.capacity(), "there is room for every item");
                noted.list.push(watch.index);
                // Release: who sees that an item is noted sees why.
                self.noted_count.store(noted.list.len(), Ordering::Release);
            }
            noted.wake_parents();
        }
        self.wake_waiters()
    }

    /// Something may be ready of what the instance has on its list. True if somebody waited for it.
    pub(super) fn announce(&self) -> bool {
        if self.has_parents.load(Ordering::Relaxed) {
            self.noted.lock().wake_parents();
        }
        self.wake_waiters()
    }

    fn wake_waiters(&self) -> bool {
        self.queue.wake(PollEvents::READABLE.bits())
    }

    /// Whether any item may be ready. False: none was when this was called.
    #[inline]
    pub(super) fn has_any(&self) -> bool {
        // In this order: what is noted is kept before it is noted no more.
        self.noted_count.load(Ordering::Acquire) != 0 || self.kept_count.load(Ordering::Acquire) != 0
    }

    /// Says how many items are on the list of the instance.
    #[inline]
    pub(super) fn note_kept(&self, count: usize) {
        self.kept_count.store(count, Ordering::Release);
    }

    /// Moves what is noted to `to`, which is empty and has as much room, from where it goes to the list of `kept` items.
    #[inline]
    pub(super) fn take_noted(&self, to: &mut Vec<u32>, kept: usize) {
        if self.noted_count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut noted = self.noted.lock();
        self.note_kept(kept + noted.list.len());
        core::mem::swap(&mut noted.list, to);
        self.noted_count.store(0, Ordering::Release);
    }

    /// Passes wakes on to an item of an instance that watches this one.
    pub(super) fn add_parent(&self, parent: &Arc<Watch>) {
        let mut bigger = Vec::new();
        loop {
            let mut noted = self.noted.lock();
            if noted.parents.len() == noted.parents.capacity() && bigger.capacity() > noted.parents.len() {
                bigger.append(&mut noted.parents);
                core::mem::swap(&mut bigger, &mut noted.parents);
            }
            if noted.parents.len() < noted.parents.capacity() {
                noted.parents.push(Arc::clone(parent));
                self.has_parents.store(true, Ordering::Relaxed);
                return;
            }
            let wanted = (noted.parents.len() * 2).max(1);
            drop(noted);
            bigger = Vec::with_capacity(wanted);
        }
    }

    /// Takes back [`Core::add_parent`].
    pub(super) fn remove_parent(&self, parent: &Arc<Watch>) {
        let mut noted = self.noted.lock();
        let position = noted.parents.iter().position(|other| Arc::ptr_eq(other, parent));
        let removed = position.map(|position| noted.parents.swap_remove(position));
        self.has_parents.store(!noted.parents.is_empty(), Ordering::Relaxed);
        drop(noted);
        drop(removed);
    }

    /// How many instances lie on the longest way up from here, this one included.
    pub(super) fn height(&self) -> usize {
        let noted = self.noted.lock_nested();
        1 + noted.parents.iter().map(|parent| parent.core.height()).max().unwrap_or(0)
    }
}

impl Noted {
    fn wake_parents(&self) {
        for parent in &self.parents {
            parent.wake(PollEvents::READABLE.bits());
        }
    }
}

/// What a watched file wakes: the item `index` of an instance.
pub(super) struct Watch {
    core: Arc<Core>,
    epoll: Weak<Epoll>,
    index: u32,
    key: Key,
    /// The events that count; none while the item is disabled.
    events: AtomicU32,
    /// The item is noted, or on the list of the instance.
    is_listed: AtomicBool,
}

impl Watch {
    pub(super) fn new(core: Arc<Core>, epoll: Weak<Epoll>, index: u32, key: Key) -> Self {
        Self { core, epoll, index, key, events: AtomicU32::new(0), is_listed: AtomicBool::new(false) }
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    pub(super) fn index(&self) -> u32 {
        self.index
    }

    pub(super) fn set_events(&self, events: PollEvents) {
        self.events.store(events.bits(), Ordering::Relaxed);
    }

    /// The item is to be listed. False: it is already, and whoever looks at it sees all that the caller has seen.
    #[inline]
    pub(super) fn list(&self) -> bool {
        !self.is_listed.swap(true, Ordering::AcqRel)
    }

    /// The item is about to be looked at, off the list: what happens from now on lists it again.
    #[inline]
    pub(super) fn unlist(&self) {
        self.is_listed.swap(false, Ordering::AcqRel);
    }

    pub(super) fn is_listed(&self) -> bool {
        self.is_listed.load(Ordering::Relaxed)
    }
}

impl Wake for Watch {
    /// Whoever asks the instance next looks, unless the item is disabled.
    fn wake(&self, events: u32) -> bool {
        let is_wanted = self.events.load(Ordering::Relaxed) & events != 0;
        if is_wanted {
            self.core.note(self);
        }
        is_wanted
    }

    /// A wake of an instance for which nobody waits goes on to another.
    fn wake_exclusive(&self, events: u32) -> bool {
        self.events.load(Ordering::Relaxed) & events != 0 && self.core.note(self)
    }
}

impl ReleaseWatcher for Watch {
    fn open_file_released(&self) {
        if let Some(epoll) = self.epoll.upgrade() {
            drop(epoll.take_item(self.key));
        }
    }
}
