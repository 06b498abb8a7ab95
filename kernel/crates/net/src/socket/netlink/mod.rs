//! Netlink sockets: what programs ask the kernel about its network.
//!
//! A request is served while it is sent; its answers wait in the socket's queue, which has a limit (`ENOBUFS`). Members of groups are told
//! of links, addresses and routes that change ([`notify`], [`notify_link`]); nothing is ever said in the other groups.
//!
//! Locks: [`rank::NETLINK`] for the queue and for the list of members, never both; [`rank::UNIX_NAMES`] for the numbers of sockets.

mod change;
mod change_neighbour;
mod message;
mod route;

use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use abi::interface::SIOCINQ;
use abi::netlink::{
    MAX_LINKS, NETLINK_ADD_MEMBERSHIP, NETLINK_CAP_ACK, NETLINK_DROP_MEMBERSHIP, NETLINK_EXT_ACK,
    NETLINK_LIST_MEMBERSHIPS, NETLINK_NO_ENOBUFS, NETLINK_ROUTE, NLM_F_ACK, NLM_F_REQUEST, NLMSG_MIN_TYPE, Nlmsghdr,
    RTNLGRP_MAX,
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
use crate::interface::{Interface, Interfaces, Snapshot};
use crate::{Stack, room};

/// What a request may be long.
const REQUEST_LEN_MAX: usize = 64 * 1024;
/// Sockets whose numbers are not those of their processes count down from here.
const PORT_FIRST: u32 = u32::MAX - 4096;

/// The numbers in use.
static PORTS: Lazy<Mutex<BTreeSet<u32>>> = Lazy::new(|| Mutex::new(rank::UNIX_NAMES, BTreeSet::new()));

/// Who is in a group.
static MEMBERS: Lazy<Mutex<Vec<Weak<NetlinkSocket>>>> = Lazy::new(|| Mutex::new(rank::NETLINK, Vec::new()));
/// How many they are, for who has something to tell.
static MEMBER_COUNT: AtomicUsize = AtomicUsize::new(0);

/// What waits to be received: messages, and the group they went to, or 0.
#[derive(Default)]
struct Queue {
    datagrams: VecDeque<(Vec<u8>, u32)>,
    len: usize,
}

/// The bit of a group in masks.
const fn bit_of(group: u32) -> u64 {
    1 << (group - 1)
}

/// A netlink socket.
pub struct NetlinkSocket {
    stack: Arc<Stack>,
    kind: Kind,
    options: SocketOptions,
    waiters: WaitQueue,
    queue: Mutex<Queue>,
    me: Weak<NetlinkSocket>,
    /// Its number; 0 until it is bound.
    port: AtomicU32,
    /// The groups it is in: a bit each.
    groups: AtomicU64,
    /// It was in some.
    has_had_groups: AtomicBool,
    /// `NETLINK_NO_ENOBUFS`: it does not want to know that something was lost.
    ignores_overrun: AtomicBool,
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
    Ok(Arc::new_cyclic(|me| NetlinkSocket {
        me: Weak::clone(me),
        groups: AtomicU64::new(0),
        has_had_groups: AtomicBool::new(false),
        ignores_overrun: AtomicBool::new(false),
        stack: Arc::clone(stack),
        kind: Kind { domain: i32::from(AF_NETLINK), kind, protocol },
        options: SocketOptions::default(),
        waiters: WaitQueue::new(),
        queue: Mutex::new(rank::NETLINK, Queue::default()),
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
        let is_dump = errno == 0 && route::is_get(header) && header.nlmsg_flags & abi::netlink::NLM_F_DUMP != 0;
        if errno != 0 || (header.nlmsg_flags & NLM_F_ACK != 0 && !is_dump) {
            out.error(errno, Some(body).filter(|_| !self.caps_errors.load(Relaxed)));
        }
        let (datagrams, result) = out.into_datagrams();
        if result.is_err() {
            self.note_overrun();
        }
        self.queue(datagrams.into_iter().map(|datagram| (datagram, 0)));
    }

    /// Lets datagrams wait to be received, as far as there is room.
    fn queue(&self, datagrams: impl Iterator<Item = (Vec<u8>, u32)>) {
        let limit = self.options.receive_buffer_len();
        let mut queue = self.queue.lock();
        for (datagram, group) in datagrams {
            if queue.len + datagram.len() > limit || queue.datagrams.try_reserve(1).is_err() {
                self.note_overrun();
                break;
            }
            queue.len += datagram.len();
            queue.datagrams.push_back((datagram, group));
        }
        drop(queue);
        self.waiters.wake(PollEvents::READABLE.bits());
    }

    /// Something is lost that it was to be told.
    fn note_overrun(&self) {
        self.has_overrun.store(!self.ignores_overrun.load(Relaxed), Relaxed);
    }

    /// Changes the groups it is in. `ENOBUFS`.
    fn set_groups(&self, change: impl FnOnce(u64) -> u64) -> Result<(), Errno> {
        let mut members = MEMBERS.lock();
        let groups = change(self.groups.load(Relaxed));
        if groups != 0 {
            members.try_reserve(1).map_err(|_| Errno::ENOBUFS)?;
        }
        self.groups.store(groups, Relaxed);
        members.retain(|member| member.strong_count() > 0 && !Weak::ptr_eq(member, &self.me));
        if groups != 0 {
            self.has_had_groups.store(true, Relaxed);
            members.push(Weak::clone(&self.me));
        }
        MEMBER_COUNT.store(members.len(), Relaxed);
        Ok(())
    }
}

/// The members in the machine of `interfaces`. `ENOBUFS`, and then all know that something is lost.
fn members_of(interfaces: &Interfaces) -> Result<Vec<Arc<NetlinkSocket>>, Errno> {
    let members = MEMBERS.lock();
    let all = || members.iter().filter_map(Weak::upgrade);
    let mut found = room::room_for(members.len()).inspect_err(|_| all().for_each(|member| member.note_overrun()))?;
    found.extend(all());
    drop(members);
    found.retain(|member: &Arc<NetlinkSocket>| core::ptr::eq(member.stack.interfaces(), interfaces));
    Ok(found)
}

/// Gives news to the members of its groups in the machine of `interfaces`; there may not have been memory for them.
fn deliver(interfaces: &Interfaces, news: Result<Vec<route::News>, Errno>) {
    let Ok(members) = members_of(interfaces) else { return };
    let Ok(news) = news else { return members.iter().for_each(|member| member.note_overrun()) };
    for member in members {
        let groups = member.groups.load(Relaxed);
        let mut own = news.iter().filter(|one| groups & bit_of(one.group) != 0).peekable();
        if own.peek().is_some() {
            member.queue(own.map(|one| (one.message.clone(), one.group)));
        }
    }
}

/// Tells of the addresses and routes that are different in `new`. Called under the lock of the set of interfaces, so that news come in
/// their order.
pub(crate) fn notify(interfaces: &Interfaces, old: &Snapshot, new: &Snapshot) {
    if MEMBER_COUNT.load(Relaxed) > 0 {
        deliver(interfaces, route::changes(old, new));
    }
}

/// Tells of the state of a link.
pub(crate) fn notify_link(interfaces: &Interfaces, interface: &Interface) {
    if MEMBER_COUNT.load(Relaxed) > 0 {
        deliver(interfaces, route::link_change(interface));
    }
}

impl Socket for NetlinkSocket {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn bind(&self, address: &Address, caller: &Caller) -> Result<(), Errno> {
        match *address {
            Address::Netlink { port, groups } => {
                // It has one number for good, and cannot ask for any.
                if self.port.load(Relaxed) != 0 && self.port.load(Relaxed) != port {
                    return Err(Errno::EINVAL);
                }
                self.take_port(port, caller)?;
                // Those beyond the mask stay.
                self.set_groups(|known| known & !u64::from(u32::MAX) | u64::from(groups))
            }
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
        #[expect(clippy::cast_possible_truncation, reason = "the address has the first groups alone")]
        let groups = self.groups.load(Relaxed) as u32;
        Ok(Address::Netlink { port: self.port.load(Relaxed), groups })
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
        let mut bytes = room::zeroes(len)?;
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
            let front = queue.datagrams.front();
            front
                .map(|(bytes, group)| room::copy_of([&**bytes], bytes.len()).map(|bytes| (bytes, *group)))
                .transpose()?
        } else {
            queue.datagrams.pop_front().inspect(|(datagram, _)| queue.len -= datagram.len())
        };
        drop(queue);
        let Some((datagram, group)) = datagram else { return Ok(None) };
        let copied = datagram.len().min(request.to.remaining());
        request.to.write_all(&datagram[..copied])?;
        let mut flags = MessageFlags::empty();
        flags.set(MessageFlags::TRUNC, copied < datagram.len());
        let len = if request.flags.contains(MessageFlags::TRUNC) { datagram.len() } else { copied };
        let groups = if (1..=32).contains(&group) { 1 << (group - 1) } else { 0 };
        let address = Some(Address::Netlink { port: 0, groups });
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
        // Less than a number is 0.
        let value = value.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        match option {
            NETLINK_ADD_MEMBERSHIP | NETLINK_DROP_MEMBERSHIP => {
                let group = u32::try_from(value).ok().filter(|group| (1..=RTNLGRP_MAX).contains(group));
                let bit = bit_of(group.ok_or(Errno::EINVAL)?);
                self.set_groups(|known| if option == NETLINK_ADD_MEMBERSHIP { known | bit } else { known & !bit })?;
            }
            NETLINK_NO_ENOBUFS => self.ignores_overrun.store(value != 0, Relaxed),
            NETLINK_CAP_ACK => self.caps_errors.store(value != 0, Relaxed),
            // Errors never come with more to say, which is allowed.
            NETLINK_EXT_ACK => self.has_extended_errors.store(value != 0, Relaxed),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    fn option(&self, level: i32, option: i32, wanted: usize, argument: &[u8]) -> Result<Vec<u8>, Errno> {
        let _ = argument;
        let value = match (level, option) {
            // Nothing of who never was in a group.
            (SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS) if !self.has_had_groups.load(Relaxed) => return Ok(Vec::new()),
            (SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS) => return Ok(self.groups.load(Relaxed).to_ne_bytes().to_vec()),
            (SOL_NETLINK, NETLINK_NO_ENOBUFS) => self.ignores_overrun.load(Relaxed),
            (SOL_NETLINK, NETLINK_CAP_ACK) => self.caps_errors.load(Relaxed),
            (SOL_NETLINK, NETLINK_EXT_ACK) => self.has_extended_errors.load(Relaxed),
            _ => return Err(Errno::ENOPROTOOPT),
        };
        if wanted < size_of::<i32>() {
            return Err(Errno::EINVAL);
        }
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
        let len = self.queue.lock().datagrams.front().map_or(0, |(datagram, _)| datagram.len());
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
        if self.groups.load(Relaxed) != 0 {
            // Who leaves all needs no memory for it.
            let _ = self.set_groups(|_| 0);
        }
        let port = self.port.swap(0, Relaxed);
        if port != 0 {
            PORTS.lock().remove(&port);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use abi::netlink::{RTM_DELADDR, RTM_NEWADDR, RTM_NEWLINK, RTNLGRP_IPV4_IFADDR};
    use mm::user::UserWriter;
    use testkit as _;

    use super::*;
    use crate::interface::{InterfaceAddress, Origin};
    use crate::socket::SocketCredentials;

    const CALLER: Caller = Caller {
        credentials: SocketCredentials { pid: 9, uid: 0, gid: 0 },
        may_bind_low_ports: true,
        may_use_raw: true,
        is_network_admin: true,
        in_flight_max: 0,
    };

    /// The type of the next message, and the groups in the address.
    fn next(socket: &NetlinkSocket) -> Option<(u16, Option<Address>)> {
        let mut bytes = [0; 4096];
        let mut to = UserWriter::to_kernel(&mut bytes);
        let mut request = ReceiveRequest { to: &mut to, flags: MessageFlags::empty(), wants_control: false };
        let received = socket.receive(&mut request).unwrap()?;
        let (header, _) = Nlmsghdr::read_from_prefix(&bytes).unwrap();
        assert_eq!(usize::try_from(header.nlmsg_len).unwrap(), received.len);
        Some((header.nlmsg_type, received.address))
    }

    #[test]
    fn members_are_told_of_what_changes_and_others_are_not() {
        let stack = Stack::new(1);
        let [member, other] = [0; 2].map(|_| create(&stack, 3, NETLINK_ROUTE).unwrap());
        let elsewhere = create(&Stack::new(1), 3, NETLINK_ROUTE).unwrap();
        let groups = 1 << (RTNLGRP_IPV4_IFADDR - 1) | 1;
        member.bind(&Address::Netlink { port: 0, groups }, &CALLER).unwrap();
        elsewhere.bind(&Address::Netlink { port: 0, groups }, &CALLER).unwrap();
        let address = Ipv4Addr::new(10, 1, 2, 3).into();
        stack.interfaces().add_address(InterfaceAddress::permanent(1, address, 8, Origin::Static)).unwrap();
        let from = |group: u32| Some(Address::Netlink { port: 0, groups: 1 << (group - 1) });
        assert_eq!(next(&member), Some((RTM_NEWADDR, from(RTNLGRP_IPV4_IFADDR))));
        stack.interfaces().set_mtu(1, 2000).unwrap();
        assert_eq!(next(&member), Some((RTM_NEWLINK, from(1))));
        stack.interfaces().remove_address(1, address).unwrap();
        assert_eq!(next(&member), Some((RTM_DELADDR, from(RTNLGRP_IPV4_IFADDR))));
        for silent in [&member, &other, &elsewhere] {
            assert_eq!(next(silent), None);
        }
        member.close();
        stack.interfaces().set_mtu(1, 3000).unwrap();
        assert_eq!(next(&member), None);
    }
}
