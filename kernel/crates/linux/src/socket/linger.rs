//! [`Lingering`]: a `close` that waits until the other end has all, for as long as `SO_LINGER` says (socket(7)).
//!
//! Only the thread that calls `close` waits; descriptors that go otherwise (`dup2`, `close_range`, the end of a process) leave the connection to end
//! by itself.

use alloc::sync::Arc;

use abi::PollEvents;
use file::OpenFile;
use net::socket::{Socket, SocketFile};
use sync::machine;

use crate::lookup::file_as;
use crate::thread::Thread;
use crate::wait;

const SECOND_NS: u64 = 1_000_000_000;

/// A socket whose last `close` is to wait.
pub(crate) struct Lingering {
    socket: Arc<dyn Socket>,
    time_ns: u64,
}

impl Lingering {
    /// The socket behind an open file, if its `close` may wait.
    #[inline]
    pub(crate) fn of(open: &OpenFile) -> Option<Self> {
        let socket = file_as::<SocketFile>(open)?.socket();
        let seconds = socket.options().linger_seconds().filter(|seconds| *seconds > 0)?;
        Some(Self { socket: Arc::clone(socket), time_ns: u64::from(seconds) * SECOND_NS })
    }

    /// Lets go of `open`. If that was the last reference, waits for the other end, the time, or a signal, none of which is an error.
    pub(crate) fn close(self, thread: &Thread, open: Arc<OpenFile>) {
        drop(open);
        if !self.socket.is_lingering() {
            return;
        }
        let deadline_ns = machine::now_ns().saturating_add(self.time_ns);
        let source = wait::Source { queue: self.socket.wait_queue(), events: PollEvents::WRITABLE };
        let is_over = || (!self.socket.is_lingering()).then_some(());
        // However it ends, the descriptor is gone.
        let _end = wait::until(thread, &[source], deadline_ns, is_over);
    }
}
