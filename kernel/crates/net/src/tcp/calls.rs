//! The calls of programs on TCP sockets: [`Socket`] for [`TcpSocket`].

use alloc::sync::Weak;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use abi::interface::{SIOCATMARK, SIOCOUTQNSD};
use abi::ioctl::{FIONREAD, TIOCOUTQ};
use abi::socket::{IPPROTO_TCP, SO_REUSEADDR, SO_REUSEPORT, SOCK_STREAM, SOL_SOCKET};
use abi::{Errno, PollEvents};
use file::{IoResult, Progress};
use mm::user::{UserFault, UserReader, UserWriter, write_user_struct};
use sync::{MutexGuard, WaitQueue};

use super::engine::{Engine, State};
use super::socket::{Inner, Phase, TcpSocket};
use crate::frame::{Payload, Piece};
use crate::loan::{Account, Lender, Lent};
use crate::room;
use crate::socket::options::SocketOptions;
use crate::socket::{
    Accepted, Address, Caller, ControlMessage, Half, Kind, MessageFlags, Opening, ReceiveRequest, Received,
    SendRequest, Socket,
};

impl Socket for TcpSocket {
    fn kind(&self) -> Kind {
        Kind { domain: self.domain, kind: SOCK_STREAM, protocol: IPPROTO_TCP }
    }

    fn bind(&self, address: &Address, caller: &Caller) -> Result<(), Errno> {
        self.bind_to(address, caller)
    }

    fn connect(&self, address: &Address, caller: &Caller) -> IoResult {
        self.connect_to(address, caller)
    }

    fn finish_connect(&self) -> IoResult {
        self.finish_connecting()
    }

    fn listen(&self, backlog: i32, _caller: &Caller) -> Result<(), Errno> {
        self.listen_with(backlog)
    }

    fn accept(&self) -> Result<Option<Accepted>, Errno> {
        self.take_connection()
    }

    fn local_address(&self) -> Result<Address, Errno> {
        Ok(self.shown(self.local_end()))
    }

    fn peer_address(&self) -> Result<Address, Errno> {
        self.remote_end().map(|end| self.shown(end))
    }

    fn send(&self, request: &mut SendRequest<'_, '_>) -> IoResult {
        if request.flags.contains(MessageFlags::FASTOPEN) {
            return Ok(Progress::WouldBlock);
        }
        if request.flags.contains(MessageFlags::OOB) {
            return self.send_urgent(request);
        }
        self.send_bytes(request.from, request.flags.contains(MessageFlags::MORE))
    }

    fn open_by_send(&self, request: &mut SendRequest<'_, '_>) -> Result<Opening, Errno> {
        self.open_by_sending(request)
    }

    fn takes_pages(&self) -> bool {
        matches!(self.inner.lock().phase, Phase::Wire(_))
    }

    fn send_pages(&self, pieces: &[Piece], has_more: bool) -> IoResult {
        let mut inner = self.lock_drained();
        let Phase::Wire(wire) = &mut inner.phase else { return Err(inner.error.take().unwrap_or(Errno::EPIPE)) };
        let count = wire.send_pieces(pieces, has_more)?;
        self.settle(&mut inner, sync::machine::now_ns());
        Ok(count.map_or(Progress::WouldBlock, Progress::Done))
    }

    fn receive(&self, request: &mut ReceiveRequest<'_, '_>) -> Result<Option<Received>, Errno> {
        if request.flags.contains(MessageFlags::ERRQUEUE) {
            return Err(Errno::EAGAIN);
        }
        if request.flags.contains(MessageFlags::OOB) {
            return self.receive_urgent(request).map(Some);
        }
        let is_peek = request.flags.contains(MessageFlags::PEEK);
        let is_truncating = request.flags.contains(MessageFlags::TRUNC);
        let seen = if is_peek { Some(self.options.peek_start()) } else { None };
        let Some(len) = self.receive_bytes(request.to, seen, is_truncating)? else { return Ok(None) };
        self.options.move_peek_offset(is_peek, len);
        let mut received = Received { len, ..Received::default() };
        if request.wants_control && self.tells_waiting.load(Relaxed) {
            received.control.push(ControlMessage::Waiting(self.waiting_hint()));
        }
        Ok(Some(received))
    }

    fn read(&self, to: &mut UserWriter<'_>) -> Result<Option<usize>, Errno> {
        let len = self.receive_bytes(to, None, false)?;
        if let Some(len) = len {
            self.options.move_peek_offset(false, len);
        }
        Ok(len)
    }

    fn write(&self, from: &mut UserReader<'_>, _caller: &Caller) -> IoResult {
        self.send_bytes(from, false)
    }

    fn lend(&self, pieces_max: usize) -> Result<Option<Lent>, Errno> {
        let is_inline = self.options.oob_inline.load(Relaxed);
        let mut inner = self.lock_drained();
        let lent = match &mut inner.phase {
            Phase::Local(end) => end.lend(pieces_max, is_inline)?,
            Phase::Wire(wire) => {
                let lent = wire.lend(pieces_max)?;
                if lent.is_some() || wire.release() {
                    self.settle(&mut inner, sync::machine::now_ns());
                }
                lent
            }
            Phase::Waiting { .. } => None,
            Phase::Idle | Phase::Listening(_) => return Err(inner.error.take().unwrap_or(Errno::ENOTCONN)),
        };
        drop(inner);
        let me: Weak<dyn Lender> = self.me.clone();
        Ok(lent.map(|(pieces, account)| Lent::new(pieces, &account, &me)))
    }

    fn shutdown(&self, half: Half) -> Result<(), Errno> {
        self.shut(half)
    }

    fn set_option(&self, level: i32, option: i32, value: &[u8], caller: &Caller) -> Result<(), Errno> {
        if level == SOL_SOCKET && matches!(option, SO_REUSEADDR | SO_REUSEPORT) {
            self.renew_sharing();
            return Ok(());
        }
        self.set_any_option(level, option, value, caller)
    }

    fn option(&self, level: i32, option: i32, wanted: usize, _argument: &[u8]) -> Result<Vec<u8>, Errno> {
        self.any_option(level, option, wanted)
    }

    fn options(&self) -> &SocketOptions {
        &self.options
    }

    fn is_listening(&self) -> bool {
        matches!(self.inner.lock().phase, Phase::Listening(_))
    }

    fn take_error(&self) -> Option<Errno> {
        let mut inner = self.lock_drained();
        match &mut inner.phase {
            Phase::Local(end) => end.take_error(),
            Phase::Wire(wire) => {
                let errno = wire.engine.take_error();
                if wire.engine.state() == State::Closed && !wire.was_established && errno.is_some() {
                    self.abandon_attempt(&mut inner);
                    inner.has_failed = true;
                }
                errno
            }
            _ => inner.error.take(),
        }
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, Errno> {
        let mut inner = self.lock_drained();
        let is_listening = matches!(inner.phase, Phase::Listening(_));
        let is_inline = self.options.oob_inline.load(Relaxed);
        let value = match (command, &mut inner.phase) {
            (FIONREAD | TIOCOUTQ | SIOCOUTQNSD, Phase::Listening(_)) => return Err(Errno::EINVAL),
            (FIONREAD, Phase::Local(end)) => end.waiting_len(is_inline),
            (FIONREAD, Phase::Wire(wire)) => wire.engine.waiting_len(),
            (TIOCOUTQ, Phase::Wire(wire)) => wire.engine.unacknowledged_len().0,
            (SIOCOUTQNSD, Phase::Wire(wire)) => wire.engine.unacknowledged_len().1,
            (SIOCATMARK, Phase::Local(end)) => usize::from(end.is_at_mark()),
            (SIOCATMARK, Phase::Wire(wire)) => usize::from(wire.engine.is_at_mark()),
            (FIONREAD | TIOCOUTQ | SIOCOUTQNSD | SIOCATMARK, _) => 0,
            _ => return Err(Errno::ENOTTY),
        };
        drop(inner);
        debug_assert!(!is_listening || command == SIOCATMARK);
        write_user_struct(argument, &i32::try_from(value).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn readiness(&self) -> PollEvents {
        self.readiness_of(PollEvents::all())
    }

    fn readiness_of(&self, wanted: PollEvents) -> PollEvents {
        // In this order: who takes packets has said before that it may be over with the quiet.
        if self.packets.is_empty() && self.is_quiet.load(Acquire) && !wanted.intersects(PollEvents::WRITABLE) {
            return PollEvents::empty();
        }
        let low_water = self.options.receive_low_water.load(Relaxed);
        let mut inner = self.lock_drained();
        let (has_error, was_disconnected) = (inner.error.is_some(), inner.was_disconnected);
        let has_failed = inner.has_failed;
        match &mut inner.phase {
            Phase::Wire(wire) if low_water <= 1 => wire.engine.readiness_of(wanted),
            Phase::Wire(wire) => wire.readiness(usize::try_from(low_water).unwrap_or(1)),
            Phase::Idle if has_error && was_disconnected => PollEvents::HUP | PollEvents::WRITABLE | PollEvents::ERR,
            Phase::Idle if has_error => {
                PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::RDHUP | PollEvents::HUP | PollEvents::ERR
            }
            Phase::Idle if has_failed => {
                PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::RDHUP | PollEvents::HUP
            }
            // As Linux has it: hung up and writable.
            Phase::Idle => PollEvents::HUP | PollEvents::WRITABLE,
            Phase::Waiting { is_deferred, .. } => Self::waiting_events(*is_deferred),
            Phase::Listening(listener) if listener.has_ready() => PollEvents::READABLE,
            Phase::Listening(_) => PollEvents::empty(),
            Phase::Local(end) => {
                let low_water = usize::try_from(low_water).unwrap_or(1);
                end.readiness(low_water, self.options.oob_inline.load(Relaxed))
            }
        }
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.wait_queue
    }

    fn wakes_one(&self, events: PollEvents) -> bool {
        // Those who accept take turns.
        events.contains(PollEvents::IN) && self.is_listening()
    }

    fn take_urgent_news(&self) -> bool {
        self.has_urgent_news.swap(false, Relaxed)
    }

    fn close(&self) {
        self.end(false);
    }

    fn is_lingering(&self) -> bool {
        TcpSocket::is_lingering(self)
    }
}

/// Bytes before an urgent one that are sent in one step.
const URGENT_PREFIX_MAX: usize = 16 << 10;

impl Lender for TcpSocket {
    fn take_back(&self, payload: Payload, account: &Account) {
        let mut inner = self.lock_drained();
        match &mut inner.phase {
            Phase::Local(end) => end.take_back(payload, account),
            Phase::Wire(wire) => {
                account.subtract(&payload);
                wire.note_given_back();
                self.settle(&mut inner, sync::machine::now_ns());
                drop(inner);
                drop(payload);
            }
            _ => account.subtract(&payload),
        }
    }
}

impl TcpSocket {
    /// Reads, or looks from behind the bytes that were `seen`; none if nothing is there.
    #[inline(always)]
    fn receive_bytes(
        &self,
        to: &mut UserWriter<'_>,
        seen: Option<usize>,
        is_truncating: bool,
    ) -> Result<Option<usize>, Errno> {
        let mut inner = self.lock_drained();
        match &mut inner.phase {
            Phase::Wire(_) => self.receive_from_wire(inner, to, seen, is_truncating),
            Phase::Local(end) => end.receive(to, seen, is_truncating, self.options.oob_inline.load(Relaxed)),
            Phase::Waiting { .. } => Ok(None),
            Phase::Idle | Phase::Listening(_) => match inner.error.take() {
                None if inner.has_failed => Ok(Some(0)),
                error => Err(error.unwrap_or(Errno::ENOTCONN)),
            },
        }
    }

    /// What `TCP_INQ` tells: bytes that wait, of which the end counts as one.
    fn waiting_hint(&self) -> u32 {
        let is_inline = self.options.oob_inline.load(Relaxed);
        let (len, is_ended) = match &mut self.lock_drained().phase {
            Phase::Local(end) => (end.waiting_len(is_inline), end.has_received_end()),
            Phase::Wire(wire) => (wire.engine.waiting_len(), wire.engine.readiness().contains(PollEvents::RDHUP)),
            _ => (0, false),
        };
        u32::try_from(len).unwrap_or(u32::MAX).saturating_add(u32::from(is_ended))
    }

    /// Reads what an engine has, page by page where the program's memory is not there yet.
    #[inline(never)]
    fn receive_from_wire(
        &self,
        inner: MutexGuard<'_, Inner>,
        to: &mut UserWriter<'_>,
        seen: Option<usize>,
        is_truncating: bool,
    ) -> Result<Option<usize>, Errno> {
        let mut inner = inner;
        let is_peek = seen.is_some();
        let mut done = 0;
        // Nearly always this is all.
        if !is_peek
            && !is_truncating
            && let Phase::Wire(wire) = &mut inner.phase
            && let Some(len) = wire.read_sole(to)
        {
            done = len;
            if wire.engine.readable_len() == 0 {
                self.end_read(&mut inner);
                return Ok(Some(done));
            }
        }
        loop {
            let Phase::Wire(wire) = &mut inner.phase else { return Ok(Some(done)) };
            let (fault, is_over) = match wire.read(to, seen.map(|seen| seen + done), is_truncating) {
                Ok(Ok(Some(len))) => {
                    done += len;
                    wire.note_read();
                    let passed = seen.map_or(0, |seen| seen + done);
                    let is_over = len == 0 || to.is_full() || is_truncating;
                    let has_more = || wire.engine.readable_len() > passed && (is_peek || !wire.engine.is_at_mark());
                    (None, is_over || !has_more())
                }
                Ok(Ok(None)) if done == 0 => {
                    if wire.release() {
                        self.settle(&mut inner, sync::machine::now_ns());
                    }
                    return Ok(None);
                }
                Err(errno) if done == 0 => return Err(errno),
                Ok(Ok(None)) | Err(_) => (None, true),
                Ok(Err(fault)) => (Some(fault), false),
            };
            if is_over {
                if done > 0 && !is_peek {
                    self.end_read(&mut inner);
                }
                return Ok(Some(done));
            }
            drop(inner);
            match fault.map(UserFault::resolve) {
                Some(Err(errno)) if done == 0 => return Err(errno),
                Some(Err(_)) => return Ok(Some(done)),
                Some(Ok(())) | None => {}
            }
            inner = self.lock_drained();
        }
    }

    /// A read has taken something.
    fn end_read(&self, inner: &mut Inner) {
        let Phase::Wire(wire) = &mut inner.phase else { return };
        let now_ns = sync::machine::now_ns();
        // Nothing else can be due by that.
        if wire.engine.end_read(now_ns) {
            self.settle(inner, now_ns);
        } else if wire.engine.is_quiet() {
            self.is_quiet.store(true, Release);
        }
    }

    /// `MSG_OOB`: the last byte is urgent.
    fn send_urgent(&self, request: &mut SendRequest<'_, '_>) -> IoResult {
        if request.from.remaining() > 1 {
            // What precedes it goes as usual; a partial transfer comes back for the rest.
            let mut before = room::zeroes((request.from.remaining() - 1).min(URGENT_PREFIX_MAX))?;
            let mut attempt = request.from.clone();
            let len = attempt.read(&mut before)?;
            let sent = self.send_bytes(&mut mm::UserReader::from_kernel(&before[..len]), true)?;
            if let Progress::Done(count) = sent {
                request.from.skip(count);
            }
            return Ok(sent);
        }
        let mut byte = [0];
        if request.from.clone().read(&mut byte)? == 0 {
            return Ok(Progress::Done(0));
        }
        let mut inner = self.lock_drained();
        let sent = match &mut inner.phase {
            Phase::Local(_) => self.send_within(inner, request.from, Some(byte[0]))?,
            Phase::Wire(wire) => {
                let sent = wire.engine.send_urgent(byte[0])?.then_some(1);
                self.settle(&mut inner, sync::machine::now_ns());
                sent
            }
            Phase::Waiting { .. } => None,
            _ => return Err(Errno::EPIPE),
        };
        Ok(sent.map_or(Progress::WouldBlock, |count| {
            request.from.skip(count);
            Progress::Done(count)
        }))
    }

    fn receive_urgent(&self, request: &mut ReceiveRequest<'_, '_>) -> Result<Received, Errno> {
        let is_peek = request.flags.contains(MessageFlags::PEEK);
        let is_inline = self.options.oob_inline.load(Relaxed);
        let mut inner = self.lock_drained();
        let byte = match &mut inner.phase {
            Phase::Listening(_) => return Err(Errno::ENOTCONN),
            Phase::Local(end) => Some(end.receive_urgent(is_peek, is_inline)?),
            Phase::Wire(wire) => wire.engine.take_urgent(is_peek)?,
            Phase::Idle | Phase::Waiting { .. } => return Err(Errno::EINVAL),
        };
        drop(inner);
        let Some(byte) = byte else { return Ok(Received::default()) };
        let mut flags = MessageFlags::OOB;
        let has_room = !request.to.is_full();
        if !has_room {
            flags |= MessageFlags::TRUNC;
        } else if !request.flags.contains(MessageFlags::TRUNC) {
            request.to.write(&[byte])?;
        }
        Ok(Received { len: usize::from(has_room), flags, ..Received::default() })
    }
}
