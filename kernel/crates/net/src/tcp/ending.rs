//! How a connection ends, and what else a socket was: `shutdown`, `close`, and `connect` to nowhere.

use alloc::sync::Arc;

use abi::{Errno, PollEvents};
use sync::{MutexGuard, machine};

use super::engine::{Engine, State};
use super::listener::Listener;
use super::socket::{Inner, Phase, TcpSocket, admit};
use crate::ports::Scope;
use crate::socket::Half;

impl TcpSocket {
    pub(super) fn shut(&self, half: Half) -> Result<(), Errno> {
        let mut inner = self.lock_drained();
        let (reads, writes) = (half != Half::Write, half != Half::Read);
        let mut announcement = None;
        match &mut inner.phase {
            Phase::Local(end) => {
                if end.state() == State::Closed {
                    return Err(Errno::ENOTCONN);
                }
                if reads {
                    end.shutdown_read();
                }
                if writes {
                    end.shutdown_write();
                    announcement = end.take_announcement();
                }
            }
            // Linux gives the attempt up, whichever half is meant.
            Phase::Waiting { .. } => return self.give_up(inner),
            Phase::Wire(wire) if wire.engine.state() == State::SynSent => return self.give_up(inner),
            Phase::Wire(wire) => {
                if matches!(wire.engine.state(), State::Closed | State::TimeWait) {
                    return Err(Errno::ENOTCONN);
                }
                if reads {
                    wire.engine.shutdown_read();
                }
                if writes {
                    wire.engine.shutdown_write();
                }
                self.settle(&mut inner, machine::now_ns());
            }
            Phase::Listening(listener) if reads => {
                // Linux makes it a socket again that neither listens nor is connected.
                let listener = Arc::clone(listener);
                inner.phase = Phase::Idle;
                drop(inner);
                self.stop_listening(&listener);
                self.wake_for(PollEvents::all());
                return Ok(());
            }
            Phase::Listening(_) => return Ok(()),
            Phase::Idle => return Err(Errno::ENOTCONN),
        }
        drop(inner);
        admit(announcement);
        self.wake_for(PollEvents::all());
        Ok(())
    }

    fn give_up(&self, inner: MutexGuard<'_, Inner>) -> Result<(), Errno> {
        drop(inner);
        self.disconnect();
        Ok(())
    }

    pub(super) fn stop_listening(&self, listener: &Arc<Listener>) {
        self.stack.tcp().remove_listener(listener);
        let [ready, deferred, waiting] = listener.close();
        ready.into_iter().for_each(|socket| socket.end(true));
        deferred.into_iter().for_each(|socket| socket.vanish());
        waiting.into_iter().for_each(|connector| connector.refuse());
    }

    /// `connect` to no address: the connection is reset.
    pub(super) fn disconnect(&self) {
        let mut inner = self.lock_drained();
        match &mut inner.phase {
            Phase::Idle => {
                inner.has_failed = false;
                return;
            }
            Phase::Listening(listener) => {
                let listener = Arc::clone(listener);
                inner.phase = Phase::Idle;
                drop(inner);
                return self.stop_listening(&listener);
            }
            Phase::Local(end) => end.close(true),
            Phase::Wire(wire) => {
                wire.abort(&self.stack);
                self.detach(&mut inner);
            }
            Phase::Waiting { .. } => {}
        }
        inner.has_told = false;
        self.abandon_attempt(&mut inner);
        // An address that the connection chose goes with it.
        if let Some(bound) = &mut inner.bound
            && !matches!(bound.claim.scope(), Scope::Exact(_))
        {
            bound.address = self.any();
        }
        // The connection is told of, but does not keep the socket from another (`tcp_disconnect`, `tcp_connect_init`).
        (inner.error, inner.was_disconnected) = (Some(Errno::ECONNRESET), true);
        drop(inner);
        self.wake_for(PollEvents::all());
    }

    /// The program lets go of the socket; or of one that nobody accepted, with a reset.
    pub(super) fn end(&self, is_abortive: bool) {
        let mut inner = self.lock_drained();
        inner.is_orphan = true;
        let is_abortive = is_abortive || self.options.linger_seconds() == Some(0);
        let now_ns = machine::now_ns();
        match &mut inner.phase {
            Phase::Listening(listener) => {
                let listener = Arc::clone(listener);
                inner.phase = Phase::Idle;
                inner.bound = None;
                drop(inner);
                return self.stop_listening(&listener);
            }
            Phase::Local(end) => {
                end.close(is_abortive);
                let announcement = end.take_announcement();
                let bound = inner.bound.take();
                let phase = core::mem::replace(&mut inner.phase, Phase::Idle);
                drop(inner);
                if let (Phase::Local(end), Some(bound)) = (&phase, bound) {
                    end.keep(bound.claim);
                }
                return admit(announcement);
            }
            Phase::Wire(wire) => {
                if is_abortive {
                    wire.abort(&self.stack);
                } else {
                    wire.close(&self.stack, now_ns);
                }
                self.settle(&mut inner, now_ns);
                return;
            }
            Phase::Idle | Phase::Waiting { .. } => (inner.phase, inner.pair_claim) = (Phase::Idle, None),
        }
        inner.bound = None;
    }

    /// Whether the program has let go of it and the other end has not acknowledged all yet (`sk_stream_closing`).
    pub(super) fn is_lingering(&self) -> bool {
        let inner = self.lock_drained();
        let Phase::Wire(wire) = &inner.phase else { return false };
        inner.is_orphan && matches!(wire.engine.state(), State::FinWait1 | State::Closing | State::LastAck)
    }

    /// A local connection that nobody accepted and that only its other end knows of.
    fn vanish(&self) {
        self.stack.cancel_timer(&self.flow());
        let mut inner = self.inner.lock();
        if let Phase::Local(end) = &mut inner.phase {
            end.vanish();
        }
        (inner.phase, inner.bound) = (Phase::Idle, None);
    }
}
