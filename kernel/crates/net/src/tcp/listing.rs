//! [`TcpRow`]: the connections and listeners of a stack as `/proc/net/tcp` lists them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::net::SocketAddr;

use sync::machine;

use super::engine::{Engine, Information, State};
use super::socket::{AF_INET6, Phase, TcpSocket};
use super::{Listener, Tcp};
use crate::Stack;
use crate::socket::{Address, Socket, open_sockets};

/// What is shown of a connection that has an engine or a listener.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpFigures {
    /// The retransmission time-out.
    pub retransmit_timeout_us: u32,
    /// How long an acknowledgement is held back.
    pub acknowledge_timeout_us: u32,
    /// Segments.
    pub congestion_window: u32,
    /// Segments; none before the first loss.
    pub slow_start_threshold: Option<u32>,
}

/// A line of the list.
#[derive(Clone, Copy, Debug)]
pub struct TcpRow {
    /// It belongs into the list of IPv6.
    pub is_v6: bool,
    /// Its own end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The state in Linux's numbers.
    pub state: u8,
    /// Bytes that are not acknowledged.
    pub send_queue: u32,
    /// Bytes that were not read; connections that were not accepted.
    pub receive_queue: u32,
    /// The timer that is set: 0 none, 1 retransmission, 2 keepalive, 3 TIME-WAIT, 4 window probes.
    pub timer: u8,
    /// Until it is due.
    pub timer_left_ns: u64,
    /// Retransmissions without an answer.
    pub retransmits: u8,
    /// Probes without an answer.
    pub probes: u8,
    /// The user of its file.
    pub user: u32,
    /// The number of its file; 0 without one.
    pub inode: u64,
    /// None for what is a record alone.
    pub figures: Option<TcpFigures>,
}

impl TcpRow {
    pub(super) fn record(local: SocketAddr, remote: SocketAddr, state: State) -> Self {
        Self {
            is_v6: local.is_ipv6(),
            local,
            remote,
            state: state as u8,
            send_queue: 0,
            receive_queue: 0,
            timer: 0,
            timer_left_ns: 0,
            retransmits: 0,
            probes: 0,
            user: 0,
            inode: 0,
            figures: None,
        }
    }
}

fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Linux's first congestion window, which is all that connections without segments show.
const WINDOW_FIRST: u32 = 10;
/// The time-out of a listener, which is that of a connection that has measured nothing, in Linux's units here.
const LISTENER_TIMEOUT_US: u32 = 1_000_000;

impl TcpSocket {
    /// Its line; none while it is in no list.
    fn row(&self, now_ns: u64) -> Option<TcpRow> {
        let end_of = |address: Address| match address {
            Address::Inet(address) => Some(address),
            _ => None,
        };
        let mut guard = self.lock_drained();
        let inner = &mut *guard;
        let (local, remote, state) = match &mut inner.phase {
            Phase::Idle => return None,
            Phase::Listening(listener) => (listener.address(), SocketAddr::new(self.any(), 0), State::Listen),
            Phase::Waiting { remote, .. } => {
                let bound = inner.bound.as_ref()?;
                (SocketAddr::new(bound.address, bound.claim.port()), *remote, State::SynSent)
            }
            Phase::Local(end) => (end.local, end.remote, end.state()),
            Phase::Wire(wire) => (wire.key.local_end(), wire.key.remote_end(), wire.engine.state()),
        };
        if matches!(state, State::Closed | State::TimeWait) {
            return None;
        }
        let base = TcpRow {
            is_v6: self.domain == AF_INET6,
            ..TcpRow::record(end_of(self.shown(local))?, end_of(self.shown(remote))?, state)
        };
        // As numbers of sequence count them: an end is one.
        let ends = matches!(state, State::CloseWait | State::LastAck | State::Closing);
        let unacknowledged_ends = matches!(state, State::FinWait1 | State::LastAck | State::Closing);
        let with = |len: usize, has_end: bool| count(len + usize::from(has_end));
        Some(match &mut inner.phase {
            Phase::Listening(listener) => {
                TcpRow { receive_queue: count(listener.backlog().1), figures: Some(figures_without_segments()), ..base }
            }
            Phase::Local(end) => TcpRow {
                receive_queue: with(end.waiting_len(true), ends),
                figures: Some(figures_without_segments()),
                ..base
            },
            Phase::Wire(wire) => {
                let (sent, received) = (wire.engine.unacknowledged_len().0, wire.engine.readable_len());
                let queues = (with(sent, unacknowledged_ends), with(received, ends));
                Self::wire_row(base, queues, &wire.engine.information(now_ns))
            }
            _ => TcpRow { figures: Some(figures_without_segments()), ..base },
        })
    }

    fn wire_row(base: TcpRow, (send_queue, receive_queue): (u32, u32), of: &Information) -> TcpRow {
        let threshold = Some(of.slow_start_threshold).filter(|threshold| *threshold < 0x7fff_ffff);
        TcpRow {
            send_queue,
            receive_queue,
            timer: of.timer,
            timer_left_ns: of.timer_left_ns,
            retransmits: of.retransmits,
            probes: of.probes,
            figures: Some(TcpFigures {
                retransmit_timeout_us: of.retransmit_timeout_us,
                acknowledge_timeout_us: of.acknowledge_timeout_us,
                congestion_window: of.congestion_window,
                slow_start_threshold: threshold,
            }),
            ..base
        }
    }
}

fn figures_without_segments() -> TcpFigures {
    TcpFigures { retransmit_timeout_us: LISTENER_TIMEOUT_US, congestion_window: WINDOW_FIRST, ..TcpFigures::default() }
}

impl Tcp {
    /// All listeners and connections, those that have only a record last.
    #[must_use]
    pub fn rows(&self, stack: &Stack, now_ns: u64) -> Vec<TcpRow> {
        let mut rows = Vec::new();
        for file in open_sockets() {
            if let Some(socket) = (&**file.socket() as &dyn Any).downcast_ref::<TcpSocket>()
                && let Some(row) = socket.row(now_ns)
            {
                rows.push(TcpRow { inode: file.inode(), user: file.user(), ..row });
            }
        }
        let listeners: Vec<Arc<Listener>> = self.listeners.lock().values().flatten().cloned().collect();
        for listener in listeners {
            rows.extend(listener.ready().iter().filter_map(|socket| socket.row(now_ns)));
        }
        let flows = stack.flows().all();
        let orphans = flows.iter().filter_map(|flow| flow.connection()).filter(|socket| socket.inner.lock().is_orphan);
        rows.extend(orphans.filter_map(|socket| socket.row(now_ns)));
        rows.extend(self.half_open.rows(now_ns));
        rows.extend(self.time_waits.rows(now_ns));
        rows
    }

    /// Connections whose program has let go of them, and that are not over.
    #[must_use]
    pub fn orphan_count(&self, stack: &Stack) -> usize {
        let flows = stack.flows().all();
        flows.iter().filter_map(|flow| flow.connection()).filter(|socket| socket.inner.lock().is_orphan).count()
    }

    /// What connections that are not over have counted: segments received, sent, and sent again.
    #[must_use]
    pub fn live_counts(&self, stack: &Stack) -> [u64; 3] {
        let now_ns = machine::now_ns();
        let mut sums = [0_u64; 3];
        for flow in stack.flows().all() {
            let Some(socket) = flow.connection() else { continue };
            let inner = socket.lock_drained();
            let Phase::Wire(wire) = &inner.phase else { continue };
            if wire.is_detached {
                continue;
            }
            let of = wire.engine.information(now_ns);
            let counts = [of.segments_in, of.segments_out, of.total_retransmits];
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.wrapping_add(count.into()));
        }
        sums
    }
}

/// Whether the socket of an open file is one of TCP, and of which domain.
#[must_use]
pub fn is_v6_of(socket: &dyn Socket) -> Option<bool> {
    (socket as &dyn Any).downcast_ref::<TcpSocket>().map(|socket| socket.domain == AF_INET6)
}
