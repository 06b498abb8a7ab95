//! [`Control`]: the state of what belongs to no flow, and what its users may ask of it.
//!
//! One lock of rank `NETWORK_CONTROL`, which is taken for what is rare; nothing is sent and no configuration changed under it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sync::machine::NEVER;
use sync::{Mutex, rank};

use super::CONTROL_CPU;
use super::dhcp::Client;
use super::icmp::Bucket;
use super::membership::Report;
use super::reassembly::Reassembly;
use super::router::Discovery;
use crate::Stack;
use crate::interface::Origin;

/// Name servers that are remembered.
pub const NAME_SERVERS_MAX: usize = 16;

/// The state of what belongs to no flow.
pub struct Control {
    /// When something is due.
    pub(super) next_ns: AtomicU64,
    /// A link came up or went down, and nobody has been told yet.
    pub(crate) has_link_change: AtomicBool,
    state: Mutex<State>,
}

/// What the lock protects.
#[derive(Default)]
pub(super) struct State {
    /// DHCP clients by the number of their interface.
    pub(super) clients: BTreeMap<u32, Client>,
    /// What interfaces wait for, by their numbers.
    pub(super) discoveries: BTreeMap<u32, Discovery>,
    pub(super) reassembly: Reassembly,
    pub(super) reports: Vec<Report>,
    /// Until when routers on the link of an interface speak IGMPv2.
    pub(super) igmp2_until_ns: BTreeMap<u32, u64>,
    /// And MLDv1.
    pub(super) mld1_until_ns: BTreeMap<u32, u64>,
    bucket: Bucket,
    hostname: String,
    resolvers: Vec<Resolver>,
}

struct Resolver {
    interface: u32,
    origin: Origin,
    servers: Vec<IpAddr>,
    domain: Option<String>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            next_ns: AtomicU64::new(NEVER),
            has_link_change: AtomicBool::new(false),
            state: Mutex::new(rank::NETWORK_CONTROL, State::default()),
        }
    }
}

impl Control {
    /// The name that this machine gives itself towards DHCP servers.
    pub fn set_hostname(&self, name: &str) {
        self.state.lock().hostname = name.into();
    }

    /// Lets fragments that wait for others take no more than this.
    pub(crate) fn limit_fragments(&self, bytes: usize) {
        self.state.lock().reassembly.limit(bytes);
    }

    /// See [`Control::set_hostname`].
    #[must_use]
    pub fn hostname(&self) -> String {
        self.state.lock().hostname.clone()
    }

    /// The name servers to ask, configured ones first, and the domain to search.
    #[must_use]
    pub fn name_servers(&self) -> (Vec<IpAddr>, Option<String>) {
        let state = self.state.lock();
        let mut servers = Vec::new();
        for server in state.resolvers.iter().flat_map(|resolver| &resolver.servers) {
            if !servers.contains(server) && servers.len() < NAME_SERVERS_MAX {
                servers.push(*server);
            }
        }
        (servers, state.resolvers.iter().find_map(|resolver| resolver.domain.clone()))
    }

    /// Replaces what one origin has said of name servers on one interface.
    pub(super) fn set_name_servers(
        &self,
        interface: u32,
        origin: Origin,
        servers: Vec<IpAddr>,
        domain: Option<String>,
    ) {
        let mut state = self.state.lock();
        state.resolvers.retain(|known| (known.interface, known.origin) != (interface, origin));
        if !servers.is_empty() || domain.is_some() {
            state.resolvers.push(Resolver { interface, origin, servers, domain });
            state.resolvers.sort_by_key(|resolver| resolver.origin != Origin::Static);
        }
    }

    /// Has the timers looked at at this time, if not earlier.
    pub(crate) fn request_poll(&self, stack: &Stack, at_ns: u64) {
        if self.next_ns.fetch_min(at_ns, Ordering::AcqRel) > at_ns {
            stack.wake_worker(CONTROL_CPU);
        }
    }

    /// Whether another ICMP message may be sent now.
    pub(super) fn may_send_icmp(&self, now_ns: u64) -> bool {
        self.state.lock().bucket.take(now_ns)
    }

    pub(super) fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock())
    }

    /// Calls `look` with the DHCP client of an interface, if there is one.
    pub(super) fn with_client<R>(&self, interface: u32, look: impl FnOnce(&mut Client, u32) -> R) -> Option<R> {
        self.state.lock().clients.get_mut(&interface).map(|client| look(client, interface))
    }
}
