//! A virtqueue whose transfers keep their memory alive.
//!
//! The queue of the `virtio-drivers` crate trusts its caller with lifetimes and with the tokens that the device returns.
//! [`Queue`] remembers what was given under each token, so that it can be used without `unsafe`: a device that returns
//! what it was not given is ignored from then on. Event indexes are not negotiated: the crate compares them without
//! regard to their wrapping.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::AnyTransport;
use crate::drivers::hal::{DmaBuffer, KernelHal};

/// Descriptors of a queue; every device we drive has at least as many.
pub(in crate::drivers) const QUEUE_LEN: usize = 32;

/// A part of a buffer that the device has.
struct Given {
    buffer: Arc<DmaBuffer>,
    offset: usize,
    len: usize,
    is_input: bool,
}

/// What the device gave back.
pub(in crate::drivers) struct Used {
    pub(in crate::drivers) token: u16,
    /// Offset in the buffer of what was given.
    pub(in crate::drivers) offset: usize,
    /// Bytes that the device wrote, at most what it was given.
    pub(in crate::drivers) len: usize,
}

/// A queue of one-buffer transfers.
pub(in crate::drivers) struct Queue {
    queue: Box<VirtQueue<KernelHal, QUEUE_LEN>>,
    index: u16,
    /// By token.
    given: Vec<Option<Given>>,
    is_broken: bool,
}

impl Queue {
    /// Sets up queue `index`. None: the device has no such queue, a shorter one, or memory is out.
    #[inline(never)]
    pub(in crate::drivers) fn new(transport: &mut AnyTransport, index: u16) -> Option<Self> {
        let queue = VirtQueue::new(transport, index, false, false).ok()?;
        let given = core::iter::repeat_with(|| None).take(QUEUE_LEN).collect();
        Some(Self { queue: Box::new(queue), index, given, is_broken: false })
    }

    /// Lets the device read a part of `buffer`. None if the queue is full.
    pub(in crate::drivers) fn give_output(
        &mut self,
        buffer: &Arc<DmaBuffer>,
        offset: usize,
        len: usize,
    ) -> Option<u16> {
        self.give(Given { buffer: buffer.clone(), offset, len, is_input: false })
    }

    /// Lets the device write a part of `buffer`. None if the queue is full.
    pub(in crate::drivers) fn give_input(&mut self, buffer: &Arc<DmaBuffer>, offset: usize, len: usize) -> Option<u16> {
        self.give(Given { buffer: buffer.clone(), offset, len, is_input: true })
    }

    fn give(&mut self, given: Given) -> Option<u16> {
        if self.is_broken || given.len == 0 {
            return None;
        }
        // SAFETY: the slice is used as an address only, until the queue is done with it.
        let part = unsafe { given.buffer.part(given.offset, given.len) };
        // SAFETY: the buffer lives at least as long as `given` is kept, which is until the token is popped; nobody forms
        // a reference to its bytes.
        let token =
            unsafe { if given.is_input { self.queue.add(&[], &mut [part]) } else { self.queue.add(&[part], &mut []) } };
        let token = token.ok()?;
        *self.given.get_mut(usize::from(token))? = Some(given);
        Some(token)
    }

    /// Takes what the device is done with.
    pub(in crate::drivers) fn take_used(&mut self) -> Option<Used> {
        let token = self.queue.peek_used().filter(|_| !self.is_broken)?;
        let Some(given) = self.given.get_mut(usize::from(token)).and_then(Option::take) else {
            self.is_broken = true;
            log::error!("a virtio device returned what it was not given");
            return None;
        };
        // SAFETY: as in `give`.
        let part = unsafe { given.buffer.part(given.offset, given.len) };
        // SAFETY: the same part that was added under this token.
        let popped = unsafe {
            if given.is_input {
                self.queue.pop_used(token, &[], &mut [part])
            } else {
                self.queue.pop_used(token, &[part], &mut [])
            }
        };
        let written = usize::try_from(popped.ok()?).unwrap_or(usize::MAX);
        Some(Used { token, offset: given.offset, len: if given.is_input { written.min(given.len) } else { 0 } })
    }

    /// Whether the device is done with something.
    pub(in crate::drivers) fn has_used(&self) -> bool {
        !self.is_broken && self.queue.can_pop()
    }

    /// Tells the device that it was given something, unless it looks by itself.
    pub(in crate::drivers) fn notify(&self, transport: &mut AnyTransport) {
        // The device must see the transfer before we see its wish (Virtual I/O Device specification 1.2, 2.7.13.3).
        fence(Ordering::SeqCst);
        if self.queue.should_notify() {
            transport.notify(self.index);
        }
    }

    /// Asks for interrupts, or for none; a wish, not a promise. After asking for them look once more with `has_used`.
    pub(in crate::drivers) fn set_interrupts(&mut self, is_wanted: bool) {
        self.queue.set_dev_notify(is_wanted);
        if is_wanted {
            fence(Ordering::SeqCst);
        }
    }
}
