//! TCP Fast Open (RFC 7413) as programs have it: `MSG_FASTOPEN`, `TCP_FASTOPEN_CONNECT`, and the cookies of servers.
//!
//! 1. A send with `MSG_FASTOPEN` connects. With a cookie of the server its first bytes go with the SYN; without one the SYN asks for it, and
//!    all bytes follow when the connection is there.
//! 2. With `TCP_FASTOPEN_CONNECT` it is `connect` that asks; and where there is a cookie `connect` does nothing, and the first send connects.
//! 3. [`Cookies`] keeps what servers gave, by address. A cookie whose SYN had to be sent again is forgotten: something on the way may not like it.
//! 4. To this machine itself nothing travels in segments: the bytes are written as soon as both ends are there.
//!
//! What a segment carries is [`super::engine`]'s business. Lock: [`rank::PORT_TABLES`], never with another of this rank.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use abi::inet::{TCP_FASTOPEN, TCP_FASTOPEN_CONNECT};
use abi::{Errno, PollEvents};
use mm::user::UserReader;
use sync::{Mutex, MutexGuard, rank};

use super::Tcp;
use super::engine::{Cookie, Engine, FastOpen};
use super::listener::Listener;
use super::socket::{Inner, Phase, TcpSocket};
use crate::room;
use crate::settings::{self, BACKLOG_MAX};
use crate::socket::{Address, MessageFlags, Opening, SendRequest};

/// Servers whose cookies are kept.
const COOKIES_MAX: usize = 64;
/// Bytes that are looked at to go with a SYN: more than any has room for.
const DATA_LEN_MAX: usize = 9000;
/// Bits of `net.ipv4.tcp_fastopen`: connections may ask (`TFO_CLIENT_ENABLE`), servers may give (`TFO_SERVER_ENABLE`), and nobody needs a cookie to
/// send data (`TFO_CLIENT_NO_COOKIE`).
const CLIENT: u32 = 1;
pub(super) const SERVER: u32 = 2;
const CLIENT_WITHOUT_COOKIE: u32 = 4;
/// Two more: nobody needs a cookie to have data taken (`TFO_SERVER_COOKIE_NOT_REQD`), and every listener takes some (`TFO_SERVER_WO_SOCKOPT1`).
pub(super) const SERVER_WITHOUT_COOKIE: u32 = 0x200;
const SERVER_ALL: u32 = 0x400;

/// What a socket wants of it.
#[derive(Clone, Copy, Default)]
pub(super) struct FastOpenOptions {
    /// `TCP_FASTOPEN`: connections that a listener takes before they are complete.
    pub(super) queue_max: u32,
    /// `TCP_FASTOPEN_CONNECT`.
    pub(super) is_deferring: bool,
    /// `TCP_FASTOPEN_NO_COOKIE`.
    pub(super) needs_no_cookie: bool,
    /// `TCP_FASTOPEN_KEY`: what cookies are made with, and those of a key before it are still good.
    pub(super) keys: Option<CookieKeys>,
}

/// Bytes of a key (`TCP_FASTOPEN_KEY_LENGTH`).
pub(super) const KEY_LEN: usize = 16;
/// What cookies are made with.
pub type CookieKey = [u8; KEY_LEN];

/// The keys of a listener, or of all that have none of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieKeys {
    /// What new cookies are made with.
    pub newest: CookieKey,
    /// The key before it, whose cookies are still good.
    pub before: Option<CookieKey>,
}

impl CookieKeys {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &CookieKey> {
        core::iter::once(&self.newest).chain(&self.before)
    }
}

impl FastOpenOptions {
    /// The socket listens from now on: all do so with data, if the machine is set to that.
    pub(super) fn listen(&mut self, tcp: &Tcp, backlog: u32) {
        let wanted = SERVER | SERVER_ALL;
        if settings::TCP_FASTOPEN.get() & wanted == wanted && self.queue_max == 0 {
            self.queue_max = backlog;
            tcp.need_fast_open_keys();
        }
    }

    /// Sets the keys. `EINVAL` for bytes that are neither one nor two.
    pub(super) fn set_keys(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let (newest, rest) = bytes.split_first_chunk().ok_or(Errno::EINVAL)?;
        let before = if rest.is_empty() { None } else { Some(rest.try_into().map_err(|_| Errno::EINVAL)?) };
        self.keys = Some(CookieKeys { newest: *newest, before });
        Ok(())
    }
}

/// Whether programs may use it (`net.ipv4.tcp_fastopen`).
pub(super) fn is_allowed() -> bool {
    settings::TCP_FASTOPEN.get() & CLIENT != 0
}

/// The cookies of servers, the newest at the end.
pub(super) struct Cookies {
    kept: Mutex<Vec<(IpAddr, Cookie)>>,
}

impl Cookies {
    pub(super) fn new() -> Self {
        Self { kept: Mutex::new(rank::PORT_TABLES, Vec::new()) }
    }

    /// A server gave a cookie, or did not take the one it gave.
    pub(super) fn note(&self, server: IpAddr, cookie: Option<Cookie>) {
        let mut kept = self.kept.lock();
        let known = kept.iter().position(|(other, _)| *other == server);
        // Where there is no room the oldest gives way.
        if let Some(index) = known.or((cookie.is_some() && kept.len() >= COOKIES_MAX).then_some(0)) {
            kept.remove(index);
        }
        kept.extend(cookie.map(|cookie| (server, cookie)));
    }

    fn get(&self, server: IpAddr) -> Option<Cookie> {
        self.kept.lock().iter().find(|(other, _)| *other == server).map(|(_, cookie)| *cookie)
    }
}

/// Sets one of the options that are an `int`.
pub(super) fn set_option(tcp: &Tcp, inner: &mut Inner, option: i32, value: i32) -> Result<(), Errno> {
    let is_idle = matches!(inner.phase, Phase::Idle);
    let may_set = is_idle || option != TCP_FASTOPEN_CONNECT && matches!(inner.phase, Phase::Listening(_));
    let value = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
    if option != TCP_FASTOPEN && value > 1 {
        return Err(Errno::EINVAL);
    }
    if option == TCP_FASTOPEN_CONNECT && !is_allowed() {
        return Err(Errno::EOPNOTSUPP);
    }
    if !may_set {
        return Err(Errno::EINVAL);
    }
    match option {
        TCP_FASTOPEN => {
            tcp.need_fast_open_keys();
            inner.fast_open.queue_max = value.min(BACKLOG_MAX.get());
        }
        TCP_FASTOPEN_CONNECT => inner.fast_open.is_deferring = value != 0,
        _ => inner.fast_open.needs_no_cookie = value != 0,
    }
    Ok(())
}

impl TcpSocket {
    /// The option of a SYN with data to `server`; none if data has to wait, as there is no cookie.
    fn option_for_data(&self, inner: &Inner, server: IpAddr) -> Option<Option<Cookie>> {
        if inner.fast_open.needs_no_cookie || settings::TCP_FASTOPEN.get() & CLIENT_WITHOUT_COOKIE != 0 {
            return Some(None);
        }
        self.stack.tcp().cookies.get(server).map(Some)
    }

    /// What goes with the SYN of a connection to `server`: `data` are the bytes of the send that connects, if it is one.
    pub(super) fn fast_open_to<'a>(&self, inner: &Inner, server: IpAddr, data: Option<&'a [u8]>) -> FastOpen<'a> {
        if data.is_none() && !inner.fast_open.is_deferring {
            return FastOpen::default();
        }
        match self.option_for_data(inner, server) {
            Some(option) => FastOpen { option, data: data.unwrap_or_default() },
            None => FastOpen { option: Some(Cookie::REQUEST), data: &[] },
        }
    }

    /// Whether `connect` to `server` waits for the first bytes to send.
    pub(super) fn defers_connecting(&self, inner: &Inner, server: IpAddr) -> bool {
        inner.fast_open.is_deferring && is_allowed() && self.option_for_data(inner, server).is_some()
    }

    /// What a listener of this machine gives to who asks.
    pub(super) fn note_local_cookie(&self, listener: &Listener, server: IpAddr, fast: &FastOpen<'_>) {
        let asks = fast.option.is_some_and(|cookie| cookie.is_request());
        let gives = || listener.owner().is_some_and(|owner| owner.inner.lock().fast_open.queue_max > 0);
        if asks && settings::TCP_FASTOPEN.get() & SERVER != 0 && gives() {
            // Nobody checks it: the ends know each other.
            self.stack.tcp().cookies.note(server, Cookie::from_bytes(&[0; 8]));
        }
    }

    /// A send found nothing to send to: begins the connection that it is to begin, if so.
    pub(super) fn open_by_sending(&self, request: &mut SendRequest<'_, '_>) -> Result<Opening, Errno> {
        let is_wanted = request.flags.contains(MessageFlags::FASTOPEN);
        let deferred = self.deferred_remote();
        if !is_wanted && deferred.is_none() {
            return Ok(Opening::No);
        }
        if !is_allowed() || request.address == Some(&Address::Unspecified) {
            return Err(Errno::EOPNOTSUPP);
        }
        // Without memory all of it goes behind the SYN.
        let mut data = room::zeroes(request.from.remaining().min(DATA_LEN_MAX)).unwrap_or_default();
        // Bytes that cannot be read are for the send to find out.
        let len = request.from.clone().read(&mut data).unwrap_or(0);
        data.truncate(len);
        let taken = match (deferred, request.address) {
            (Some(remote), _) => self.begin_deferred(remote, &data)?,
            (None, Some(address)) => match self.begin(address, Some(&data))? {
                None => return Ok(Opening::Open),
                Some(taken) => taken,
            },
            (None, None) if matches!(self.inner.lock().phase, Phase::Idle) => return Err(Errno::EINVAL),
            (None, None) => {
                self.connect_again()?;
                return Ok(Opening::Open);
            }
        };
        request.from.skip(taken);
        Ok(Opening::UnderWay(taken))
    }

    fn deferred_remote(&self) -> Option<SocketAddr> {
        match self.inner.lock().phase {
            Phase::Waiting { remote, is_deferred: true } => Some(remote),
            _ => None,
        }
    }

    fn begin_deferred(&self, remote: SocketAddr, data: &[u8]) -> Result<usize, Errno> {
        let mut inner = self.inner.lock();
        if !matches!(inner.phase, Phase::Waiting { is_deferred: true, .. }) {
            return Err(Errno::EALREADY);
        }
        inner.phase = Phase::Idle;
        self.begin_to(inner, remote, Some(data))
    }

    /// Where the ends of a local connection have met, the bytes that would have come with the first segment. Answers how many were taken.
    pub(super) fn send_first_locally(&self, fast: &FastOpen<'_>) -> usize {
        if fast.data.is_empty() {
            return 0;
        }
        let inner = self.inner.lock();
        match &inner.phase {
            // What does not go is left to who sends.
            Phase::Local(_) => {
                let sent = self.send_within(inner, &mut UserReader::from_kernel(fast.data), None);
                sent.ok().flatten().unwrap_or(0)
            }
            // Refused: they went with what was answered so.
            Phase::Idle => fast.data.len(),
            _ => 0,
        }
    }

    /// What a connection over the network has taken of the bytes for its first segment.
    pub(super) fn sent_first(inner: &MutexGuard<'_, Inner>) -> usize {
        match &inner.phase {
            Phase::Wire(wire) => wire.engine.unacknowledged_len().0,
            _ => 0,
        }
    }

    /// What `poll` says while nothing is connected: a socket that connects by sending is there to be sent to.
    pub(super) const fn waiting_events(is_deferred: bool) -> PollEvents {
        if is_deferred { PollEvents::WRITABLE } else { PollEvents::empty() }
    }
}
