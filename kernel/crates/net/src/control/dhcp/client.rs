//! [`Client`]: the states of a DHCP client, RFC 2131, section 4.4, without packets and without addresses being set.
//!
//! It is given messages and the time, and answers [`Action`]s. An address is used as soon as the server has acknowledged it, so that a machine is
//! on the network without delay; who has it already answers the probe that goes out with it, and then it is declined ([`Client::conflict`]).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use smoltcp::wire::DhcpMessageType;
use sync::machine::{self, NEVER};

const SECOND_NS: u64 = 1_000_000_000;
/// The first wait for an answer; each next one is twice as long.
const RETRY_FIRST_NS: u64 = 2 * SECOND_NS;
/// The longest wait for an answer.
const RETRY_MAX_NS: u64 = 64 * SECOND_NS;
/// Requests for an offer before another one is looked for.
const REQUESTS_MAX: u32 = 4;
/// The pause after a conflict (RFC 2131, section 3.1, point 5).
const CONFLICT_PAUSE_NS: u64 = 10 * SECOND_NS;
/// How often an address that is used already is defended: once in this time (RFC 5227, section 2.4).
const DEFEND_INTERVAL_NS: u64 = 10 * SECOND_NS;
/// A lease is renewed at intervals of at least this (RFC 2131, section 4.4.5).
const RENEW_INTERVAL_MIN_NS: u64 = 60 * SECOND_NS;
/// The shortest lease: servers that give less are not believed.
const LEASE_MIN_SECONDS: u32 = 60;
/// Name servers that are taken from a lease.
pub(crate) const NAME_SERVERS_MAX: usize = 4;

/// What a server gives, or offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix_len: u8,
    pub(crate) router: Option<Ipv4Addr>,
    pub(crate) name_servers: Vec<Ipv4Addr>,
    pub(crate) domain: Option<String>,
    pub(crate) mtu: Option<u16>,
    pub(crate) server: Ipv4Addr,
    /// Seconds; `u32::MAX` for ever.
    pub(crate) duration_seconds: u32,
    pub(crate) renew_seconds: Option<u32>,
    pub(crate) rebind_seconds: Option<u32>,
}

/// A message from a server.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) kind: DhcpMessageType,
    pub(crate) transaction: u32,
    pub(crate) lease: Lease,
}

/// A message to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: DhcpMessageType,
    pub(crate) transaction: u32,
    /// Since the client began.
    pub(crate) seconds: u16,
    /// The address that the client has and uses.
    pub(crate) client: Option<Ipv4Addr>,
    pub(crate) requested: Option<Ipv4Addr>,
    pub(crate) server: Option<Ipv4Addr>,
    /// To this server alone; to all if there is none.
    pub(crate) unicast: Option<Ipv4Addr>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send a message.
    Send(Message),
    /// Use a lease until then, in place of what was used before.
    Configure(Lease, u64),
    /// Use no lease any more.
    Release,
    /// Say on the link that the address is in use here.
    Announce(Ipv4Addr),
}

#[derive(Clone, Debug)]
enum State {
    /// Nothing is known; at the time due one asks.
    Init,
    /// Offers are awaited.
    Selecting,
    /// An offer was asked for.
    Requesting(Lease),
    /// There is a lease since then.
    Bound(Bound),
    /// Its server is asked for more time.
    Renewing(Bound),
    /// Any server is.
    Rebinding(Bound),
}

#[derive(Clone, Debug)]
struct Bound {
    lease: Lease,
    renew_ns: u64,
    rebind_ns: u64,
    end_ns: u64,
}

/// A client.
pub(crate) struct Client {
    state: State,
    transaction: u32,
    started_ns: u64,
    due_ns: u64,
    attempts: u32,
    /// When the last message was sent.
    sent_ns: u64,
    defended_ns: Option<u64>,
}

impl Client {
    /// A client that begins at once.
    pub(crate) fn new(now_ns: u64) -> Self {
        let (state, transaction) = (State::Init, random());
        Self { state, transaction, started_ns: now_ns, due_ns: now_ns, attempts: 0, sent_ns: now_ns, defended_ns: None }
    }

    /// When [`Client::poll`] has something to do.
    pub(crate) fn due_ns(&self) -> u64 {
        self.due_ns
    }

    /// The lease in use.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound(bound) | State::Renewing(bound) | State::Rebinding(bound) => Some(&bound.lease),
            _ => None,
        }
    }

    /// Does what is due.
    pub(crate) fn poll(&mut self, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.due_ns > now_ns {
            return actions;
        }
        match self.state.clone() {
            State::Init => {
                self.start(now_ns);
                self.ask(DhcpMessageType::Discover, now_ns, &mut actions);
            }
            State::Selecting => self.ask(DhcpMessageType::Discover, now_ns, &mut actions),
            State::Requesting(_) if self.attempts < REQUESTS_MAX => {
                self.ask(DhcpMessageType::Request, now_ns, &mut actions);
            }
            State::Requesting(_) => self.restart(now_ns, now_ns),
            State::Bound(bound) | State::Renewing(bound) | State::Rebinding(bound) => {
                self.extend(bound, now_ns, &mut actions)
            }
        }
        actions
    }

    /// Takes a message.
    pub(crate) fn receive(&mut self, reply: Reply, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if reply.transaction != self.transaction {
            return actions;
        }
        let lease = reply.lease;
        match (reply.kind, &self.state) {
            (DhcpMessageType::Offer, State::Selecting) if lease.is_sound() => {
                self.state = State::Requesting(lease);
                self.attempts = 0;
                self.ask(DhcpMessageType::Request, now_ns, &mut actions);
            }
            (DhcpMessageType::Ack, State::Requesting(_) | State::Renewing(_) | State::Rebinding(_))
                if lease.is_sound() =>
            {
                self.bind(lease, now_ns, &mut actions);
            }
            (DhcpMessageType::Nak, State::Requesting(offer)) if offer.server == lease.server => {
                self.restart(now_ns, now_ns.saturating_add(SECOND_NS));
            }
            (DhcpMessageType::Nak, State::Renewing(_) | State::Rebinding(_)) => {
                actions.push(Action::Release);
                self.restart(now_ns, now_ns);
            }
            _ => {}
        }
        actions
    }

    /// The link is up again: this may be another network.
    pub(crate) fn link_up(&mut self, now_ns: u64) {
        match &self.state {
            // The server is asked at once whether the address is still right.
            State::Bound(_) | State::Renewing(_) | State::Rebinding(_) => self.due_ns = now_ns,
            _ => self.restart(now_ns, now_ns),
        }
    }

    /// Somebody else says that it has `address`.
    pub(crate) fn conflict(&mut self, address: Ipv4Addr, now_ns: u64) -> Vec<Action> {
        let Some(lease) = self.lease().filter(|lease| lease.address == address).cloned() else { return Vec::new() };
        let is_new = now_ns.saturating_sub(self.sent_ns) < DEFEND_INTERVAL_NS && matches!(self.state, State::Bound(_));
        let may_defend = self.defended_ns.is_none_or(|last_ns| now_ns.saturating_sub(last_ns) >= DEFEND_INTERVAL_NS);
        if !is_new && may_defend {
            self.defended_ns = Some(now_ns);
            return alloc::vec![Action::Announce(address)];
        }
        let decline = Message {
            kind: DhcpMessageType::Decline,
            requested: Some(address),
            server: Some(lease.server),
            ..self.message(DhcpMessageType::Decline, now_ns)
        };
        self.restart(now_ns, now_ns.saturating_add(CONFLICT_PAUSE_NS));
        alloc::vec![Action::Send(decline), Action::Release]
    }

    fn start(&mut self, now_ns: u64) {
        self.state = State::Selecting;
        self.started_ns = now_ns;
        self.transaction = random();
        self.attempts = 0;
    }

    fn restart(&mut self, now_ns: u64, at_ns: u64) {
        self.state = State::Init;
        self.started_ns = now_ns;
        self.due_ns = at_ns;
    }

    fn bind(&mut self, lease: Lease, now_ns: u64, actions: &mut Vec<Action>) {
        // Times count from the request (RFC 2131, section 4.4.1).
        let after = |seconds: u64| self.sent_ns.saturating_add(seconds.saturating_mul(SECOND_NS));
        let duration = u64::from(lease.duration_seconds);
        let (mut renew, mut rebind) = (duration / 2, duration * 7 / 8);
        if let (Some(given_renew), Some(given_rebind)) = (lease.renew_seconds, lease.rebind_seconds)
            && given_renew < given_rebind
            && u64::from(given_rebind) < duration
        {
            (renew, rebind) = (given_renew.into(), given_rebind.into());
        }
        let bound = match lease.duration_seconds {
            u32::MAX => Bound { renew_ns: NEVER, rebind_ns: NEVER, end_ns: NEVER, lease },
            _ => Bound { renew_ns: after(renew), rebind_ns: after(rebind), end_ns: after(duration), lease },
        };
        let is_new = self.lease().is_none_or(|known| known.address != bound.lease.address);
        self.due_ns = bound.renew_ns;
        actions.push(Action::Configure(bound.lease.clone(), bound.end_ns));
        if is_new {
            actions.push(Action::Announce(bound.lease.address));
            self.sent_ns = now_ns;
        }
        self.state = State::Bound(bound);
    }

    fn extend(&mut self, bound: Bound, now_ns: u64, actions: &mut Vec<Action>) {
        if now_ns >= bound.end_ns {
            actions.push(Action::Release);
            self.restart(now_ns, now_ns);
            return;
        }
        if matches!(self.state, State::Bound(_)) {
            self.transaction = random();
            self.started_ns = now_ns;
        }
        let until_ns = if now_ns >= bound.rebind_ns { bound.end_ns } else { bound.rebind_ns };
        let rest_ns = until_ns.saturating_sub(now_ns);
        self.state = if now_ns >= bound.rebind_ns { State::Rebinding(bound) } else { State::Renewing(bound) };
        let message = self.message(DhcpMessageType::Request, now_ns);
        self.sent_ns = now_ns;
        self.due_ns = now_ns.saturating_add((rest_ns / 2).max(RENEW_INTERVAL_MIN_NS)).min(until_ns);
        actions.push(Action::Send(message));
    }

    /// Sends a message of the search for a lease, and waits longer each time.
    fn ask(&mut self, kind: DhcpMessageType, now_ns: u64, actions: &mut Vec<Action>) {
        let wait_ns = RETRY_FIRST_NS.checked_shl(self.attempts.min(8)).unwrap_or(RETRY_MAX_NS).min(RETRY_MAX_NS);
        // Half a second more or less, so that machines which start together do not stay together.
        let jitter_ns = u64::from(random()) % SECOND_NS;
        self.due_ns = now_ns.saturating_add(wait_ns + jitter_ns - SECOND_NS / 2);
        self.attempts = self.attempts.saturating_add(1);
        self.sent_ns = now_ns;
        actions.push(Action::Send(self.message(kind, now_ns)));
    }

    fn message(&self, kind: DhcpMessageType, now_ns: u64) -> Message {
        let seconds = now_ns.saturating_sub(self.started_ns) / SECOND_NS;
        let mut message = Message {
            kind,
            transaction: self.transaction,
            seconds: u16::try_from(seconds).unwrap_or(u16::MAX),
            client: None,
            requested: None,
            server: None,
            unicast: None,
        };
        match &self.state {
            State::Requesting(offer) => (message.requested, message.server) = (Some(offer.address), Some(offer.server)),
            State::Renewing(bound) => {
                (message.client, message.unicast) = (Some(bound.lease.address), Some(bound.lease.server));
            }
            State::Rebinding(bound) => message.client = Some(bound.lease.address),
            _ => {}
        }
        message
    }
}

impl Lease {
    fn is_sound(&self) -> bool {
        let address = self.address;
        let is_host =
            !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast() && !address.is_loopback();
        is_host && !self.server.is_unspecified() && self.duration_seconds >= LEASE_MIN_SECONDS
    }
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    machine::fill_entropy(&mut bytes);
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

    fn reply(client: &Client, kind: DhcpMessageType) -> Reply {
        let lease = Lease {
            address: ADDRESS,
            prefix_len: 24,
            router: Some(SERVER),
            name_servers: alloc::vec![Ipv4Addr::new(10, 0, 2, 3)],
            domain: None,
            mtu: None,
            server: SERVER,
            duration_seconds: 1000,
            renew_seconds: None,
            rebind_seconds: None,
        };
        Reply { kind, transaction: client.transaction, lease }
    }

    fn sent(actions: &[Action]) -> &Message {
        match actions {
            [Action::Send(message), ..] => message,
            other => panic!("{other:?}"),
        }
    }

    fn bound() -> Client {
        let mut client = Client::new(0);
        assert_eq!(sent(&client.poll(0)).kind, DhcpMessageType::Discover);
        let request = client.receive(reply(&client, DhcpMessageType::Offer), 0);
        let message = sent(&request);
        assert_eq!((message.requested, message.server, message.client), (Some(ADDRESS), Some(SERVER), None));
        let actions = client.receive(reply(&client, DhcpMessageType::Ack), 0);
        assert!(
            matches!(&actions[..], [Action::Configure(_, end_ns), Action::Announce(ADDRESS)] if *end_ns == 1000 * SECOND_NS)
        );
        client
    }

    #[test]
    fn a_lease_is_found_renewed_rebound_and_lost() {
        let mut client = bound();
        assert_eq!(client.due_ns(), 500 * SECOND_NS);
        let message = sent(&client.poll(500 * SECOND_NS)).clone();
        assert_eq!((message.unicast, message.client, message.server), (Some(SERVER), Some(ADDRESS), None));
        let again = client.receive(reply(&client, DhcpMessageType::Ack), 501 * SECOND_NS);
        assert!(matches!(&again[..], [Action::Configure(_, end_ns)] if *end_ns == 1500 * SECOND_NS));
        assert!(client.poll(999 * SECOND_NS).is_empty());
        let mut last = 0;
        let mut now_ns = client.due_ns();
        let mut is_broadcast = false;
        while client.lease().is_some() {
            let actions = client.poll(now_ns);
            if let [Action::Send(message)] = &actions[..] {
                assert!(now_ns - last >= 60 * SECOND_NS || message.unicast.is_none() != is_broadcast);
                is_broadcast = message.unicast.is_none();
                last = now_ns;
            }
            now_ns = client.due_ns();
        }
        assert!(is_broadcast && now_ns >= 1500 * SECOND_NS);
    }

    #[test]
    fn requests_are_repeated_ever_slower_and_given_up() {
        let mut client = Client::new(0);
        client.poll(0);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let now_ns = client.due_ns();
            client.poll(now_ns);
            waits.push((client.due_ns() - now_ns + SECOND_NS / 2) / SECOND_NS);
        }
        assert!(
            waits
                .iter()
                .zip([4, 8, 16, 32, 64, 64, 64])
                .all(|(wait, expected)| (expected..=expected + 1).contains(wait))
        );
        client.receive(reply(&client, DhcpMessageType::Offer), client.due_ns());
        for _ in 0..REQUESTS_MAX {
            client.poll(client.due_ns());
        }
        assert_eq!(sent(&client.poll(client.due_ns())).kind, DhcpMessageType::Discover);
    }

    #[test]
    fn refusals_and_conflicts_begin_anew() {
        let mut client = bound();
        client.poll(500 * SECOND_NS);
        assert_eq!(client.receive(reply(&client, DhcpMessageType::Nak), 500 * SECOND_NS), [Action::Release]);
        let mut client = bound();
        let actions = client.conflict(ADDRESS, SECOND_NS);
        assert_eq!((sent(&actions).kind, sent(&actions).requested), (DhcpMessageType::Decline, Some(ADDRESS)));
        assert_eq!((&actions[1], client.due_ns()), (&Action::Release, 11 * SECOND_NS));
        let mut client = bound();
        assert_eq!(client.conflict(ADDRESS, 100 * SECOND_NS), [Action::Announce(ADDRESS)]);
        assert!(matches!(&client.conflict(ADDRESS, 101 * SECOND_NS)[..], [Action::Send(_), Action::Release]));
    }

    #[test]
    fn what_is_not_sound_or_not_asked_for_is_ignored() {
        let mut client = Client::new(0);
        client.poll(0);
        let mut offer = reply(&client, DhcpMessageType::Offer);
        offer.transaction ^= 1;
        assert!(client.receive(offer, 0).is_empty());
        let mut offer = reply(&client, DhcpMessageType::Offer);
        offer.lease.address = Ipv4Addr::BROADCAST;
        assert!(client.receive(offer, 0).is_empty());
        assert!(client.receive(reply(&client, DhcpMessageType::Ack), 0).is_empty());
        assert!(client.lease().is_none());
    }
}
