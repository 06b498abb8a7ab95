//! [`Waiting`]: packets that wait for the device, or to be given to their sockets on this machine.
//!
//! 1. Answers to what the device has brought are counted apart from packets of calls. Only the former keep it from being
//!    listened to ([`super::REPLIES_MAX`]), or a device that has to be listened to before it takes more would wait for
//!    ever behind a program that sends much.
//! 2. Calls with bytes, and news of room, wait while many packets of calls wait ([`Waiting::is_busy`]). What cannot
//!    wait, such as the end of a connection, is added up to [`CALLS_MAX`], beyond which the device has stopped.
//! 3. A packet that there is no memory for is lost. Who has bytes asks first ([`Waiting::reserve`]).

use alloc::collections::VecDeque;

use abi::Errno;

use super::packet::Packet;

/// While so many packets of calls wait, who can wait does.
const BUSY_MIN: usize = 256;
/// So many wait at most, but for bytes that were let in while there were fewer.
const CALLS_MAX: usize = 4096;
/// Room behind bytes, for what has to be said without asking.
const MARGIN: usize = 16;
/// Room that is kept when nothing waits.
const KEPT_MAX: usize = 64;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It answers one that has come.
    Answer,
    /// A call, or the end of a wait.
    Call,
}

/// Packets in their order.
#[derive(Default)]
pub(super) struct Waiting {
    packets: VecDeque<(Packet, Cause)>,
    answers: usize,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How many answers there are.
    pub(super) fn answers(&self) -> usize {
        self.answers
    }

    /// How many packets of calls.
    pub(super) fn calls(&self) -> usize {
        self.packets.len() - self.answers
    }

    /// Whether there are so many that calls wait.
    pub(super) fn is_busy(&self) -> bool {
        self.calls() >= BUSY_MIN
    }

    /// Whether there are so few that calls that waited go on.
    pub(super) fn is_quiet(&self) -> bool {
        self.calls() <= BUSY_MIN / 2
    }

    /// Finds room for so many packets with bytes. `ENOBUFS`.
    pub(super) fn reserve(&mut self, count: usize) -> Result<(), Errno> {
        self.packets.try_reserve(count.saturating_add(MARGIN)).map_err(|_| Errno::ENOBUFS)
    }

    /// Adds a packet. False: it is lost.
    pub(super) fn push(&mut self, packet: Packet, cause: Cause) -> bool {
        let is_too_many = cause == Cause::Call && packet.payload.is_empty() && self.calls() >= CALLS_MAX;
        if is_too_many || self.packets.try_reserve(1).is_err() {
            return false;
        }
        self.packets.push_back((packet, cause));
        self.answers += usize::from(cause == Cause::Answer);
        true
    }

    /// Takes the first one.
    pub(super) fn pop(&mut self) -> Option<Packet> {
        let (packet, cause) = self.packets.pop_front()?;
        self.answers -= usize::from(cause == Cause::Answer);
        self.give_back();
        Some(packet)
    }

    /// Has `send` take packets until it gives one back.
    pub(super) fn send_all(&mut self, mut send: impl FnMut(Packet) -> Result<(), Packet>) {
        while let Some((packet, cause)) = self.packets.pop_front() {
            match send(packet) {
                Ok(()) => self.answers -= usize::from(cause == Cause::Answer),
                Err(packet) => return self.packets.push_front((packet, cause)),
            }
        }
        self.give_back();
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Keeps no more room than is usual when nothing waits.
    fn give_back(&mut self) {
        if self.packets.is_empty() && self.packets.capacity() > KEPT_MAX {
            self.packets = VecDeque::new();
        }
    }
}
