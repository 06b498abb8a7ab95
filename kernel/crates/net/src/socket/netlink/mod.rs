//! Netlink sockets: what programs ask the kernel about its network.
//!
//! A request is served while it is sent; its answers wait in the socket's queue, which has a limit (`ENOBUFS`). There are no multicast
//! groups: nobody is told of changes, and who asks for that is refused.
//!
//! Lock: [`rank::UNIX_SOCKET`] for the queue, [`rank::UNIX_NAMES`] for the numbers of sockets.

mod message;
mod route;

use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use abi::interface::SIOCINQ;
use abi::netlink::{
    MAX_LINKS, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_ROUTE, NLM_F_ACK, NLM_F_REQUEST, NLMSG_MIN_TYPE, Nlmsghdr,
};
use abi::socket::{AF_NETLINK, SOL_NETLINK};
use abi::{Errno, PollEvents};
use file::{IoResult, Progress};
use mm::user::write_user_struct;
use sync::{Lazy, Mutex, WaitQueue, rank};
use zerocopy::FromBytes;

use self::message::{ALIGNMENT, MessageWriter};
use super::options::SocketOptions;
use super::{Address, Caller, Half, Kind, MessageFlags, ReceiveRequest, Received, SendRequest, Socket};
use crate::Stack;

/// What a request may be long.
const REQUEST_LEN_MAX: usize = 64 * 1024;
/// Sockets whose numbers are not those of their processes count down from here.
const PORT_FIRST: u32 = u32::MAX - 4096;

/// The numbers in use.
static PORTS: Lazy<Mutex<BTreeSet<u32>>> = Lazy::new(|| Mutex::new(rank::UNIX_NAMES, BTreeSet::new()));

/// What waits to be received.
#[derive(Default)]
struct Queue {
    datagrams: VecDeque<Vec<u8>>,
    len: usize,
}

/// A netlink socket.
pub struct NetlinkSocket {
    stack: Arc<Stack>,
    kind: Kind,
    options: SocketOptions,
    waiters: WaitQueue,
    queue: Mutex<Queue>,
    /// Its number; 0 until it is bound.
    port: AtomicU32,
    /// Answers were lost.
    has_overrun: AtomicBool,
    /// `NETLINK_CAP_ACK`: errors do not repeat the request.
    caps_errors: AtomicBool,
    /// `NETLINK_EXT_ACK`.
    has_extended_errors: AtomicBool,
}

/// Makes a netlink socket; `SOCK_RAW` and `SOCK_DGRAM` are the same. `EPROTONOSUPPORT` for protocols other than `NETLINK_ROUTE`.
pub fn create(stack: &Arc<Stack>, kind: i32, protocol: i32) -> Result<Arc<NetlinkSocket>, Errno> {
    if !(0..MAX_LINKS).contains(&protocol) || protocol != NETLINK_ROUTE {
        return Err(Errno::EPROTONOSUPPORT);
    }
    Ok(Arc::new(NetlinkSocket {
        stack: Arc::clone(stack),
        kind: Kind { domain: i32::from(AF_NETLINK), kind, protocol },
        options: SocketOptions::default(),
        waiters: WaitQueue::new(),
        queue: Mutex::new(rank::UNIX_SOCKET, Queue::default()),
        port: AtomicU32::new(0),
        has_overrun: AtomicBool::new(false),
        caps_errors: AtomicBool::new(false),
        has_extended_errors: AtomicBool::new(false),
    }))
}

impl NetlinkSocket {
    /// Takes a number: `wanted`, or one that is free, which is the process's if nobody has that.
    fn take_port(&self, wanted: u32, caller: &Caller) -> Result<(), Errno> {
        let mut ports = PORTS.lock();
        let port = self.port.load(Relaxed);
        if port != 0 {
            return if wanted == 0 || wanted == port { Ok(()) } else { Err(Errno::EINVAL) };
        }
        let mut port = if wanted == 0 { caller.credentials.pid } else { wanted };
        if !ports.insert(port) {
            if wanted != 0 {
                return Err(Errno::EADDRINUSE);
            }
            port = PORT_FIRST;
            while !ports.insert(port) {
                port -= 1;
            }
        }
        self.port.store(port, Relaxed);
        Ok(())
    }

    /// Serves the requests in `bytes`.
    fn serve(&self, bytes: &[u8], caller: &Caller) {
        let mut rest = bytes;
        while let Ok((header, _)) = Nlmsghdr::read_from_prefix(rest) {
            let len = usize::try_from(header.nlmsg_len).unwrap_or(usize::MAX);
            let Some(body) = rest.get(size_of::<Nlmsghdr>()..len) else { return };
            if header.nlmsg_flags & NLM_F_REQUEST != 0 {
                self.answer(&header, body, caller);
            }
            rest = rest.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        }
    }

    fn answer(&self, header: &Nlmsghdr, body: &[u8], caller: &Caller) {
        let mut out = MessageWriter::new(*header, self.port.load(Relaxed));
        let result = match header.nlmsg_type {
            // Control messages are nothing to do.
            kind if kind < NLMSG_MIN_TYPE => Ok(()),
            _ => route::serve(&self.stack, header, body, caller, &mut out),
        };
        let errno = result.err().map_or(0, |errno| i32::from(errno.raw()));
        let is_dump = errno == 0 && header.nlmsg_flags & abi::netlink::NLM_F_DUMP != 0;
        if errno != 0 || (header.nlmsg_flags & NLM_F_ACK != 0 && !is_dump) {
            let payload = if self.caps_errors.load(Relaxed) { &[] } else { body };
            out.error(errno, payload);
        }
        let limit = self.options.receive_buffer_len();
        let mut queue = self.queue.lock();
        for datagram in out.into_datagrams() {
            if queue.len + datagram.len() > limit {
                self.has_overrun.store(true, Relaxed);
                break;
            }
            queue.len += datagram.len();
            queue.datagrams.push_back(datagram);
        }
        drop(queue);
        self.waiters.wake(PollEvents::READABLE.bits());
    }
}

impl Socket for NetlinkSocket {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn bind(&self, address: &Address, caller: &Caller) -> Result<(), Errno> {
        match *address {
            Address::Netlink { groups, .. } if groups != 0 => Err(Errno::EOPNOTSUPP),
            Address::Netlink { port, .. } => self.take_port(port, caller),
            _ => Err(Errno::EINVAL),
        }
    }

    fn connect(&self, address: &Address, caller: &Caller) -> IoResult {
        match *address {
            Address::Unspecified => {}
            Address::Netlink { port: 0, groups: 0 } => self.take_port(0, caller)?,
            Address::Netlink { .. } => return Err(Errno::EPERM),
            _ => return Err(Errno::EINVAL),
        }
        Ok(Progress::Done(0))
    }

    fn is_connect_at_once(&self) -> bool {
        true
    }

    fn local_address(&self) -> Result<Address, Errno> {
        Ok(Address::Netlink { port: self.port.load(Relaxed), groups: 0 })
    }

    fn peer_address(&self) -> Result<Address, Errno> {
        Ok(Address::Netlink { port: 0, groups: 0 })
    }

    fn send(&self, request: &mut SendRequest<'_, '_>) -> IoResult {
        if request.flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        match request.address {
            None | Some(Address::Netlink { port: 0, groups: 0 } | Address::Unspecified) => {}
            Some(Address::Netlink { groups: 0, .. }) => return Err(Errno::ECONNREFUSED),
            Some(Address::Netlink { .. }) => return Err(Errno::EPERM),
            Some(_) => return Err(Errno::EINVAL),
        }
        self.take_port(0, request.caller)?;
        let len = request.from.remaining();
        if len > REQUEST_LEN_MAX {
            return Err(Errno::EMSGSIZE);
        }
        let mut bytes = alloc::vec![0; len];
        request.from.read_exact(&mut bytes)?;
        self.serve(&bytes, request.caller);
        Ok(Progress::Done(len))
    }

    fn receive(&self, request: &mut ReceiveRequest<'_, '_>) -> Result<Option<Received>, Errno> {
        if request.flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        if let Some(errno) = self.take_error() {
            return Err(errno);
        }
        let mut queue = self.queue.lock();
        let datagram = if request.flags.contains(MessageFlags::PEEK) {
            queue.datagrams.front().cloned()
        } else {
            queue.datagrams.pop_front().inspect(|datagram| queue.len -= datagram.len())
        };
        drop(queue);
        let Some(datagram) = datagram else { return Ok(None) };
        let copied = datagram.len().min(request.to.remaining());
        request.to.write_all(&datagram[..copied])?;
        let mut flags = MessageFlags::empty();
        flags.set(MessageFlags::TRUNC, copied < datagram.len());
        let len = if request.flags.contains(MessageFlags::TRUNC) { datagram.len() } else { copied };
        let address = Some(Address::Netlink { port: 0, groups: 0 });
        Ok(Some(Received { len, address, control: Vec::new(), flags }))
    }

    fn shutdown(&self, half: Half) -> Result<(), Errno> {
        let _ = half;
        Err(Errno::EOPNOTSUPP)
    }

    fn set_option(&self, level: i32, option: i32, value: &[u8], caller: &Caller) -> Result<(), Errno> {
        let _ = caller;
        if level != SOL_NETLINK {
            return Err(Errno::ENOPROTOOPT);
        }
        let value = i32::from_ne_bytes(*value.first_chunk().ok_or(Errno::EINVAL)?);
        match option {
            NETLINK_CAP_ACK => self.caps_errors.store(value != 0, Relaxed),
            // Errors never come with more to say, which is allowed.
            NETLINK_EXT_ACK => self.has_extended_errors.store(value != 0, Relaxed),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    fn option(&self, level: i32, option: i32, wanted: usize, argument: &[u8]) -> Result<Vec<u8>, Errno> {
        let _ = (wanted, argument);
        let value = match (level, option) {
            (SOL_NETLINK, NETLINK_CAP_ACK) => self.caps_errors.load(Relaxed),
            (SOL_NETLINK, NETLINK_EXT_ACK) => self.has_extended_errors.load(Relaxed),
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(i32::from(value).to_ne_bytes().to_vec())
    }

    fn options(&self) -> &SocketOptions {
        &self.options
    }

    fn take_error(&self) -> Option<Errno> {
        self.has_overrun.swap(false, Relaxed).then_some(Errno::ENOBUFS)
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, Errno> {
        if command != SIOCINQ {
            return Err(Errno::ENOTTY);
        }
        let len = self.queue.lock().datagrams.front().map_or(0, Vec::len);
        write_user_struct(argument, &i32::try_from(len).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn readiness(&self) -> PollEvents {
        let mut events = PollEvents::WRITABLE | PollEvents::WRBAND;
        if !self.queue.lock().datagrams.is_empty() {
            events |= PollEvents::READABLE;
        }
        events.set(PollEvents::ERR, self.has_overrun.load(Relaxed));
        events
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.waiters
    }

    fn close(&self) {
        let port = self.port.swap(0, Relaxed);
        if port != 0 {
            PORTS.lock().remove(&port);
        }
    }
}
