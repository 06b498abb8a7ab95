//! [`Configuration`]: how an interface gets its addresses.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use abi::Errno;
use sync::machine;

use super::{dhcp, router};
use crate::Stack;
use crate::interface::{Interface, InterfaceAddress, Origin, RouteEntry};

/// How an interface gets its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// An IPv4 address is asked for by DHCP.
    pub uses_dhcp: bool,
    /// IPv6 addresses are made of what routers advertise; the link-local one as well.
    pub uses_router_advertisements: bool,
    /// There is an IPv6 address for the link alone.
    pub has_link_local_address: bool,
    /// Addresses with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Default routers, at most one of a family.
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    pub name_servers: Vec<IpAddr>,
    /// The domain in which names are searched.
    pub domain: Option<String>,
    /// The MTU, if not the device's.
    pub mtu: Option<u32>,
}

impl Configuration {
    /// What is used if nothing is said.
    #[must_use]
    pub fn automatic() -> Self {
        Self { uses_dhcp: true, uses_router_advertisements: true, has_link_local_address: true, ..Self::default() }
    }
}

impl Stack {
    /// The link of an interface has come up. Called by drivers, in threads.
    pub fn link_up(self: &Arc<Self>, interface: &Arc<Interface>) {
        let now_ns = machine::now_ns();
        self.control().with_client(interface.index(), |client, _| client.link_up(now_ns));
        router::search(self, interface);
        self.control().request_poll(self, now_ns);
    }

    /// Configures an interface. `EINVAL`: an address or prefix that cannot be; `ENODEV`: there is no such interface.
    pub fn configure(self: &Arc<Self>, index: u32, configuration: &Configuration) -> Result<(), Errno> {
        let interface = self.interfaces().with(|snapshot| snapshot.interface(index).cloned()).ok_or(Errno::ENODEV)?;
        if let Some(mtu) = configuration.mtu {
            self.interfaces().set_mtu(index, mtu)?;
        }
        for (address, prefix_len) in &configuration.addresses {
            let prefix_len_max = if address.is_ipv4() { 32 } else { 128 };
            if *prefix_len > prefix_len_max || address.is_unspecified() || address.is_multicast() {
                return Err(Errno::EINVAL);
            }
            self.interfaces().add_address(InterfaceAddress::permanent(index, *address, *prefix_len, Origin::Static))?;
        }
        for gateway in &configuration.gateways {
            self.interfaces().add_route(RouteEntry::default_via(*gateway, index, 0, Origin::Static))?;
        }
        let (servers, domain) = (configuration.name_servers.clone(), configuration.domain.clone());
        self.control().set_name_servers(index, Origin::Static, servers, domain);
        let now_ns = machine::now_ns();
        self.note_use();
        if configuration.uses_dhcp && !interface.is_loopback() {
            self.control().with(|state| dhcp::start(state, index, now_ns));
        }
        let has_own = configuration.uses_router_advertisements || configuration.has_link_local_address;
        if has_own && !interface.is_loopback() {
            router::start(self, &interface, configuration.uses_router_advertisements);
        }
        self.control().request_poll(self, now_ns);
        Ok(())
    }
}
