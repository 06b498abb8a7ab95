//! [`Transport`]: the seam to the driver, and [`Exchange`]: a request on its way there and back.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use mm::FramePiece;
use sync::atomic::{AtomicU32, AtomicU64, Ordering};
use sync::{Parker, WaitQueue};

use crate::numbers::Numbers;

/// The most requests under way; more wait for their turn.
const TAGS_MAX: u32 = 256;
/// The most files that are held.
const FIDS_MAX: u32 = 1 << 24;

/// Carries requests to a server. A driver implements it.
pub trait Transport: Send + Sync {
    /// The most pieces of an exchange, both ways together; at least 8.
    fn pieces_max(&self) -> usize;

    /// Takes the exchange and begins with it, or gives it back when there is no room. Called from several CPUs at once, and where one may not
    /// sleep, with no spinlock held. It completes the exchange from any context.
    ///
    /// When there is room again it wakes the queue of [`Transport::room`].
    fn submit(&self, exchange: Exchange) -> Result<(), Exchange>;

    /// Who waits for room.
    fn room(&self) -> &WaitQueue;

    /// Looks whether something is done, without an interrupt.
    fn poll(&self) {}

    /// Stops the device for good: when this returns, it touches no memory, and every exchange is completed as failed, as is each one
    /// submitted later. Wakes who waits for room.
    fn stop(&self);
}

/// A request on its way. It holds the memory of both messages until it is complete.
pub struct Exchange {
    outgoing: Vec<FramePiece>,
    incoming: Vec<FramePiece>,
    whose: Whose,
}

/// Who is told.
enum Whose {
    /// A thread waits.
    Waiter { session: Arc<Session>, answer: Arc<Answer> },
    /// Nobody does: a fid was let go.
    Clunk { session: Arc<Session>, tag: u32, fid: u32 },
}

impl Exchange {
    pub(crate) fn waited_for(
        session: &Arc<Session>,
        answer: &Arc<Answer>,
        outgoing: Vec<FramePiece>,
        incoming: Vec<FramePiece>,
    ) -> Self {
        Self { outgoing, incoming, whose: Whose::Waiter { session: session.clone(), answer: answer.clone() } }
    }

    pub(crate) fn clunk(
        session: &Arc<Session>,
        tag: u32,
        fid: u32,
        outgoing: Vec<FramePiece>,
        incoming: Vec<FramePiece>,
    ) -> Self {
        Self { outgoing, incoming, whose: Whose::Clunk { session: session.clone(), tag, fid } }
    }

    /// Undoes one that was never sent.
    pub(crate) fn take_back(self) {
        if let Whose::Clunk { session, tag, .. } = self.whose {
            session.give_tag(tag);
        }
    }

    /// What the device reads.
    #[must_use]
    pub fn outgoing(&self) -> &[FramePiece] {
        &self.outgoing
    }

    /// Where the device writes.
    #[must_use]
    pub fn incoming(&self) -> &[FramePiece] {
        &self.incoming
    }

    /// Ends it: the device wrote so many bytes, or is dead. From any context.
    pub fn complete(self, written: Option<u32>) {
        let Self { outgoing, incoming, whose } = self;
        // The memory is given back before anybody goes on.
        drop((outgoing, incoming));
        match whose {
            Whose::Waiter { session, answer } => {
                session.answered.fetch_add(1, Ordering::Relaxed);
                answer.give(written);
            }
            Whose::Clunk { session, tag, fid } => {
                session.answered.fetch_add(1, Ordering::Relaxed);
                session.fids.give_back(fid);
                session.give_tag(tag);
            }
        }
    }
}

/// The numbers in use.
pub(crate) struct Session {
    tags: Numbers,
    pub(crate) fids: Numbers,
    /// Who waits for a tag.
    tag_room: WaitQueue,
    /// Replies so far: whether the server lives.
    pub(crate) answered: AtomicU64,
    /// Replies that made no sense.
    malformed: AtomicU64,
}

impl Session {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            tags: Numbers::new(TAGS_MAX),
            fids: Numbers::new(FIDS_MAX),
            tag_room: WaitQueue::new(),
            answered: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
        })
    }

    /// A tag, if there is a free one.
    pub(crate) fn try_tag(&self) -> Option<u32> {
        self.tags.take()
    }

    /// Who waits for a tag.
    pub(crate) fn tag_room(&self) -> &WaitQueue {
        &self.tag_room
    }

    /// Gives a tag back whose reply has come.
    pub(crate) fn give_tag(&self, tag: u32) {
        self.tags.give_back(tag);
        self.tag_room.wake(u32::MAX);
    }

    /// What a reply is worth that makes no sense. A server that sends many fills no log: the lines become rare.
    #[cold]
    pub(crate) fn malformed(&self) -> Errno {
        let count = self.malformed.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if count.is_power_of_two() {
            log::warn!("9p: replies of the server that make no sense: {count}");
        }
        Errno::EIO
    }
}

const PENDING: u32 = 0;
const ANSWERED: u32 = 1;
const DEAD: u32 = 2;

/// Where a thread waits for its reply.
pub(crate) struct Answer {
    state: AtomicU32,
    written: AtomicU32,
    owner: Parker,
}

impl Answer {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicU32::new(PENDING), written: AtomicU32::new(0), owner: Parker::new() })
    }

    fn give(&self, written: Option<u32>) {
        self.written.store(written.unwrap_or(0), Ordering::Relaxed);
        // Release: the count, and what the device wrote, come before the state.
        self.state.store(if written.is_some() { ANSWERED } else { DEAD }, Ordering::Release);
        self.owner.unpark();
    }

    /// Waits for the reply; `None` when the time ran out. The reply itself is the bytes written, or `None` from a dead device.
    pub(crate) fn wait_until(&self, deadline_ns: u64) -> Option<Option<u32>> {
        loop {
            match self.state.load(Ordering::Acquire) {
                ANSWERED => return Some(Some(self.written.load(Ordering::Relaxed))),
                DEAD => return Some(None),
                _ => {}
            }
            if self.owner.park_until(deadline_ns) && self.state.load(Ordering::Acquire) == PENDING {
                return None;
            }
        }
    }
}
