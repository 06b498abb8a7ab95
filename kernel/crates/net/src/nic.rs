//! [`Nic`]: a network device, as this crate sees it; drivers implement it, tests fake it.

use alloc::vec::Vec;

use crate::frame::TransmitFrame;

bitflags::bitflags! {
    /// What a device does by itself.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct NicFeatures: u32 {
        /// Finishes transport checksums of frames that it sends.
        const TRANSMIT_CHECKSUM = 1 << 0;
        /// Cuts TCP in IPv4 into segments.
        const SEGMENT_TCP4 = 1 << 1;
        /// Cuts TCP in IPv6 into segments.
        const SEGMENT_TCP6 = 1 << 2;
        /// Says which received checksums are right.
        const RECEIVE_CHECKSUM = 1 << 3;
        /// Joins received TCP segments.
        const RECEIVE_LARGE = 1 << 4;
    }
}

/// Facts about a device that do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicProperties {
    /// Its link address.
    pub mac: [u8; 6],
    /// The largest IP packet it takes, in bytes.
    pub mtu: u16,
    /// What it does by itself.
    pub features: NicFeatures,
    /// Pairs of queues.
    pub queues: u16,
    /// Descriptors one frame may take, its head included.
    pub pieces_max: usize,
}

/// What a device has done since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NicCounters {
    /// Frames and bytes received.
    pub received_frames: u64,
    /// See `received_frames`.
    pub received_bytes: u64,
    /// Frames and bytes sent.
    pub sent_frames: u64,
    /// See `sent_frames`.
    pub sent_bytes: u64,
    /// Frames that came and could not be taken.
    pub receive_drops: u64,
    /// Frames that found the queue full.
    pub transmit_drops: u64,
    /// Times the device was told of work.
    pub kicks: u64,
    /// Interrupts it sent.
    pub interrupts: u64,
    /// Batches taken by polling, without an interrupt.
    pub polls: u64,
}

/// A network device. Frames are Ethernet.
///
/// Its driver calls [`crate::Stack::receive`] with what comes in, from its interrupt or from [`Nic::poll`].
pub trait Nic: Send + Sync {
    /// Facts about it.
    fn properties(&self) -> NicProperties;

    /// Whether the link is up.
    fn is_link_up(&self) -> bool;

    /// What it has done.
    fn counters(&self) -> NicCounters;

    /// What one pair of queues has done, if the device has several; interrupts and polls are not told apart.
    fn pair_counters(&self, _pair: u16) -> NicCounters {
        NicCounters::default()
    }

    /// Sends frames on the queue of the calling CPU, and tells the device once. Those that find no room are dropped and counted: whoever
    /// sent them sends them again, or does not care. `frames` is empty afterwards, and keeps its memory.
    ///
    /// Called in threads, never in an interrupt, without spinlocks.
    fn transmit(&self, frames: &mut Vec<TransmitFrame>);

    /// In the worker of a CPU, now and then: lets go of frames that the device has sent since, tells it once more of frames that it has stood
    /// still before, and takes frames that it has not told of. True: it is busy, and wants this again.
    fn look_at_queues(&self) -> bool {
        false
    }

    /// In the worker of `queue`'s CPU, while the queue is polled: gives up to `budget` frames to [`crate::Stack::receive`], as the interrupt
    /// does, and before that can give later ones. False: there are no more, and the device interrupts again.
    fn poll(&self, queue: u16, budget: usize) -> bool;
}
