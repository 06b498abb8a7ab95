//! What the socket calls share: finding the socket of a descriptor, names and ancillary data between the bytes of programs and the forms
//! of `net`, and waiting as the socket's options say.

pub(crate) mod address;
pub(crate) mod control;
pub(crate) mod linger;
pub(crate) mod pages;
pub(crate) mod transfer;

use alloc::sync::Arc;

use abi::resource::RLIMIT_NOFILE;
use abi::{Errno, Fd, OpenFlags, PollEvents};
use file::{FdRef, OpenFile};
use net::socket::{Caller, Socket, SocketCredentials, SocketFile};
use sync::machine::{self, NEVER};

use crate::credentials::{CAP_SYS_ADMIN, CAP_SYS_RESOURCE};
use crate::error::{Restart, SyscallError};
use crate::lookup::file_as;
use crate::thread::Thread;
use crate::wait;

/// `CAP_NET_BIND_SERVICE`.
const CAP_NET_BIND_SERVICE: u32 = 10;
/// `CAP_NET_ADMIN`.
pub(crate) const CAP_NET_ADMIN: u32 = 12;
/// `CAP_NET_RAW`.
const CAP_NET_RAW: u32 = 13;

/// An open socket.
pub(crate) struct OpenSocket<'a> {
    open: FdRef<'a>,
}

impl<'a> OpenSocket<'a> {
    /// The socket behind a descriptor. `EBADF`, or `ENOTSOCK` for something else.
    pub(crate) fn get(thread: &'a Thread, fd: Fd) -> Result<Self, Errno> {
        let open = thread.fds().get(fd.raw())?;
        if file_as::<SocketFile>(&open).is_some() { Ok(Self { open }) } else { Err(Errno::ENOTSOCK) }
    }

    /// The open file.
    pub(crate) fn open(&self) -> &OpenFile {
        &self.open
    }

    /// Its inode number, which no other socket has had.
    pub(crate) fn inode(&self) -> u64 {
        file_as::<SocketFile>(&self.open).map_or(0, SocketFile::inode)
    }

    /// The socket itself.
    #[inline]
    pub(crate) fn socket(&self) -> &dyn Socket {
        let file = file_as::<SocketFile>(&self.open).expect("what is behind the open file never changes");
        &**file.socket()
    }
}

/// Who calls, for sockets.
#[inline]
pub(crate) fn caller(thread: &Thread) -> Caller {
    let credentials = thread.credentials();
    let is_unlimited = credentials.has(CAP_SYS_RESOURCE) || credentials.has(CAP_SYS_ADMIN);
    Caller {
        credentials: SocketCredentials {
            pid: thread.process().pid(),
            uid: credentials.user.effective,
            gid: credentials.group.effective,
        },
        may_bind_low_ports: credentials.has(CAP_NET_BIND_SERVICE),
        may_use_raw: credentials.has(CAP_NET_RAW),
        is_network_admin: credentials.has(CAP_NET_ADMIN),
        in_flight_max: if is_unlimited { u64::MAX } else { thread.process().soft_limit(RLIMIT_NOFILE) },
    }
}

/// Makes the open file of a socket, in blocking mode or not.
pub(crate) fn open_file(socket: Arc<dyn Socket>, creator: Caller, is_nonblocking: bool) -> Arc<OpenFile> {
    let mode = if is_nonblocking { OpenFlags::NONBLOCK } else { OpenFlags::empty() };
    OpenFile::new(SocketFile::new(socket, creator), OpenFlags::RDWR | mode)
}

/// How long a call on a socket may wait.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    timeout_ns: u64,
    /// Found out at the first wait, and then the same for all waits of a call.
    deadline_ns: Option<u64>,
}

impl Patience {
    /// None at all, or as long as `timeout_ns` says ([`NEVER`] for no limit).
    pub(crate) fn new(is_nonblocking: bool, timeout_ns: u64) -> Self {
        Self { timeout_ns: if is_nonblocking { 0 } else { timeout_ns }, deadline_ns: None }
    }

    /// Whether the call does not wait.
    pub(crate) fn is_none(self) -> bool {
        self.timeout_ns == 0
    }

    /// Waits for `events` until `attempt`, which has just found nothing, has an answer. `EAGAIN` when the time is up. Interrupted, a call without a
    /// time-out restarts as `SA_RESTART` says, and one with a time-out never does, for it would wait too long.
    pub(crate) fn wait<T>(
        &mut self,
        thread: &Thread,
        open: &OpenFile,
        events: PollEvents,
        mut attempt: impl FnMut() -> Result<Option<T>, Errno>,
    ) -> Result<T, SyscallError> {
        if self.is_none() {
            return Err(Errno::EAGAIN.into());
        }
        let timeout_ns = self.timeout_ns;
        let start = || if timeout_ns == NEVER { NEVER } else { machine::now_ns().saturating_add(timeout_ns) };
        let deadline_ns = *self.deadline_ns.get_or_insert_with(start);
        let file = open.file();
        let source = file.wait_queue().map(|queue| wait::Source { queue, events });
        let check = || attempt().transpose();
        let answer = match source {
            Some(source) if file.wakes_one(events) => {
                wait::until_turn(thread, source, deadline_ns, check, || file.readiness().intersects(events))
            }
            source => wait::until_one(thread, source, deadline_ns, check),
        };
        match answer {
            Ok(Some(result)) => Ok(result?),
            Ok(None) => Err(Errno::EAGAIN.into()),
            Err(interrupted) if timeout_ns == NEVER => Err(interrupted.restart(Restart::IfAllowed)),
            Err(_) => Err(Errno::EINTR.into()),
        }
    }
}
