//! The network of this machine: the stack, its devices and their configuration, and a worker on each CPU.

use alloc::sync::Arc;
use alloc::vec::Vec;

use firmware::network::{self, InterfaceOptions};
use net::Stack;
use net::control::Configuration;
use sync::Once;

use super::fail;
use crate::{drivers, threads};

/// The machine's stack, for its workers.
static STACK: Once<Arc<Stack>> = Once::new();

/// Makes the network. All CPUs run by now. Without a device nothing else is done. Configuration comes from the image and from the command line,
/// which counts where both name an interface; without any it is automatic.
pub(super) fn start(image: &str, line: &[u8]) -> Arc<Stack> {
    let cpus = u32::try_from(threads::cpu::count()).unwrap_or(1);
    let stack = STACK.call_once(|| Stack::new(cpus));
    let mut nics = drivers::take_networks().peekable();
    if nics.peek().is_none() {
        return Arc::clone(stack);
    }
    let options = options(image, line);
    start_workers(cpus);
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
    }
    Arc::clone(stack)
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
        addresses: options.addresses.clone(),
        gateways: options.gateways.clone(),
        name_servers: options.name_servers.clone(),
        domain: options.domain.clone(),
        mtu: options.mtu,
    }
}

fn start_workers(cpus: u32) {
    for cpu in 0..cpus {
        if !threads::worker::start(cpu, work) {
            fail("not enough memory for the threads of the network")
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
