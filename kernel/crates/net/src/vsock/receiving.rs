//! What packets do to sockets, and the end of what is waited for in vain.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use abi::{Errno, PollEvents};
use sync::MutexGuard;
use sync::machine::NEVER;

use super::Route;
use super::connection::{Connection, Reaction};
use super::packet::{self, Header, Operation};
use super::socket::{Inner, RECORD_LEN, Standing, VsockSocket};
use super::table::Key;
use super::waiting::Cause;
use crate::Stack;

impl VsockSocket {
    /// Takes a packet. False: it is not for this socket. Under the lock of delivery.
    pub(super) fn take_packet(&self, stack: &Arc<Stack>, header: &Header, payload: &[u8], route: Route) -> bool {
        if header.kind != self.kind as u16 {
            return false;
        }
        let mut inner = self.lock();
        if inner.standing == Standing::Listening {
            return self.take_request(stack, inner, header, route);
        }
        let is_gone = inner.is_closed && inner.deadline_ns == NEVER;
        // One that has a port is found by that alone.
        let is_its_own = Key::new(route, header.destination.port, header.source) == inner.key();
        if !is_its_own || is_gone {
            return false;
        }
        let Some(connection) = &mut inner.connection else { return false };
        if connection.is_over() {
            return false;
        }
        let was_established = connection.is_established();
        let before = connection.inbox.memory();
        let mut reaction = connection.receive(header, payload);
        let after = connection.inbox.memory();
        if !self.vsock().account(before, after) {
            reaction = connection.fail(Errno::ECONNRESET, Some(Operation::Reset));
            self.vsock().account(after, connection.inbox.memory());
        }
        if !was_established && connection.is_established() && inner.standing == Standing::Connecting {
            inner.standing = Standing::Connected;
            inner.deadline_ns = NEVER;
        }
        let events = self.follow(&mut inner, reaction);
        drop(inner);
        self.wake(events);
        true
    }

    /// Does what a packet leads to; answers whom to wake.
    fn follow(&self, inner: &mut Inner, reaction: Reaction) -> PollEvents {
        let Reaction { reply, events, error, is_gone } = reaction;
        if let Some(reply) = reply {
            self.post(inner, reply, 0, Cause::Answer);
        }
        if error.is_some() {
            inner.error = error;
        }
        if is_gone {
            inner.deadline_ns = NEVER;
            self.forget_connection(inner);
            if inner.is_closed {
                self.forget_port(inner);
                self.forget_timer();
            }
        }
        events
    }

    /// A listener takes a request.
    fn take_request(
        &self,
        stack: &Arc<Stack>,
        mut inner: MutexGuard<'_, Inner>,
        header: &Header,
        route: Route,
    ) -> bool {
        let is_carried = self.kind == packet::Kind::Stream || self.vsock().has_messages(route);
        let is_welcome =
            header.operation == Some(Operation::Request) && inner.pending.len() <= inner.backlog && is_carried;
        if !is_welcome || inner.pending.try_reserve(1).is_err() {
            return false;
        }
        let settings = inner.settings;
        let granted = Connection::granted(self.kind, settings.buffer(), header);
        let child = Self::with(
            stack,
            self.kind,
            Inner {
                standing: Standing::Connected,
                own: header.destination,
                peer: header.source,
                is_bound: false,
                route,
                connection: Some(granted),
                error: None,
                settings,
                deadline_ns: NEVER,
                pending: VecDeque::new(),
                backlog: 0,
                is_closed: false,
            },
        );
        let key = Key::new(route, header.destination.port, header.source);
        let has_memory = self.vsock().account(0, RECORD_LEN);
        if !has_memory || self.vsock().table().connect(key, &child).is_err() {
            self.vsock().account(RECORD_LEN, 0);
            return false;
        }
        // Nobody else knows it but by the table, which only delivery looks at.
        child.post(&mut child.inner.lock_nested(), Operation::Response, 0, Cause::Answer);
        inner.pending.push_back(child);
        drop(inner);
        self.wake(PollEvents::READABLE);
        true
    }

    /// The way to the host is not what it was.
    pub(super) fn lose(&self) {
        let mut inner = self.lock();
        let events = self.fail(&mut inner, Errno::ECONNRESET, None);
        drop(inner);
        self.wake(events);
    }

    /// Its connection, if it has one, has failed; answers whom to wake.
    fn fail(&self, inner: &mut Inner, errno: Errno, reply: Option<Operation>) -> PollEvents {
        let Some(connection) = &mut inner.connection else { return PollEvents::empty() };
        let before = connection.inbox.memory();
        let reaction = connection.fail(errno, reply);
        self.vsock().account(before, connection.inbox.memory());
        self.follow(inner, reaction)
    }

    /// Gives up what was waited for, if it is too late; answers when it will be.
    pub(super) fn expire(&self, now_ns: u64) -> u64 {
        let mut inner = self.lock();
        if inner.deadline_ns > now_ns {
            return inner.deadline_ns;
        }
        inner.deadline_ns = NEVER;
        let is_closed = inner.is_closed;
        let Some(connection) = &mut inner.connection else { return NEVER };
        if !is_closed && (connection.is_established() || connection.is_over()) {
            return NEVER;
        }
        if inner.standing == Standing::Connecting {
            inner.standing = Standing::Unconnected;
        }
        let events = self.fail(&mut inner, Errno::ETIMEDOUT, is_closed.then_some(Operation::Reset));
        self.finish(inner);
        self.wake(events);
        NEVER
    }
}
