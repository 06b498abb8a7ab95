//! Making, naming and connecting sockets.

use alloc::sync::Arc;

use abi::socket::{AF_UNIX, SHUT_RD, SHUT_RDWR, SHUT_WR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_TYPE_MASK, SOMAXCONN};
use abi::{Errno, Fd, PollEvents, UserPtr};
use file::Progress;
use mm::user::write_user_struct;
use net::socket::{self as sockets, Address, Half, Socket, UnixName};

use super::open::number;
use crate::SyscallResult;
use crate::error::SyscallError;
use crate::socket::address::{self, Purpose};
use crate::socket::transfer::{receive_patience, send_patience};
use crate::socket::{OpenSocket, caller, open_file};
use crate::thread::Thread;

/// What may be said beside the kind of a socket.
#[derive(Clone, Copy)]
struct KindFlags {
    closes_on_exec: bool,
    is_nonblocking: bool,
}

impl KindFlags {
    /// `EINVAL` for others than the two.
    fn from_bits(flags: i32) -> Result<Self, Errno> {
        if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Self { closes_on_exec: flags & SOCK_CLOEXEC != 0, is_nonblocking: flags & SOCK_NONBLOCK != 0 })
    }
}

pub(crate) fn socket(thread: &Thread, domain: i32, kind: i32, protocol: i32) -> SyscallResult {
    let flags = KindFlags::from_bits(kind & !SOCK_TYPE_MASK)?;
    let caller = caller(thread);
    let network = thread.process().system().network();
    let socket = sockets::create(network, domain, kind & SOCK_TYPE_MASK, protocol, &caller)?;
    let open = open_file(socket, caller, flags.is_nonblocking);
    Ok(number(thread.fds().install(open, flags.closes_on_exec)?))
}

pub(crate) fn socketpair(
    thread: &Thread,
    domain: i32,
    kind: i32,
    protocol: i32,
    descriptors: UserPtr,
) -> SyscallResult {
    let flags = KindFlags::from_bits(kind & !SOCK_TYPE_MASK)?;
    let (caller, fds) = (caller(thread), thread.fds());
    let first = fds.reserve(flags.closes_on_exec)?;
    let second = fds.reserve(flags.closes_on_exec)?;
    write_user_struct(descriptors.address(), &[first.number(), second.number()])?;
    let network = thread.process().system().network();
    let groups = Arc::clone(&thread.credentials().groups);
    let pair = sockets::create_pair(network, domain, kind & SOCK_TYPE_MASK, protocol, &caller, &groups)?;
    first.install(open_file(pair.0, caller, flags.is_nonblocking));
    second.install(open_file(pair.1, caller, flags.is_nonblocking));
    Ok(0)
}

pub(crate) fn bind(thread: &Thread, fd: Fd, address: UserPtr, length: u32) -> SyscallResult {
    let open = OpenSocket::get(thread, fd)?;
    let socket = open.socket();
    let bytes = address::read_bytes(address, length)?;
    let caller = caller(thread);
    let address = address::parse(thread, socket.kind(), &bytes, Purpose::Bind)?;
    match &address {
        Address::Unix(UnixName::Path { path, .. }) if socket.kind().domain == i32::from(AF_UNIX) => {
            address::bind_path(thread, path, |address| socket.bind(address, &caller))?;
        }
        address => socket.bind(address, &caller)?,
    }
    Ok(0)
}

pub(crate) fn connect(thread: &Thread, fd: Fd, address: UserPtr, length: u32) -> SyscallResult {
    let open = OpenSocket::get(thread, fd)?;
    let socket = open.socket();
    let bytes = address::read_bytes(address, length)?;
    let caller = caller(thread);
    let address = address::parse(thread, socket.kind(), &bytes, Purpose::Connect)?;
    socket.note_groups(&thread.credentials().groups);
    let mut patience = send_patience(open.open(), socket, sockets::MessageFlags::empty());
    let under_way = match socket.connect(&address, &caller) {
        Ok(Progress::Done(_)) => return Ok(0),
        Ok(Progress::WouldBlock) if socket.is_connect_at_once() => {
            patience.wait(thread, open.open(), PollEvents::WRITABLE, || done(socket.connect(&address, &caller)))?;
            return Ok(0);
        }
        Ok(Progress::WouldBlock) => Errno::EINPROGRESS,
        // It was under way before: who may wait waits for its end.
        Err(Errno::EALREADY) => Errno::EALREADY,
        Err(errno) => return Err(errno.into()),
    };
    let end = patience.wait(thread, open.open(), PollEvents::WRITABLE, || done(socket.finish_connect()));
    match end {
        Ok(()) => Ok(0),
        Err(SyscallError::Errno(Errno::EAGAIN)) => Err(under_way.into()),
        Err(error) => Err(error),
    }
}

/// The answer of an attempt, for the wait loop.
fn done(result: file::IoResult) -> Result<Option<()>, Errno> {
    result.map(|progress| matches!(progress, Progress::Done(_)).then_some(()))
}

pub(crate) fn listen(thread: &Thread, fd: Fd, backlog: i32) -> SyscallResult {
    let open = OpenSocket::get(thread, fd)?;
    // Negative ones are very large ones.
    let backlog = if (0..=SOMAXCONN).contains(&backlog) { backlog } else { SOMAXCONN };
    open.socket().note_groups(&thread.credentials().groups);
    open.socket().listen(backlog, &caller(thread))?;
    Ok(0)
}

pub(crate) fn accept(thread: &Thread, fd: Fd, address: UserPtr, length: UserPtr) -> SyscallResult {
    accept4(thread, fd, address, length, 0)
}

pub(crate) fn accept4(thread: &Thread, fd: Fd, address: UserPtr, length: UserPtr, flags: u32) -> SyscallResult {
    thread.fds().get(fd.raw())?;
    let flags = KindFlags::from_bits(flags.cast_signed())?;
    let listener = OpenSocket::get(thread, fd)?;
    let reservation = thread.fds().reserve(flags.closes_on_exec)?;
    let socket = listener.socket();
    let mut patience = receive_patience(listener.open(), socket, sockets::MessageFlags::empty());
    let accepted = match socket.accept()? {
        Some(accepted) => accepted,
        None => patience.wait(thread, listener.open(), PollEvents::READABLE, || socket.accept())?,
    };
    let kind = accepted.socket.kind();
    // Dropped on the way out, it closes the connection.
    let open = open_file(accepted.socket, caller(thread), flags.is_nonblocking);
    if !address.is_null() {
        address::write(&address::to_bytes(kind, &accepted.peer), address, length.address())?;
    }
    Ok(number(reservation.install(open)))
}

pub(crate) fn getsockname(thread: &Thread, fd: Fd, address: UserPtr, length: UserPtr) -> SyscallResult {
    let open = OpenSocket::get(thread, fd)?;
    name_of(open.socket(), Socket::local_address, address, length)
}

pub(crate) fn getpeername(thread: &Thread, fd: Fd, address: UserPtr, length: UserPtr) -> SyscallResult {
    let open = OpenSocket::get(thread, fd)?;
    name_of(open.socket(), Socket::peer_address, address, length)
}

fn name_of(
    socket: &dyn Socket,
    get: fn(&dyn Socket) -> Result<Address, Errno>,
    address: UserPtr,
    length: UserPtr,
) -> SyscallResult {
    let name = get(socket)?;
    address::write(&address::to_bytes(socket.kind(), &name), address, length.address())?;
    Ok(0)
}

pub(crate) fn shutdown(thread: &Thread, fd: Fd, how: i32) -> SyscallResult {
    let open = OpenSocket::get(thread, fd)?;
    let half = match how {
        SHUT_RD => Half::Read,
        SHUT_WR => Half::Write,
        SHUT_RDWR => Half::Both,
        _ => return Err(Errno::EINVAL.into()),
    };
    open.socket().shutdown(half)?;
    Ok(0)
}
