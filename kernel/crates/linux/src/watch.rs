//! Waiting for several descriptors, as `poll` and `select` do.

use alloc::vec::Vec;
use core::cell::Cell;

use abi::PollEvents;
use file::FdRef;

use crate::error::Interrupted;
use crate::lookup::readiness;
use crate::thread::Thread;
use crate::wait;
pub(crate) use crate::wait::FEW;

/// Something that is waited for.
#[derive(Default)]
pub(crate) struct Watched<'a> {
    /// None where there is nothing to watch, only an answer to give.
    pub open: Option<FdRef<'a>>,
    pub fd: i32,
    /// What is found when the descriptor is closed in the meantime.
    pub when_closed: PollEvents,
    /// What is waited for, errors and hang-ups included where they count.
    pub events: PollEvents,
    /// What was found.
    pub found: Cell<PollEvents>,
}

impl Watched<'_> {
    /// Looks at what the descriptor stands for now, as Linux does after a sleep. True if there is something to report.
    fn look(&self, thread: &Thread) -> bool {
        if self.open.is_some() {
            self.found.set(match thread.fds().get(self.fd) {
                Ok(open) => readiness(thread, &open) & self.events,
                Err(_) => self.when_closed,
            });
        }
        !self.found.get().is_empty()
    }

    /// Where it is told that there is something to report.
    fn source(&self) -> Option<wait::Source<'_>> {
        // The open file outlives the wait, and its queue with it.
        let queue = self.open.as_ref()?.file().wait_queue()?;
        Some(wait::Source { queue, events: self.events })
    }
}

/// Things that are waited for; a few need no memory.
pub(crate) enum WatchList<'a> {
    Few([Watched<'a>; FEW], usize),
    Many(Vec<Watched<'a>>),
}

impl<'a> WatchList<'a> {
    pub(crate) fn with_room_for(count: usize) -> Self {
        if count <= FEW { Self::Few(Default::default(), 0) } else { Self::Many(Vec::with_capacity(count)) }
    }

    /// Appends one, for which there is room.
    pub(crate) fn push(&mut self, watched: Watched<'a>) {
        match self {
            Self::Few(few, count) => {
                if let Some(free) = few.get_mut(*count) {
                    (*free, *count) = (watched, *count + 1);
                }
            }
            Self::Many(many) => many.push(watched),
        }
    }

    pub(crate) fn all(&self) -> &[Watched<'a>] {
        match self {
            Self::Few(few, count) => few.get(..*count).unwrap_or_default(),
            Self::Many(many) => many,
        }
    }

    /// Waits until something is found or the time is up. A look without any preparation for waiting has found nothing.
    pub(crate) fn wait(&self, thread: &Thread, deadline_ns: u64) -> Result<(), Interrupted> {
        let look = || {
            // All of them, so that each has its answer.
            let ready = self.all().iter().filter(|one| one.look(thread)).count();
            (ready > 0).then_some(())
        };
        wait::until_any(thread, self.all().iter().filter_map(Watched::source), deadline_ns, look).map(|_found| ())
    }
}

/// A look that does not wait has found so many.
pub(crate) fn note_idleness(thread: &Thread, ready: usize) {
    if ready == 0 {
        wait::send_held(thread);
    }
}
