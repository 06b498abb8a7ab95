//! The network of this machine: the stack, its devices and their configuration, and a worker on each CPU.
//!
//! A machine without a device whose program makes no socket has neither workers nor anything else of this but the stack. One with a
//! device that asks for its address waits for it a while, so that the program finds a network that works.

use alloc::sync::Arc;
use alloc::vec::Vec;

use firmware::network::{self, InterfaceOptions};
use net::control::Configuration;
use net::{Nic, Stack};
use sync::{Once, machine};

use crate::drivers::virtio_net::VirtioNet;
use crate::memory::{PAGE_BYTES, frames};
use crate::{drivers, threads};

/// How long the program waits for an address.
const ADDRESS_WAIT_NS: u64 = 5_000_000_000;
/// How often work is looked for meanwhile: that of other CPUs' workers wakes nobody yet.
const LOOK_NS: u64 = 1_000_000;

/// The machine's stack, for its workers.
static STACK: Once<Arc<Stack>> = Once::new();

/// Makes the network. All CPUs run by now. Without a device nothing else is done. Configuration comes from the image and from the command line,
/// which counts where both name an interface; without any it is automatic.
pub(super) fn start(image: &str, hostname: &[u8], line: &[u8]) -> Arc<Stack> {
    let cpus = u32::try_from(threads::cpu::count()).unwrap_or(1);
    let stack = STACK.call_once(|| Stack::new(cpus));
    stack.set_starter(start_workers);
    let memory = frames::total().saturating_mul(PAGE_BYTES as u64);
    stack.set_memory(usize::try_from(memory).unwrap_or(usize::MAX));
    let socket_device = drivers::take_sockets().next();
    if let Some(device) = &socket_device {
        device.attach(stack);
    }
    let mut nics = drivers::take_networks().peekable();
    if nics.peek().is_some() {
        start_interfaces(stack, cpus, image, hostname, line, nics);
    } else if socket_device.is_none() {
        return Arc::clone(stack);
    }
    stack.note_use();
    Arc::clone(stack)
}

/// Configures the network devices, and waits for their addresses.
fn start_interfaces(
    stack: &Arc<Stack>,
    cpus: u32,
    image: &str,
    hostname: &[u8],
    line: &[u8],
    nics: impl Iterator<Item = Arc<VirtioNet>>,
) {
    let options = options(image, line);
    stack.control().set_hostname(core::str::from_utf8(hostname).unwrap_or_default());
    let mut waiting = Vec::new();
    for (number, nic) in (0..).zip(nics) {
        let Some(interface) = stack.interfaces().add(nic.clone()) else {
            log::warn!("there are more network devices than interfaces");
            break;
        };
        nic.attach(stack, &interface);
        let wanted = options.iter().rev().find(|options| options.number == number);
        let configuration = wanted.map_or_else(Configuration::automatic, configuration_of);
        if let Err(errno) = stack.configure(interface.index(), &configuration) {
            log::error!("{} cannot be configured: {errno}", interface.name());
        }
        if configuration.uses_dhcp && configuration.addresses.is_empty() && nic.is_link_up() {
            waiting.push(interface.index());
        }
    }
    wait_for_addresses(stack, cpus, &waiting);
}

/// What is said of interfaces; of one that is named twice the last counts.
fn options(image: &str, line: &[u8]) -> Vec<InterfaceOptions> {
    // The image builder has checked it.
    let mut all = network::parse(image).unwrap_or_default();
    let (told, bad) = network::of_command_line(line);
    if let Some(bad) = bad {
        log::error!("net={}: this is no configuration of a network", bad.escape_ascii());
    }
    all.extend(told);
    all
}

fn configuration_of(options: &InterfaceOptions) -> Configuration {
    Configuration {
        uses_dhcp: options.uses_dhcp,
        uses_router_advertisements: options.uses_router_advertisements,
        has_link_local_address: !options.is_off,
        addresses: options.addresses.clone(),
        gateways: options.gateways.clone(),
        name_servers: options.name_servers.clone(),
        domain: options.domain.clone(),
        mtu: options.mtu,
    }
}

/// Waits until each of the interfaces has an address. Does all workers' work, as they do not run yet.
fn wait_for_addresses(stack: &Arc<Stack>, cpus: u32, interfaces: &[u32]) {
    let has_address = |index: &u32| {
        stack.interfaces().with(|snapshot| snapshot.addresses_of(*index).any(|found| found.address.is_ipv4()))
    };
    let end_ns = machine::now_ns().saturating_add(ADDRESS_WAIT_NS);
    while !interfaces.iter().all(has_address) {
        let now_ns = machine::now_ns();
        if now_ns >= end_ns {
            log::warn!("no address was given in time: the program starts without");
            return;
        }
        let deadline_ns = (0..cpus).map(|cpu| stack.work(cpu)).min().unwrap_or(now_ns);
        stack.park(0, deadline_ns.min(now_ns.saturating_add(LOOK_NS)));
    }
}

/// Starts a worker on each CPU. Where memory is short there may be none: the network stands still there.
fn start_workers() {
    for cpu in 0..u32::try_from(threads::cpu::count()).unwrap_or(1) {
        if !threads::worker::start(cpu, work) {
            log::error!("not enough memory for the network of CPU {cpu}");
        }
    }
}

/// What the worker of a CPU does.
fn work(cpu: u32) -> ! {
    let Some(stack) = STACK.get() else { unreachable!("workers start when there is a stack") };
    loop {
        let deadline_ns = stack.work(cpu);
        stack.park(cpu, deadline_ns);
    }
}
