//! Sockets: what programs see of the network.
//!
//! - [`Socket`]: what every kind of socket answers. As files do, sockets never block: they answer that they would, and wake their queue.
//! - [`SocketFile`]: a socket as an open file.
//! - [`Address`], [`ControlMessage`]: names and ancillary data, in kernel form. Their bytes are `linux`'s business.

pub mod address;
mod control_message;
mod datagram;
mod factory;
mod file;
mod flags;
pub(crate) mod inet_options;
pub mod listing;
pub mod netlink;
mod open_sockets;
pub mod options;
pub mod raw;
pub mod udp;
pub mod unix;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use ::file::{IoResult, Progress};
use abi::{Errno, PollEvents};
use mm::user::{UserReader, UserWriter};
use sync::WaitQueue;

use crate::frame::Piece;
use crate::loan::Lent;

pub use self::factory::{Pair, create, create_pair};
pub use self::file::SocketFile;
pub use address::{Address, UnixName};
pub use control_message::{ControlMessage, SocketCredentials};
pub(crate) use datagram::lacks_scope;
pub use flags::MessageFlags;
pub use open_sockets::open_sockets;

/// What sort of socket it is, in Linux's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `AF_`.
    pub domain: i32,
    /// `SOCK_`, without flags.
    pub kind: i32,
    /// `IPPROTO_`, or the domain's own numbers.
    pub protocol: i32,
}

/// Which halves `shutdown` closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// `SHUT_RD`.
    Read,
    /// `SHUT_WR`.
    Write,
    /// `SHUT_RDWR`.
    Both,
}

/// Who calls, as far as sockets care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What `SCM_CREDENTIALS` and `SO_PEERCRED` say of it.
    pub credentials: SocketCredentials,
    /// `CAP_NET_BIND_SERVICE`.
    pub may_bind_low_ports: bool,
    /// `CAP_NET_RAW`.
    pub may_use_raw: bool,
    /// `CAP_NET_ADMIN`.
    pub is_network_admin: bool,
    /// How many files its user may have in messages that nobody has received.
    pub in_flight_max: u64,
}

/// A message to send.
pub struct SendRequest<'a, 'b> {
    /// The bytes. A stream takes part of them, and moves it; a datagram socket takes all or nothing.
    pub from: &'a mut UserReader<'b>,
    /// The destination, if the call names one.
    pub address: Option<&'a Address>,
    /// Ancillary data. A stream takes it with the first byte, and leaves the list empty.
    pub control: &'a mut Vec<ControlMessage>,
    /// `DONTWAIT`, `NOSIGNAL` and `WAITALL` are the caller's business.
    pub flags: MessageFlags,
    /// Who sends.
    pub caller: &'a Caller,
}

/// Where a message is received.
pub struct ReceiveRequest<'a, 'b> {
    /// Room for the bytes.
    pub to: &'a mut UserWriter<'b>,
    /// `PEEK`, `TRUNC`, `OOB` and `ERRQUEUE` matter. `DONTWAIT` is there whenever the caller will not wait.
    pub flags: MessageFlags,
    /// Whether the caller takes ancillary data; what it carries is lost otherwise (descriptors are closed).
    pub wants_control: bool,
}

/// A message that was received. Bytes that were written to the request count in `len`.
#[derive(Debug, Default)]
pub struct Received {
    /// What the call answers: bytes written, or with [`MessageFlags::TRUNC`] the message's whole length.
    pub len: usize,
    /// The sender, of sockets without connections.
    pub address: Option<Address>,
    /// Ancillary data in the order in which Linux gives it.
    pub control: Vec<ControlMessage>,
    /// `TRUNC`, `EOR`, `OOB`, `ERRQUEUE`. `CTRUNC` is the caller's.
    pub flags: MessageFlags,
}

/// What [`Socket::open_by_send`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nothing: a send does not connect.
    No,
    /// It is connected.
    Open,
    /// A connection is under way, with so many bytes of the message.
    UnderWay(usize),
}

/// A connection that was waiting to be accepted.
pub struct Accepted {
    /// Its socket.
    pub socket: Arc<dyn Socket>,
    /// The other end.
    pub peer: Address,
}

/// A socket. What does not apply to a kind answers Linux's error, which the defaults are.
///
/// No method sleeps for an event. Methods that touch program memory (those with a reader or writer) are called without locks.
pub trait Socket: Any + Send + Sync {
    /// What it is.
    fn kind(&self) -> Kind;

    /// Sets the local address.
    fn bind(&self, address: &Address, caller: &Caller) -> Result<(), Errno>;

    /// Starts a connection, or sets the peer. `Done`: it is connected. `WouldBlock`: it is under way, and [`Socket::finish_connect`] tells of its
    /// end. `EALREADY`: it was under way before.
    fn connect(&self, address: &Address, caller: &Caller) -> IoResult;

    /// The calling process, which is about to have it connect or listen, is in these supplementary groups.
    fn note_groups(&self, groups: &Arc<[u32]>) {
        let _ = groups;
    }

    /// How a connection attempt stands: done, under way, or the error it failed with.
    fn finish_connect(&self) -> IoResult {
        Ok(Progress::Done(0))
    }

    /// Whether [`Socket::connect`] connects at once or not at all: after `WouldBlock` it is called again when the socket is writable, and
    /// `EAGAIN` says that there was no room. Otherwise `WouldBlock` says that a connection is under way.
    fn is_connect_at_once(&self) -> bool {
        false
    }

    /// Takes connections from now on, so many of which may wait. The caller has cut `backlog` to `SOMAXCONN`.
    fn listen(&self, backlog: i32, caller: &Caller) -> Result<(), Errno> {
        let _ = (backlog, caller);
        Err(Errno::EOPNOTSUPP)
    }

    /// A connection that waits; none if there is none now.
    fn accept(&self) -> Result<Option<Accepted>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Its own address.
    fn local_address(&self) -> Result<Address, Errno>;

    /// The other end's; `ENOTCONN` without one.
    fn peer_address(&self) -> Result<Address, Errno>;

    /// Sends. `EPIPE` makes the caller raise `SIGPIPE` on stream sockets.
    fn send(&self, request: &mut SendRequest<'_, '_>) -> IoResult;

    /// [`Socket::send`] would block: begins the connection that the send itself is to begin, if so. The caller then waits for its end
    /// ([`Socket::finish_connect`]) and sends what is left.
    fn open_by_send(&self, request: &mut SendRequest<'_, '_>) -> Result<Opening, Errno> {
        let _ = request;
        Ok(Opening::No)
    }

    /// Whether [`Socket::send_pages`] sends pages where they lie now; it may not do so later, or in another state.
    fn takes_pages(&self) -> bool {
        false
    }

    /// Sends pieces that are not copied, as many as there is room for, and answers the bytes. `has_more`: others follow at once.
    fn send_pages(&self, pieces: &[Piece], has_more: bool) -> IoResult {
        let _ = (pieces, has_more);
        Err(Errno::EOPNOTSUPP)
    }

    /// Receives; none if nothing is there now. End of stream is a message of length 0.
    fn receive(&self, request: &mut ReceiveRequest<'_, '_>) -> Result<Option<Received>, Errno>;

    /// Reads bytes, as `receive` does without flags; none if nothing is there now.
    fn read(&self, to: &mut UserWriter<'_>) -> Result<Option<usize>, Errno> {
        let mut request = ReceiveRequest { to, flags: MessageFlags::empty(), wants_control: false };
        Ok(self.receive(&mut request)?.map(|received| received.len))
    }

    /// Writes bytes, as `send` does without flags and ancillary data.
    fn write(&self, from: &mut UserReader<'_>, caller: &Caller) -> IoResult {
        let mut control = Vec::new();
        let flags = MessageFlags::empty();
        self.send(&mut SendRequest { from, address: None, control: &mut control, flags, caller })
    }

    /// Lends what was received, in up to `pieces_max` buffers, instead of copying it; none if nothing is there now.
    /// `EMSGSIZE` for a datagram that lies in more buffers; it stays.
    fn lend(&self, pieces_max: usize) -> Result<Option<Lent>, Errno> {
        let _ = pieces_max;
        Err(Errno::EOPNOTSUPP)
    }

    /// Closes halves of the connection.
    fn shutdown(&self, half: Half) -> Result<(), Errno>;

    /// Sets an option that is not one of [`options::SocketOptions`]. `value` is at most [`OPTION_LEN_MAX`] bytes of what the program gave.
    fn set_option(&self, level: i32, option: i32, value: &[u8], caller: &Caller) -> Result<(), Errno> {
        let _ = (level, option, value, caller);
        Err(Errno::ENOPROTOOPT)
    }

    /// The value of such an option, in full; the caller cuts it to the program's length. `wanted` is that length, and `argument` the bytes that the
    /// program has there, for the few options that read them.
    fn option(&self, level: i32, option: i32, wanted: usize, argument: &[u8]) -> Result<Vec<u8>, Errno> {
        let _ = (level, option, wanted, argument);
        Err(Errno::ENOPROTOOPT)
    }

    /// The options that all sockets have.
    fn options(&self) -> &options::SocketOptions;

    /// Whether it listens (`SO_ACCEPTCONN`).
    fn is_listening(&self) -> bool {
        false
    }

    /// Takes the pending error (`SO_ERROR`).
    fn take_error(&self) -> Option<Errno> {
        None
    }

    /// Leaves an error behind, which the next call finds.
    fn set_error(&self, errno: Errno) {
        let _ = errno;
    }

    /// Socket `ioctl`s of this kind (`SIOCINQ`, `SIOCOUTQ`, `SIOCATMARK`); those about interfaces are not its business.
    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, Errno> {
        let _ = (command, argument);
        Err(Errno::ENOTTY)
    }

    /// Whether urgent data was announced since the last call, of which the owner is told (`SIGURG`). Callable from
    /// interrupts.
    fn take_urgent_news(&self) -> bool {
        false
    }

    /// What would not block now. Drains what has arrived first, so that the answer is true.
    fn readiness(&self) -> PollEvents;

    /// As [`Socket::readiness`] for who wants these events: what is harder to find out about others may be left out.
    fn readiness_of(&self, wanted: PollEvents) -> PollEvents {
        let _ = wanted;
        self.readiness()
    }

    /// Woken when [`Socket::readiness`] may have grown.
    fn wait_queue(&self) -> &WaitQueue;

    /// As `file::File::wakes_one`.
    fn wakes_one(&self, events: PollEvents) -> bool {
        let _ = events;
        false
    }

    /// A descriptor of its open file was closed.
    fn descriptor_closed(&self, open: &::file::OpenFile) {
        let _ = open;
    }

    /// The last descriptor is closed. `SO_LINGER` with no time at all makes it a reset; with some, the caller may wait while
    /// [`Socket::is_lingering`].
    fn close(&self);

    /// Whether it is closed, and the other end has not acknowledged all that was sent. [`Socket::wait_queue`] is woken when that ends.
    fn is_lingering(&self) -> bool {
        false
    }
}

/// The longest option value that is looked at.
pub const OPTION_LEN_MAX: usize = 64 * 1024;
