//! TCP Fast Open's server half (RFC 7413, 4.2): cookies for who asks, and connections of a SYN that carries data.
//!
//! 1. It is for listeners with `TCP_FASTOPEN`, while the machine is set to it ([`super::fast_open`]). A cookie is a keyed hash of both addresses:
//!    who has one has had an answer at its own. A key may have one before it, whose cookies are good too and are followed by one of the newer.
//! 2. A connection whose SYN carries a good cookie can be accepted at once, with that data, before the third segment; what is wrong with a cookie
//!    leaves a connection like any other, and a good cookie in the answer.
//! 3. A listener has so many of these that are not complete as its option says ([`FastOpenQueue`]); beyond that data is not taken. One that is reset keeps
//!    its [`Place`] for a minute: who knows a cookie of somebody else's address could have that reset as many as it likes (5.1).
//!
//! Lock: [`rank::PORT_TABLES`], never with another of this rank; below that of the socket whose place it is.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::net::IpAddr;

use siphasher::sip::SipHasher24;
use sync::{Mutex, machine, rank};

use super::Tcp;
use super::engine::{Cookie, Handshake, SegmentFlags, Settings};
use super::fast_open::{CookieKey, CookieKeys, KEY_LEN, SERVER, SERVER_WITHOUT_COOKIE};
use super::listener::Listener;
use super::passive::{Stray, accepted};
use super::socket::TcpSocket;
use super::wire::Wire;
use crate::Stack;
use crate::flow_key::FlowKey;
use crate::frame::ReceivedFrame;
use crate::settings;

/// How long a connection that was reset keeps its place (RFC 7413, 5.1; Linux's time).
const RESET_NS: u64 = 60 * 1_000_000_000;

/// How many connections of a listener came with data and are not complete.
pub(super) struct FastOpenQueue {
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    taken: usize,
    /// Until when those are taken whose connections were reset.
    reset_until_ns: VecDeque<u64>,
}

impl FastOpenQueue {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { places: Mutex::new(rank::PORT_TABLES, Places::default()) })
    }

    /// A place, if fewer than `places_max` are taken.
    fn enter(self: &Arc<Self>, places_max: u32, now_ns: u64) -> Option<Place> {
        let mut places = self.places.lock();
        while places.reset_until_ns.front().is_some_and(|until_ns| *until_ns <= now_ns) {
            places.reset_until_ns.pop_front();
            places.taken -= 1;
        }
        if places.taken >= places_max as usize {
            return None;
        }
        places.taken += 1;
        drop(places);
        Some(Place { queue: Some(Arc::clone(self)) })
    }
}

/// A place in a [`FastOpenQueue`]. Dropped, it is free.
pub(super) struct Place {
    queue: Option<Arc<FastOpenQueue>>,
}

impl Place {
    /// The connection is complete, or was reset.
    pub(super) fn leave(mut self, is_reset: bool, now_ns: u64) {
        let Some(queue) = self.queue.as_ref().filter(|_| is_reset) else { return };
        let mut places = queue.places.lock();
        if places.reset_until_ns.try_reserve(1).is_ok() {
            places.reset_until_ns.push_back(now_ns.saturating_add(RESET_NS));
            drop(places);
            self.queue = None;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.places.lock().taken -= 1;
        }
    }
}

/// What is done about the cookie and the data of a SYN.
pub(super) enum FastOpenVerdict {
    /// Nothing.
    Plain,
    /// The answer carries a cookie.
    Give(Cookie),
    /// The data is taken; the answer may carry another cookie.
    Take(Place, Option<Cookie>),
}

/// The cookie for who sends from the other end of a flow. It is the one of Linux (`__tcp_fastopen_cookie_gen_cipher`): servers that share
/// an address and a key understand each other's.
fn cookie(key: &CookieKey, flow: &FlowKey) -> Option<Cookie> {
    let mut addresses = [0; 32];
    let mut len = 0;
    for end in [flow.remote_end(), flow.local_end()] {
        let (v4, v6);
        let octets: &[u8] = match end.ip() {
            IpAddr::V4(address) => {
                v4 = address.octets();
                &v4
            }
            IpAddr::V6(address) => {
                v6 = address.octets();
                &v6
            }
        };
        addresses[len..len + octets.len()].copy_from_slice(octets);
        len += octets.len();
    }
    Cookie::from_bytes(&SipHasher24::new_with_key(key).hash(&addresses[..len]).to_le_bytes())
}

impl Tcp {
    /// The keys of listeners that have none of their own (`net.ipv4.tcp_fastopen_key`). None until somebody sets them or a listener may need them.
    pub fn fast_open_keys(&self) -> Option<CookieKeys> {
        *self.fast_open_keys.lock()
    }

    /// Sets these keys.
    pub fn set_fast_open_keys(&self, keys: CookieKeys) {
        *self.fast_open_keys.lock() = Some(keys);
    }

    /// Makes a key that nobody knows, unless there are keys (`tcp_fastopen_init_key_once`).
    pub(super) fn need_fast_open_keys(&self) {
        if self.fast_open_keys().is_none() {
            let mut newest = [0; KEY_LEN];
            machine::fill_entropy(&mut newest);
            self.fast_open_keys.lock().get_or_insert(CookieKeys { newest, before: None });
        }
    }

    /// What to do about the cookie and the data of a SYN for `listener`, whose socket is `owner` (`tcp_try_fastopen`).
    pub(super) fn judge_fast_open(
        &self,
        listener: &Listener,
        owner: &TcpSocket,
        stray: &Stray,
        now_ns: u64,
    ) -> FastOpenVerdict {
        let bits = settings::TCP_FASTOPEN.get();
        let asked = stray.header.fast_open;
        if bits & SERVER == 0 || (asked.is_none() && stray.payload_len == 0) {
            return FastOpenVerdict::Plain;
        }
        let options = owner.inner.lock().fast_open;
        let Some(place) = listener.fast_open.enter(options.queue_max, now_ns) else { return FastOpenVerdict::Plain };
        let is_plain_syn = !stray.header.flags.intersects(SegmentFlags::FIN | SegmentFlags::URG);
        let needs_no_cookie = options.needs_no_cookie || bits & SERVER_WITHOUT_COOKIE != 0;
        if needs_no_cookie && is_plain_syn {
            return FastOpenVerdict::Take(place, None);
        }
        let Some(asked) = asked else { return FastOpenVerdict::Plain };
        let Some(keys) = options.keys.or_else(|| self.fast_open_keys()) else { return FastOpenVerdict::Plain };
        let Some(newest) = cookie(&keys.newest, &stray.key) else { return FastOpenVerdict::Plain };
        let before = keys.before.and_then(|key| cookie(&key, &stray.key));
        match () {
            () if is_plain_syn && asked == newest => FastOpenVerdict::Take(place, None),
            () if is_plain_syn && Some(asked) == before => FastOpenVerdict::Take(place, Some(newest)),
            () => FastOpenVerdict::Give(newest),
        }
    }

    /// Makes a connection of a SYN, and lets it wait to be accepted.
    pub(super) fn take_fast(
        &self,
        stack: &Arc<Stack>,
        stray: &Stray,
        frame: ReceivedFrame,
        (listener, owner, settings): (&Listener, &TcpSocket, Settings),
        given: (Place, Option<Cookie>),
        now_ns: u64,
    ) {
        let key = stray.key;
        if !self.has_room(stack, listener, false) {
            return;
        }
        let Ok(route) = self.route_of(stack, &key, stray.interface) else { return };
        let sequence = self.secrets().initial_sequence(&key, now_ns);
        let offset = self.secrets().timestamp_offset(&key);
        let handshake = Handshake::from_syn(&stray.header, &settings, sequence, offset);
        let syn = (&stray.header, frame);
        let wire = Wire::accept_fast(self, key, (&handshake, settings), route, syn, given, now_ns);
        let Some(socket) = accepted(stack, owner, owner.inherited(), wire) else { return };
        socket.begin_fast(now_ns);
        if !listener.push(Arc::clone(&socket)) {
            socket.end(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;
    use crate::flow_key::protocol;

    #[test]
    fn cookies_are_those_of_linux() {
        // As a server with the key 03020100-07060504-0b0a0908-0f0e0d0c gave them.
        let key = core::array::from_fn(|index| u8::try_from(index).unwrap());
        for (server, client, bytes) in [
            ("127.0.0.1:5000", "127.0.0.2:40000", [0x13, 0xbf, 0x03, 0x1f, 0xe8, 0xee, 0x51, 0x92]),
            ("[fd97::1]:5000", "[fd97::2]:40000", [0x43, 0xee, 0x86, 0xe7, 0x51, 0x71, 0x36, 0x6d]),
        ] {
            let ends: [SocketAddr; 2] = [server, client].map(|end| end.parse().unwrap());
            let flow = FlowKey::new(protocol::TCP, ends[0], ends[1]);
            assert_eq!(cookie(&key, &flow), Cookie::from_bytes(&bytes), "{client}");
        }
    }

    #[test]
    fn places_are_counted_and_those_of_resets_come_back_late() {
        let queue = FastOpenQueue::new();
        assert!(queue.enter(0, 0).is_none());
        let (first, second) = (queue.enter(2, 0).unwrap(), queue.enter(2, 0).unwrap());
        assert!(queue.enter(2, 0).is_none());
        first.leave(false, 5);
        second.leave(true, 5);
        let third = queue.enter(2, 5).unwrap();
        assert!(queue.enter(2, RESET_NS).is_none());
        let fourth = queue.enter(2, RESET_NS + 5).unwrap();
        drop((third, fourth));
        assert_eq!(queue.places.lock().taken, 0);
    }
}
