//! [`Epoll`]: a set of watched files, and the list of those that may be ready.
//!
//! # How an event gets to the waiter
//!
//! Each watched file has a node of the instance in its wait queue. A wake puts the number of the item on the ready list and
//! wakes who waits for the instance; it looks at no file. A waiter takes items off the list, asks only these files what is
//! ready, and puts level-triggered ones back at the end. So waiting costs nothing for files that are idle.
//!
//! An item that is not to be told again is taken off the list before its file is asked for the last time. A wake in between puts
//! it back: no event is lost, and at worst an item is looked at in vain.
//!
//! Threads that wait for one instance take turns: an event wakes one of them, and who leaves items on the list wakes the next.
//! An exclusive item (`EPOLLEXCLUSIVE`) takes a wake of its file up only if somebody waits for the instance.
//!
//! # Nesting
//!
//! An instance can watch another. A wait queue calls its nodes under its lock, and wakes would meet the same lock ranks again
//! one level up; so an instance knows those that watch it ([`Ready::parents`]) and passes wakes on itself, in the order
//! from inner to outer. Instances do not watch each other in circles, and not too deep ([`check_nesting`]).
//!
//! # Locks and lifetimes
//!
//! The set of items is behind a sleeping lock ([`rank::EPOLL`], outer instances before inner ones). The ready list is behind a
//! spinlock that wakes take ([`rank::EPOLL_READY`], inner before outer); its memory is reserved when an item is added.
//! Wait queues hold the part of the instance that wakes need ([`Core`]), never the instance, and the instance holds the
//! watched file, not the open file: when the last reference to that is gone, it tells the instance, and the item goes.

mod items;
mod nesting;
mod ready;

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::io::{EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT};
use abi::{EpollEvent, Errno, PollEvents};
use file::attributes::ANONYMOUS_INODE;
use file::{Attributes, File, OpenFile};
use sync::{Mutex, WaitNode, WaitQueue, rank};

use items::{Item, Items, Key};
use ready::{Core, Watch};

pub(crate) use nesting::check_nesting;

/// An epoll instance.
pub(crate) struct Epoll {
    this: Weak<Self>,
    core: Arc<Core>,
    items: Mutex<Items>,
    attributes: Attributes,
}

impl Epoll {
    /// An instance that watches nothing.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            core: Core::new(),
            items: Mutex::new(rank::EPOLL, Items::default()),
            attributes: Attributes::anonymous(ANONYMOUS_INODE, 0o600),
        })
    }

    /// Watches an open file, which can be polled. `EEXIST` if it is watched under this number already.
    pub(crate) fn add(&self, fd: i32, open: &Arc<OpenFile>, event: EpollEvent) -> Result<(), Errno> {
        let key = Key::new(fd, open);
        let mut items = self.items.lock();
        if items.find(key).is_some() {
            return Err(Errno::EEXIST);
        }
        let index = items.next_index()?;
        self.core.reserve(index);
        let watch = Arc::new(Watch::new(Arc::clone(&self.core), Weak::clone(&self.this), index, key));
        let is_exclusive = event.events & EPOLLEXCLUSIVE != 0;
        let node = WaitNode::with_events(Arc::clone(&watch) as _, 0, is_exclusive);
        let item = Item::new(open, watch, node, event);
        item.register();
        let watcher = item.watcher();
        let is_ready = !item.look().is_empty();
        items.insert(index, key, item);
        drop(items);
        open.add_watcher(watcher);
        if is_ready {
            self.core.note(index);
        }
        Ok(())
    }

    /// Changes what is watched for. Exclusive items cannot be changed.
    pub(crate) fn modify(&self, fd: i32, open: &Arc<OpenFile>, event: EpollEvent) -> Result<(), Errno> {
        let mut items = self.items.lock();
        let (index, item) = items.find(Key::new(fd, open)).ok_or(Errno::ENOENT)?;
        if item.events & EPOLLEXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        item.set(event);
        let is_ready = !item.look().is_empty();
        drop(items);
        if is_ready {
            self.core.note(index);
        }
        Ok(())
    }

    /// Watches no longer.
    pub(crate) fn remove(&self, fd: i32, open: &Arc<OpenFile>) -> Result<(), Errno> {
        let item = self.take_item(Key::new(fd, open)).ok_or(Errno::ENOENT)?;
        open.remove_watcher(&item.watcher());
        Ok(())
    }

    /// Takes an item out; the caller drops it, and perhaps its file, without locks.
    fn take_item(&self, key: Key) -> Option<Item> {
        let mut items = self.items.lock();
        let (index, item) = items.remove(key)?;
        item.unregister();
        self.core.forget(index);
        items.release_index(index);
        Some(item)
    }

    /// Takes at most `count_max` events and gives each to `tell`. One that cannot be told stays; that it could not be is the
    /// answer if it was the first.
    pub(crate) fn take(
        &self,
        count_max: usize,
        mut tell: impl FnMut(&EpollEvent) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        // Nothing that was on the list is missed by looking before the lock.
        let mut rest = self.core.ready_count();
        if rest == 0 {
            return Ok(0);
        }
        let mut told = 0;
        let mut items = self.items.lock();
        while rest > 0 && told < count_max {
            rest -= 1;
            // Only who has the items locked takes what is first off the list.
            let Some((index, has_others)) = self.core.first() else { break };
            let Some(item) = items.at(index) else {
                self.core.forget(index);
                continue;
            };
            let Some((found, is_last)) = self.find_ready(index, item) else { continue };
            if let Err(errno) = tell(&EpollEvent { events: found.bits(), data: item.data }) {
                self.core.push_first(index);
                return if told > 0 { Ok(told) } else { Err(errno) };
            }
            told += 1;
            item.is_told = true;
            if item.events & EPOLLONESHOT != 0 {
                item.disable();
            } else if item.events & EPOLLET == 0 && has_others && !is_last {
                self.core.move_to_end(index);
            }
        }
        Ok(told)
    }

    /// What is ready of the item `index`, which is on the list, and whether it is the last there now. It stays there if it is to be told again; what is to be told
    /// once, or not at all, is taken off before the file is asked, so that a wake in between puts it back.
    ///
    /// A program that deals with what it is told leaves nothing to be found the next time: such an item is taken off first, and its
    /// file asked once.
    fn find_ready(&self, index: u32, item: &mut Item) -> Option<(PollEvents, bool)> {
        item.rearm();
        let was_told = core::mem::replace(&mut item.is_told, false);
        let stays = item.events & (EPOLLET | EPOLLONESHOT) == 0;
        if stays && !(was_told && item.is_dealt_with) {
            let found = item.look();
            if !found.is_empty() {
                return Some((found, false));
            }
        }
        self.core.forget(index);
        let found = item.look();
        if was_told {
            item.is_dealt_with = found.is_empty();
        }
        if found.is_empty() {
            return None;
        }
        if stays {
            self.core.push(index);
        }
        Some((found, stays))
    }

    /// Whether there may be events to take.
    pub(crate) fn may_have_events(&self) -> bool {
        self.core.ready_count() > 0
    }

    /// Who waits for events.
    pub(crate) fn waiters(&self) -> &WaitQueue {
        &self.core.queue
    }
}

impl File for Epoll {
    fn readiness(&self) -> PollEvents {
        // Below the items of an instance that watches this one.
        let mut items = self.items.lock_nested();
        let mut rest = self.core.ready_count();
        while rest > 0 {
            rest -= 1;
            let Some((index, _)) = self.core.first() else { break };
            let Some(item) = items.at(index) else {
                self.core.forget(index);
                continue;
            };
            item.rearm();
            if !item.look().is_empty() {
                return PollEvents::READABLE;
            }
            self.core.forget(index);
            if !item.look().is_empty() {
                self.core.push_first(index);
                return PollEvents::READABLE;
            }
        }
        PollEvents::empty()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(self.waiters())
    }

    fn seek(&self, _open: &OpenFile, _offset: i64, _whence: u32) -> Result<u64, Errno> {
        Ok(0)
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(self.attributes)
    }

    fn anonymous_name(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[eventpoll]".to_vec())
    }

    fn describe(&self, out: &mut Vec<u8>) {
        self.items.lock_nested().describe(out);
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // Whoever watches this instance let go of it before.
        for item in self.items.get_mut().take_all() {
            item.unregister();
            item.forget_release();
        }
    }
}
