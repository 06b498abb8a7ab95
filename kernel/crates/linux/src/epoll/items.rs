//! [`Items`]: the files an instance watches.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use abi::io::{EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, EPOLLWAKEUP};
use abi::{EpollEvent, Errno, PollEvents};
use file::{File, OpenFile, ReleaseWatcher};
use sync::WaitNode;

use super::Epoll;
use super::ready::{Core, Watch};

/// The bits of an item that are no events.
const FLAGS: u32 = EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP;
/// Reported whether asked for or not.
const ALWAYS: PollEvents = PollEvents::ERR.union(PollEvents::HUP);

/// What an item is known by: a descriptor and the open file it stood for, as long as that is open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    fd: i32,
    open: usize,
}

impl Key {
    pub(super) fn new(fd: i32, open: &Arc<OpenFile>) -> Self {
        Self { fd, open: Arc::as_ptr(open).addr() }
    }
}

/// One watched file.
pub(super) struct Item {
    file: Arc<dyn File>,
    open: Weak<OpenFile>,
    watch: Arc<Watch>,
    node: Arc<WaitNode>,
    /// Events and flags, as the program set them; flags only while disabled.
    pub(super) events: u32,
    /// The events that count; none while disabled.
    wanted: PollEvents,
    pub(super) data: u64,
}

impl Item {
    pub(super) fn new(open: &Arc<OpenFile>, watch: Arc<Watch>, node: Arc<WaitNode>, event: EpollEvent) -> Self {
        let (file, open) = (Arc::clone(open.file()), Arc::downgrade(open));
        let mut item = Self { file, open, watch, node, events: 0, wanted: PollEvents::empty(), data: 0 };
        item.set(event);
        item
    }

    pub(super) fn key(&self) -> Key {
        self.watch.key()
    }

    /// What is told when the open file is gone.
    pub(super) fn watcher(&self) -> Weak<dyn ReleaseWatcher> {
        let watch: Arc<dyn ReleaseWatcher> = Arc::clone(&self.watch) as _;
        Arc::downgrade(&watch)
    }

    /// The instance it watches, if that is what the file is.
    pub(super) fn nested(&self) -> Option<&Epoll> {
        (&*self.file as &dyn Any).downcast_ref()
    }

    /// From now on wakes of the file reach the instance.
    pub(super) fn register(&self) {
        if let Some(inner) = self.nested() {
            inner.core.add_parent(&self.watch);
        } else if let Some(queue) = self.file.wait_queue() {
            queue.add(&self.node);
        }
    }

    /// From now on they do not.
    pub(super) fn unregister(&self) {
        if let Some(inner) = self.nested() {
            inner.core.remove_parent(&self.watch);
        } else if let Some(queue) = self.file.wait_queue() {
            queue.leave(&self.node);
        }
    }

    /// An exclusive node that was woken is to be woken again.
    #[inline]
    pub(super) fn rearm(&self) {
        if self.events & EPOLLEXCLUSIVE != 0
            && let Some(queue) = self.file.wait_queue()
        {
            queue.add(&self.node);
        }
    }

    /// The open file need not tell its end any more.
    pub(super) fn forget_release(&self) {
        if let Some(open) = self.open.upgrade() {
            open.remove_watcher(&self.watcher());
        }
    }

    /// Sets what is watched for.
    pub(super) fn set(&mut self, event: EpollEvent) {
        self.events = event.events;
        self.data = event.data;
        self.set_wanted(PollEvents::from_bits_truncate(event.events) | ALWAYS);
    }

    /// Reports nothing until it is set anew.
    pub(super) fn disable(&mut self) {
        self.events &= FLAGS;
        self.set_wanted(PollEvents::empty());
    }

    fn set_wanted(&mut self, events: PollEvents) {
        self.wanted = events;
        self.watch.set_events(events);
        self.node.set_events(events.bits());
    }

    /// What is ready of what is watched for.
    #[inline]
    pub(super) fn look(&self) -> PollEvents {
        if self.wanted.is_empty() { PollEvents::empty() } else { self.file.readiness_of(self.wanted) & self.wanted }
    }

    /// Puts it at the end of the list, unless it is listed.
    #[inline]
    pub(super) fn list(&self, ready: &mut VecDeque<u32>) {
        if self.watch.list() {
            ready.push_back(self.watch.index());
        }
    }

    /// Puts it at the front of the list, unless it is listed.
    pub(super) fn list_first(&self, ready: &mut VecDeque<u32>) {
        if self.watch.list() {
            ready.push_front(self.watch.index());
        }
    }

    /// As [`Item::look`] for an item that was just taken off the list.
    #[inline]
    pub(super) fn look_unlisted(&self) -> PollEvents {
        // In this order: what happens after the look lists it again.
        self.watch.unlist();
        self.rearm();
        self.look()
    }
}

/// All items, by number and by key.
#[derive(Default)]
pub(super) struct Items {
    slots: Vec<Option<Item>>,
    free: Vec<u32>,
    by_key: BTreeMap<Key, u32>,
    /// Numbers of items that may be ready, less those that the instance's [`Core`] has noted. With that, each at most once.
    ready: VecDeque<u32>,
    /// For what is moved from there to here; else empty.
    moved: Vec<u32>,
}

impl Items {
    /// Makes room for the item `index` on the lists.
    pub(super) fn reserve(&mut self, index: u32, core: &Core) {
        let count = usize::try_from(index).unwrap_or(usize::MAX).saturating_add(1);
        self.ready.reserve(count - self.ready.len().min(count));
        self.moved.reserve(count);
        core.reserve(count);
    }

    /// Puts what wakes have noted behind what is on the list.
    #[inline]
    pub(super) fn take_noted(&mut self, core: &Core) {
        core.take_noted(&mut self.moved, self.ready.len());
        self.ready.extend(&self.moved);
        self.moved.clear();
    }

    /// How many items are on the list.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Takes the first item of the list, which still says that it is listed. None of the item: it is gone. With it the list, for
    /// [`Item::list`].
    #[inline]
    pub(super) fn take_first(&mut self) -> Option<(Option<&mut Item>, &mut VecDeque<u32>)> {
        let index = self.ready.pop_front()?;
        Some((slot_at(&mut self.slots, index).and_then(Option::as_mut), &mut self.ready))
    }

    /// Puts an item at the end of the list, unless it is listed.
    pub(super) fn list(&mut self, index: u32) {
        if let Some(Some(item)) = slot_at(&mut self.slots, index) {
            item.list(&mut self.ready);
        }
    }

    /// The number the next item gets. `ENOSPC` when there are too many.
    pub(super) fn next_index(&self) -> Result<u32, Errno> {
        self.free.last().copied().map_or_else(|| u32::try_from(self.slots.len()).map_err(|_| Errno::ENOSPC), Ok)
    }

    /// Puts an item in under the number [`Items::next_index`] gave.
    pub(super) fn insert(&mut self, index: u32, key: Key, item: Item) {
        debug_assert_eq!(self.next_index(), Ok(index));
        self.by_key.insert(key, index);
        if self.free.pop().is_none() {
            self.slots.push(Some(item));
        } else if let Some(slot) = slot_at(&mut self.slots, index) {
            *slot = Some(item);
        }
    }

    pub(super) fn find(&mut self, key: Key) -> Option<(u32, &mut Item)> {
        let index = *self.by_key.get(&key)?;
        self.at(index).map(|item| (index, item))
    }

    pub(super) fn at(&mut self, index: u32) -> Option<&mut Item> {
        slot_at(&mut self.slots, index)?.as_mut()
    }

    /// Takes an item out. Its number is not used again before [`Items::release_index`].
    pub(super) fn remove(&mut self, key: Key) -> Option<(u32, Item)> {
        let index = self.by_key.remove(&key)?;
        let item = slot_at(&mut self.slots, index)?.take()?;
        Some((index, item))
    }

    /// Takes an item that was taken out, and that no wake reaches any more, off the list.
    pub(super) fn forget(&mut self, index: u32, item: &Item, core: &Core) {
        if item.watch.is_listed() {
            self.take_noted(core);
            self.ready.retain(|other| *other != index);
            core.note_kept(self.ready.len());
        }
    }

    pub(super) fn release_index(&mut self, index: u32) {
        self.free.push(index);
    }

    pub(super) fn take_all(&mut self) -> Vec<Item> {
        self.by_key.clear();
        self.slots.drain(..).flatten().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.slots.iter().flatten()
    }

    /// The lines of `/proc/self/fdinfo`.
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        for item in self.iter() {
            let attributes = item.file.attributes().unwrap_or_default();
            let text = format!(
                "tfd: {:8} events: {:8x} data: {:16x}  pos:0 ino:{:x} sdev:{:x}\n",
                item.key().fd,
                item.events,
                item.data,
                attributes.inode,
                attributes.device,
            );
            out.extend_from_slice(text.as_bytes());
        }
    }
}

fn slot_at(slots: &mut [Option<Item>], index: u32) -> Option<&mut Option<Item>> {
    slots.get_mut(usize::try_from(index).ok()?)
}
