//! [`Epoll`]: a set of watched files, and the list of those that may be ready.
//!
//! # How an event gets to the waiter
//!
//! Each watched file has a node of the instance in its wait queue. A wake notes the number of the item and wakes who waits for
//! the instance; it looks at no file. A waiter moves all that is noted to the list of what may be ready, takes items off that,
//! asks only these files what is ready, and puts level-triggered ones back at the end. So waiting costs nothing for files that
//! are idle.
//!
//! An item is taken off the list before its file is asked. A wake in between notes it again: no event is lost, and at worst
//! an item is looked at in vain. Its [`Watch`] knows whether it is noted or on the list, and so it is in one place at most.
//!
//! Threads that wait for one instance take turns: an event wakes one of them, and who leaves items on the list wakes the next.
//! An exclusive item (`EPOLLEXCLUSIVE`) takes a wake of its file up only if somebody waits for the instance.
//!
//! # Nesting
//!
//! An instance can watch another. A wait queue calls its nodes under its lock, and wakes would meet the same lock ranks again
//! one level up; so an instance knows those that watch it ([`Core`]) and passes wakes on itself, in the order
//! from inner to outer. Instances do not watch each other in circles, and not too deep ([`check_nesting`]).
//!
//! # Locks and lifetimes
//!
//! The set of items, with the list of what may be ready, is behind a sleeping lock ([`rank::EPOLL`], outer instances before inner
//! ones). What is noted is behind a spinlock that wakes take ([`rank::EPOLL_READY`], inner before outer); its memory is
//! reserved when an item is added.
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
use sync::{Mutex, MutexGuard, WaitNode, WaitQueue, rank};

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
        items.reserve(index, &self.core);
        let watch = Arc::new(Watch::new(Arc::clone(&self.core), Weak::clone(&self.this), index, key));
        let is_exclusive = event.events & EPOLLEXCLUSIVE != 0;
        let node = WaitNode::with_events(Arc::clone(&watch) as _, 0, is_exclusive);
        let item = Item::new(open, watch, node, event);
        item.register();
        let watcher = item.watcher();
        let is_ready = !item.look().is_empty();
        items.insert(index, key, item);
        self.list_if(is_ready, index, items);
        open.add_watcher(watcher);
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
        self.list_if(is_ready, index, items);
        Ok(())
    }

    /// Lists an item that was found ready, and wakes.
    fn list_if(&self, is_ready: bool, index: u32, mut items: MutexGuard<'_, Items>) {
        if is_ready {
            items.list(index);
            self.core.note_kept(items.ready_len());
            drop(items);
            self.core.announce();
        }
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
        items.forget(index, &item, &self.core);
        items.release_index(index);
        Some(item)
    }

    /// Takes at most `count_max` events and gives each to `tell`. One that cannot be told stays; that it could not be is the
    /// answer if it was the first.
    pub(crate) fn take(
        &self,
        count_max: usize,
        tell: impl FnMut(&EpollEvent) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        // Nothing that was on the list is missed by looking before the lock.
        if !self.core.has_any() {
            return Ok(0);
        }
        let mut items = self.items.lock();
        items.take_noted(&self.core);
        let result = take_ready(&mut items, count_max, tell);
        self.core.note_kept(items.ready_len());
        result
    }

    /// Whether there may be events to take.
    pub(crate) fn may_have_events(&self) -> bool {
        self.core.has_any()
    }

    /// Who waits for events.
    pub(crate) fn waiters(&self) -> &WaitQueue {
        &self.core.queue
    }
}

/// Takes events of what is on the list: see [`Epoll::take`].
fn take_ready(
    items: &mut Items,
    count_max: usize,
    mut tell: impl FnMut(&EpollEvent) -> Result<(), Errno>,
) -> Result<usize, Errno> {
    let (mut told, mut rest) = (0, items.ready_len());
    while rest > 0 && told < count_max {
        rest -= 1;
        let Some((item, ready)) = items.take_first() else { break };
        let Some(item) = item else { continue };
        let found = item.look_unlisted();
        if found.is_empty() {
            continue;
        }
        if let Err(errno) = tell(&EpollEvent { events: found.bits(), data: item.data }) {
            item.list_first(ready);
            return if told > 0 { Ok(told) } else { Err(errno) };
        }
        told += 1;
        if item.events & EPOLLONESHOT != 0 {
            item.disable();
        } else if item.events & EPOLLET == 0 {
            item.list(ready);
        }
    }
    Ok(told)
}

impl File for Epoll {
    fn readiness(&self) -> PollEvents {
        // Below the items of an instance that watches this one.
        let mut items = self.items.lock_nested();
        items.take_noted(&self.core);
        let mut found = PollEvents::empty();
        for _ in 0..items.ready_len() {
            let Some((item, ready)) = items.take_first() else { break };
            if let Some(item) = item
                && !item.look_unlisted().is_empty()
            {
                item.list_first(ready);
                found = PollEvents::READABLE;
                break;
            }
        }
        self.core.note_kept(items.ready_len());
        found
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

#[cfg(test)]
mod tests;
