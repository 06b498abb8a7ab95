//! [`Ports`]: who has which port, for one transport protocol.
//!
//! 1. A socket that is bound holds a [`Claim`]: a port, the addresses it stands for, and the two options by which claims share. The claim ends
//!    when it is dropped; the last of a connection may be in a record of TIME-WAIT.
//! 2. Two claims of one port conflict when some address is covered by both, unless both have `SO_REUSEADDR` and neither listens, or both have
//!    `SO_REUSEPORT` and one user (socket(7); Linux's `inet_csk_bind_conflict`). For UDP the words about listening do not apply.
//! 3. A connection of a socket that was never bound takes an ephemeral port, which other such connections may have as well: their other ends tell
//!    them apart. Such claims are [`Sharing::Outgoing`] and conflict with those of bound sockets only.
//! 4. No two connections of the machine with itself have the same ends. The claim of one that takes an ephemeral port says where it goes, and
//!    conflicts with others to there. One of a bound socket has a claim for its ends beside that for its port ([`Sharing::Pair`]),
//!    as others may share the port. Either lasts until both ends are gone; the former ends as well when its socket resets the connection by a `connect` to
//!    no address.
//! 5. Ephemeral ports are chosen at random (RFC 6056, 3.3.1), from Linux's range.
//!
//! Lock rank: [`rank::PORT_TABLES`].

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use abi::Errno;
use sync::{Mutex, machine, rank};

use crate::flow_key::address_bits;
use crate::settings;

/// The first port given to who does not choose, if [`settings`] say nothing else.
pub const EPHEMERAL_FIRST: u16 = 32_768;
/// The last one.
pub const EPHEMERAL_LAST: u16 = 60_999;
/// Sorts of claims of one port.
const CLAIMS_MAX: usize = 1 << 20;

/// The addresses a claim stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One address.
    Exact(IpAddr),
    /// All of IPv4.
    AnyV4,
    /// All of IPv6.
    AnyV6,
    /// All of both: an IPv6 socket without `IPV6_V6ONLY`.
    AnyDual,
}

impl Scope {
    /// The scope of a socket that is bound to `address`.
    #[must_use]
    pub fn of(address: IpAddr, is_v6_only: bool) -> Self {
        match address {
            IpAddr::V4(address) if address.is_unspecified() => Self::AnyV4,
            IpAddr::V6(address) if address.is_unspecified() && is_v6_only => Self::AnyV6,
            IpAddr::V6(address) if address.is_unspecified() => Self::AnyDual,
            address => Self::Exact(address.to_canonical()),
        }
    }

    /// Whether it covers `address`.
    #[must_use]
    pub fn covers(self, address: IpAddr) -> bool {
        match self {
            Self::Exact(own) => address_bits(own) == address_bits(address),
            Self::AnyV4 => address.to_canonical().is_ipv4(),
            Self::AnyV6 => address.to_canonical().is_ipv6(),
            Self::AnyDual => true,
        }
    }

    fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Exact(address), other) | (other, Self::Exact(address)) => other.covers(address),
            (Self::AnyV4, Self::AnyV6) | (Self::AnyV6, Self::AnyV4) => false,
            _ => true,
        }
    }
}

/// By what a claim shares its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// A socket that was bound.
    Bound {
        /// `SO_REUSEADDR`, as it is now.
        reuse_address: bool,
        /// `SO_REUSEPORT` with the socket's user.
        reuse_port: Option<u32>,
        /// It takes connections.
        is_listening: bool,
    },
    /// A connection of a socket that was not bound.
    Outgoing {
        /// `SO_REUSEADDR`, as it was.
        reuse_address: bool,
        /// The other end, within the machine.
        within: Option<SocketAddr>,
    },
    /// A connection within the machine, to this end, of a socket that was bound.
    Pair(SocketAddr),
}

/// By what a connection that has ended shares its port: with who says `SO_REUSEADDR`.
const ENDED: Sharing = Sharing::Outgoing { reuse_address: true, within: None };

/// Claims of the same sort.
#[derive(Clone, Copy, Debug)]
struct Class {
    scope: Scope,
    sharing: Sharing,
    count: u32,
}

impl Class {
    fn conflicts(&self, scope: Scope, sharing: Sharing) -> bool {
        if !self.scope.overlaps(scope) {
            return false;
        }
        match (self.sharing, sharing) {
            (Sharing::Outgoing { within, .. }, Sharing::Outgoing { within: other, .. }) => {
                within.is_some() && within == other
            }
            (Sharing::Outgoing { within, .. }, Sharing::Pair(remote))
            | (Sharing::Pair(remote), Sharing::Outgoing { within, .. }) => within == Some(remote),
            (Sharing::Pair(remote), Sharing::Pair(other)) => remote == other,
            (Sharing::Pair(_), Sharing::Bound { .. }) | (Sharing::Bound { .. }, Sharing::Pair(_)) => false,
            (
                Sharing::Bound { reuse_address, reuse_port, is_listening },
                Sharing::Bound { reuse_address: other_address, reuse_port: other_port, is_listening: other_listening },
            ) => {
                let both_reuse = reuse_address && other_address && !is_listening && !other_listening;
                let both_share = reuse_port.is_some() && reuse_port == other_port;
                !(both_reuse || both_share)
            }
            // A server that binds again does not mind what its machine's own connections have, if both say so.
            (Sharing::Outgoing { reuse_address: other, .. }, Sharing::Bound { reuse_address, is_listening, .. })
            | (Sharing::Bound { reuse_address, is_listening, .. }, Sharing::Outgoing { reuse_address: other, .. }) => {
                !(reuse_address && other) || is_listening
            }
        }
    }
}

/// The ports of a transport protocol.
pub struct Ports {
    claims: Mutex<BTreeMap<u16, Vec<Class>>>,
}

/// A port that somebody has, until this is dropped.
pub struct Claim {
    ports: Arc<Ports>,
    port: u16,
    scope: Scope,
    sharing: Sharing,
}

impl Ports {
    /// Nobody has any.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { claims: Mutex::new(rank::PORT_TABLES, BTreeMap::new()) })
    }

    /// Claims `port`, or an ephemeral one for 0. `EADDRINUSE` if it, or all of them, are taken.
    pub fn claim(self: &Arc<Self>, port: u16, scope: Scope, sharing: Sharing) -> Result<Claim, Errno> {
        if port != 0 {
            return self.try_claim(port, scope, sharing).ok_or(Errno::EADDRINUSE);
        }
        self.ephemeral(|port| self.try_claim(port, scope, sharing)).ok_or(Errno::EADDRINUSE)
    }

    /// Claims a port for a connection, one that `is_free` finds no connection to the same end for; `within` is that end, if it is
    /// the machine's own. `EADDRNOTAVAIL` if all are taken.
    pub fn claim_outgoing(
        self: &Arc<Self>,
        local: IpAddr,
        reuse_address: bool,
        within: Option<SocketAddr>,
        is_free: impl Fn(u16) -> bool,
    ) -> Result<Claim, Errno> {
        let scope = Scope::Exact(local.to_canonical());
        let sharing = Sharing::Outgoing { reuse_address, within };
        let attempt = |port| is_free(port).then(|| self.try_claim(port, scope, sharing)).flatten();
        self.ephemeral(attempt).ok_or(Errno::EADDRNOTAVAIL)
    }

    /// Claims the ends of a connection of a bound socket within the machine. `EADDRNOTAVAIL`: one has them.
    pub fn claim_pair(self: &Arc<Self>, local: SocketAddr, remote: SocketAddr) -> Result<Claim, Errno> {
        let scope = Scope::Exact(local.ip().to_canonical());
        self.try_claim(local.port(), scope, Sharing::Pair(remote)).ok_or(Errno::EADDRNOTAVAIL)
    }

    /// Keeps a port from those who do not share, for a connection that has ended, until [`Ports::release`].
    pub(crate) fn hold(&self, local: IpAddr, port: u16) {
        let mut claims = self.claims.lock();
        // There are fewer connections than the bound.
        let _is_counted = Self::count_in(claims.entry(port).or_default(), Scope::Exact(local), ENDED);
    }

    /// Undoes [`Ports::hold`].
    pub(crate) fn release(&self, local: IpAddr, port: u16) {
        Self::count_out(&mut self.claims.lock(), port, Scope::Exact(local), ENDED);
    }

    /// Tries all ephemeral ports from a random one on.
    fn ephemeral(&self, mut attempt: impl FnMut(u16) -> Option<Claim>) -> Option<Claim> {
        let mut bytes = [0; 4];
        machine::fill_entropy(&mut bytes);
        let (first, last) = settings::ephemeral_ports();
        let count = u32::from(last - first) + 1;
        let start = u32::from_le_bytes(bytes) % count;
        (0..count).find_map(|step| {
            let offset = u16::try_from((start + step) % count).ok()?;
            attempt(first + offset)
        })
    }

    fn try_claim(self: &Arc<Self>, port: u16, scope: Scope, sharing: Sharing) -> Option<Claim> {
        let mut claims = self.claims.lock();
        let classes = claims.entry(port).or_default();
        if classes.iter().any(|class| class.conflicts(scope, sharing)) {
            return None;
        }
        Self::count_in(classes, scope, sharing)?;
        Some(Claim { ports: Arc::clone(self), port, scope, sharing })
    }

    fn count_in(classes: &mut Vec<Class>, scope: Scope, sharing: Sharing) -> Option<()> {
        match classes.iter().position(|class| class.scope == scope && class.sharing == sharing) {
            Some(index) => classes[index].count = classes[index].count.checked_add(1)?,
            None if classes.len() < CLAIMS_MAX => classes.push(Class { scope, sharing, count: 1 }),
            None => return None,
        }
        Some(())
    }

    fn count_out(claims: &mut BTreeMap<u16, Vec<Class>>, port: u16, scope: Scope, sharing: Sharing) {
        let Some(classes) = claims.get_mut(&port) else { return };
        if let Some(index) = classes.iter().position(|class| class.scope == scope && class.sharing == sharing) {
            classes[index].count -= 1;
            if classes[index].count == 0 {
                classes.swap_remove(index);
            }
        }
        if classes.is_empty() {
            claims.remove(&port);
        }
    }
}

impl Claim {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether it is of a connection within the machine to this end.
    #[must_use]
    pub fn is_within(&self, remote: SocketAddr) -> bool {
        matches!(self.sharing, Sharing::Outgoing { within: Some(end), .. } if end == remote)
    }

    /// Another claim of the same sort, which always shares with this one: a connection that a listener took.
    #[must_use]
    pub fn share(&self) -> Self {
        let sharing = match self.sharing {
            Sharing::Bound { reuse_address, reuse_port, .. } => {
                Sharing::Bound { reuse_address, reuse_port, is_listening: false }
            }
            other => other,
        };
        let mut claims = self.ports.claims.lock();
        let classes = claims.entry(self.port).or_default();
        // There are fewer connections than the bound.
        let _is_counted = Ports::count_in(classes, self.scope, sharing);
        drop(claims);
        Self { ports: Arc::clone(&self.ports), port: self.port, scope: self.scope, sharing }
    }

    /// Shares as `sharing` says from now on; whether it takes connections stays as it is.
    pub fn renew(&mut self, sharing: Sharing) {
        let (Sharing::Bound { is_listening, .. }, Sharing::Bound { reuse_address, reuse_port, .. }) =
            (self.sharing, sharing)
        else {
            return;
        };
        let sharing = Sharing::Bound { reuse_address, reuse_port, is_listening };
        let mut claims = self.ports.claims.lock();
        Ports::count_out(&mut claims, self.port, self.scope, self.sharing);
        // There is room: it was counted a moment ago.
        let _is_counted = Ports::count_in(claims.entry(self.port).or_default(), self.scope, sharing);
        drop(claims);
        self.sharing = sharing;
    }

    /// Makes it that of a socket that takes connections. `EADDRINUSE` if another one does already that it cannot share with.
    pub fn listen(&mut self) -> Result<(), Errno> {
        let Sharing::Bound { reuse_address, reuse_port, .. } = self.sharing else { return Ok(()) };
        let sharing = Sharing::Bound { reuse_address, reuse_port, is_listening: true };
        let mut claims = self.ports.claims.lock();
        Ports::count_out(&mut claims, self.port, self.scope, self.sharing);
        let classes = claims.entry(self.port).or_default();
        // Connections of an earlier server, which share the address, do not keep this one from listening; another listener does.
        let is_taken = |class: &Class| {
            matches!(class.sharing, Sharing::Bound { is_listening: true, .. }) && class.conflicts(self.scope, sharing)
        };
        let result = if classes.iter().any(is_taken) { Err(Errno::EADDRINUSE) } else { Ok(sharing) };
        let kept = result.unwrap_or(self.sharing);
        let _is_counted = Ports::count_in(classes, self.scope, kept);
        drop(claims);
        self.sharing = kept;
        result.map(drop)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        Ports::count_out(&mut self.ports.claims.lock(), self.port, self.scope, self.sharing);
    }
}

impl core::fmt::Debug for Claim {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "Claim({} of {:?}, {:?})", self.port, self.scope, self.sharing)
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use testkit as _;

    use super::*;

    const PLAIN: Sharing = Sharing::Bound { reuse_address: false, reuse_port: None, is_listening: false };
    const REUSING: Sharing = Sharing::Bound { reuse_address: true, reuse_port: None, is_listening: false };
    const HERE: Scope = Scope::Exact(IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[test]
    fn claims_of_one_address_conflict_and_end() {
        let ports = Ports::new();
        let claim = ports.claim(80, HERE, PLAIN).unwrap();
        assert_eq!(ports.claim(80, HERE, PLAIN).unwrap_err(), Errno::EADDRINUSE);
        assert!(ports.claim(80, Scope::AnyV4, PLAIN).is_err() && ports.claim(80, Scope::AnyDual, PLAIN).is_err());
        assert!(ports.claim(80, Scope::AnyV6, PLAIN).is_ok());
        assert!(ports.claim(80, Scope::Exact(Ipv6Addr::LOCALHOST.into()), PLAIN).is_ok());
        assert!(ports.claim(80, Scope::Exact(Ipv4Addr::new(10, 0, 0, 1).into()), PLAIN).is_ok());
        drop(claim);
        assert!(ports.claim(80, HERE, PLAIN).is_ok() && ports.claims.lock().is_empty());
    }

    #[test]
    fn addresses_are_reused_by_those_who_agree_until_one_listens() {
        let ports = Ports::new();
        let mut first = ports.claim(80, HERE, REUSING).unwrap();
        assert!(ports.claim(80, HERE, PLAIN).is_err());
        let mut second = ports.claim(80, HERE, REUSING).unwrap();
        first.listen().unwrap();
        assert_eq!(second.listen(), Err(Errno::EADDRINUSE));
        assert!(ports.claim(80, HERE, REUSING).is_err());
        // What the first has accepted does not keep a later server from the port.
        let accepted = first.share();
        drop((first, second));
        assert!(ports.claim(80, HERE, PLAIN).is_err());
        let mut next = ports.claim(80, HERE, REUSING).unwrap();
        next.listen().unwrap();
        drop((accepted, next));
        assert!(ports.claims.lock().is_empty());
    }

    #[test]
    fn one_users_sockets_share_a_port_and_listen_side_by_side() {
        let ports = Ports::new();
        let of = |user| Sharing::Bound { reuse_address: false, reuse_port: Some(user), is_listening: false };
        let mut claims: Vec<_> = (0..3).map(|_| ports.claim(80, HERE, of(7)).unwrap()).collect();
        claims.iter_mut().for_each(|claim| claim.listen().unwrap());
        assert!(ports.claim(80, HERE, of(8)).is_err());
    }

    #[test]
    fn two_connections_within_the_machine_never_have_the_same_ends() {
        let ports = Ports::new();
        let ends: [SocketAddr; 2] = [([127, 0, 0, 1], 5000).into(), ([127, 0, 0, 1], 80).into()];
        let bound = ports.claim(5000, HERE, PLAIN).unwrap();
        let pair = ports.claim_pair(ends[0], ends[1]).unwrap();
        assert_eq!(ports.claim_pair(ends[0], ends[1]).unwrap_err(), Errno::EADDRNOTAVAIL);
        assert!(ports.claim_pair(ends[1], ends[0]).is_ok(), "the other way is another connection");
        assert!(ports.claim_pair(ends[0], ([127, 0, 0, 2], 80).into()).is_ok());
        drop(bound);
        // Nor one that chooses a port of its own.
        let there = |end| ports.claim_outgoing(ends[0].ip(), true, Some(end), |port| port == 5000);
        assert_eq!(there(ends[1]).unwrap_err(), Errno::EADDRNOTAVAIL);
        // The port is for others, the ends are not.
        drop(ports.claim(5000, HERE, PLAIN).unwrap());
        assert!(ports.claim_pair(ends[0], ends[1]).is_err());
        drop(pair);
        assert!(ports.claim_pair(ends[0], ends[1]).is_ok());
        assert!(ports.claims.lock().is_empty());
    }

    #[test]
    fn an_address_is_reused_once_its_owner_says_so() {
        let ports = Ports::new();
        let mut first = ports.claim(80, HERE, PLAIN).unwrap();
        assert!(ports.claim(80, HERE, REUSING).is_err());
        first.renew(REUSING);
        let second = ports.claim(80, HERE, REUSING).unwrap();
        first.renew(PLAIN);
        assert!(ports.claim(80, HERE, REUSING).is_err());
        drop((first, second));
        assert!(ports.claims.lock().is_empty());
    }

    #[test]
    fn ephemeral_ports_are_spread_and_shared_by_connections_only() {
        let ports = Ports::new();
        let claims: Vec<_> = (0..2000).map(|_| ports.claim(0, HERE, PLAIN).unwrap()).collect();
        let mut numbers: Vec<_> = claims.iter().map(Claim::port).collect();
        assert!(numbers.iter().all(|port| (EPHEMERAL_FIRST..=EPHEMERAL_LAST).contains(port)));
        assert!(numbers.windows(2).any(|pair| pair[0] > pair[1]), "they come in no order");
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 2000);
        let local = Ipv4Addr::LOCALHOST.into();
        let first = ports.claim_outgoing(local, false, None, |_| true).unwrap();
        assert!(!numbers.contains(&first.port()));
        let same = ports.claim_outgoing(local, false, None, |port| port == first.port()).unwrap();
        assert_eq!(same.port(), first.port());
        assert!(ports.claim(first.port(), HERE, PLAIN).is_err());
        assert_eq!(ports.claim_outgoing(local, false, None, |_| false).unwrap_err(), Errno::EADDRNOTAVAIL);
    }
}
