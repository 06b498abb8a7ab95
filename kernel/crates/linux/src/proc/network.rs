//! `/proc/net`: what the network is and does.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use abi::interface::ARPHRD_ETHER;
use net::counters::Counter;
use net::interface::{Interface, Scope, mask4};
use sync::machine;
use vfs::fs::generated::{Directory, Row};

use super::text::Text;
use super::{groups, sockets};
use crate::system::System;

/// States of connections in Linux's numbers.
const ESTABLISHED: u8 = 1;
const CLOSE_WAIT: u8 = 8;
/// `RTF_UP` and `RTF_GATEWAY`.
const ROUTE_UP: u32 = 1;
const ROUTE_GATEWAY: u32 = 2;

/// The directory `net` of a process.
pub(super) fn directory(system: &Arc<System>) -> Directory {
    Directory::of(FILES, system).and(sockets::FILES, system).and(groups::FILES, system)
}

const FILES: &[Row<System>] = &[
    Row::file("arp", neighbours),
    Row::file("dev", devices),
    Row::file("if_inet6", addresses6),
    Row::file("ipv6_route", routes6),
    Row::file("netstat", extended_counters),
    Row::file("pnp", configuration),
    Row::file("route", routes),
    Row::file("snmp", counters),
    Row::file("snmp6", counters6),
];

fn devices(system: &System) -> Vec<u8> {
    let mut text = Text::new();
    text.line(format_args!("Inter-|   Receive                                                |  Transmit"));
    text.line(format_args!(
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed"
    ));
    for interface in system.network().interfaces().snapshot().interfaces() {
        let counts = interface.counters();
        text.line(format_args!(
            "{:>6}: {:7} {:7} {:4} {:4} {:4} {:5} {:10} {:9} {:8} {:7} {:4} {:4} {:4} {:5} {:7} {:10}",
            interface.name(),
            counts.received_bytes,
            counts.received_frames,
            0,
            counts.receive_drops,
            0,
            0,
            0,
            0,
            counts.sent_bytes,
            counts.sent_frames,
            0,
            counts.transmit_drops,
            0,
            0,
            0,
            0
        ));
    }
    text.into_bytes()
}

/// The name of an interface.
fn name_of(interfaces: &[Arc<Interface>], index: u32) -> &str {
    interfaces.iter().find(|one| one.index() == index).map_or("*", |one| one.name())
}

fn addresses6(system: &System) -> Vec<u8> {
    let snapshot = system.network().interfaces().snapshot();
    let mut text = Text::new();
    for one in snapshot.addresses() {
        let IpAddr::V6(address) = one.address else { continue };
        let scope = match one.scope() {
            Scope::Host => 0x10,
            Scope::Link => 0x20,
            _ => 0,
        };
        let flags = if one.valid_until_ns == sync::machine::NEVER { 0x80 } else { 0 };
        text.line(format_args!(
            "{:032x} {:02x} {:02x} {scope:02x} {flags:02x} {:>8}",
            u128::from(address),
            one.interface,
            one.prefix_len,
            name_of(snapshot.interfaces(), one.interface)
        ));
    }
    text.into_bytes()
}

fn routes(system: &System) -> Vec<u8> {
    let snapshot = system.network().interfaces().snapshot();
    let mut text = Text::new();
    let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
    text.line(format_args!("{head:<127}"));
    // In the order in which Linux lists them, not that in which they are tried.
    let mut routes: Vec<_> = snapshot.routes().iter().collect();
    block::sort_by_key(&mut routes, |one| (one.destination, one.prefix_len, one.metric));
    for one in routes {
        let IpAddr::V4(destination) = one.destination else { continue };
        let gateway = match one.gateway {
            Some(IpAddr::V4(gateway)) => u32::from_ne_bytes(gateway.octets()),
            _ => 0,
        };
        let flags = if one.gateway.is_some() { ROUTE_UP | ROUTE_GATEWAY } else { ROUTE_UP };
        let line = format!(
            "{}\t{:08X}\t{gateway:08X}\t{flags:04X}\t0\t0\t{}\t{:08X}\t0\t0\t0",
            name_of(snapshot.interfaces(), one.interface),
            u32::from_ne_bytes(destination.octets()),
            one.metric,
            mask4(one.prefix_len).swap_bytes()
        );
        text.line(format_args!("{line:<127}"));
    }
    text.into_bytes()
}

/// `RTF_UP` and `RTF_GATEWAY`, as the list of IPv6 has them, in the form of Linux.
fn routes6(system: &System) -> Vec<u8> {
    let snapshot = system.network().interfaces().snapshot();
    let mut text = Text::new();
    for one in snapshot.routes() {
        let IpAddr::V6(destination) = one.destination else { continue };
        let gateway = match one.gateway {
            Some(IpAddr::V6(gateway)) => u128::from(gateway),
            _ => 0,
        };
        let flags = if one.gateway.is_some() { ROUTE_UP | ROUTE_GATEWAY } else { ROUTE_UP };
        text.line(format_args!(
            "{:032x} {:02x} {:032x} 00 {gateway:032x} {:08x} {:08x} {:08x} {flags:08x} {:>8}",
            u128::from(destination),
            one.prefix_len,
            0,
            one.metric,
            1,
            0,
            name_of(snapshot.interfaces(), one.interface)
        ));
    }
    text.into_bytes()
}

fn neighbours(system: &System) -> Vec<u8> {
    let mut text = Text::new();
    text.line(format_args!("IP address       HW type     Flags       HW address            Mask     Device"));
    for interface in system.network().interfaces().snapshot().interfaces() {
        // As if there were none, where there is no memory for them.
        for (address, mac, _) in interface.neighbours().list().unwrap_or_default() {
            if !address.is_ipv4() {
                continue;
            }
            let flags = if mac.is_some() { 2 } else { 0 };
            let [a, b, c, d, e, f] = mac.unwrap_or_default();
            text.line(format_args!(
                "{:<16} 0x{:<10x}0x{flags:<10x}{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}     *        {}",
                format!("{address}"),
                ARPHRD_ETHER,
                interface.name()
            ));
        }
    }
    text.into_bytes()
}

/// A line of names and a line of values of a protocol: what the stack counts, behind what is so.
fn put_group(text: &mut Text, system: &System, group: &str, facts: &[(&str, i64)]) {
    let network = system.network();
    let live = if group == "Tcp" { network.tcp().live_counts(network) } else { [0; 3] };
    let value = |counter: Counter| {
        let of_connections = match counter {
            Counter::TcpInSegs => live[0],
            Counter::TcpOutSegs => live[1],
            Counter::TcpRetransSegs => live[2],
            _ => 0,
        };
        network.mib().get(counter).wrapping_add(of_connections)
    };
    let own = || Counter::ALL.iter().filter(move |counter| counter.name().0 == group);
    text.put(format_args!("{group}:"));
    facts.iter().for_each(|(name, _)| text.put(format_args!(" {name}")));
    own().for_each(|counter| text.put(format_args!(" {}", counter.name().1)));
    text.put(format_args!("\n{group}:"));
    facts.iter().for_each(|(_, value)| text.put(format_args!(" {value}")));
    own().for_each(|counter| text.put(format_args!(" {}", value(*counter))));
    text.bytes(b"\n");
}

/// What the protocols count (RFC 2011 and its relatives).
fn counters(system: &System) -> Vec<u8> {
    let mut text = Text::new();
    // Nothing is forwarded.
    put_group(&mut text, system, "Ip", &[("Forwarding", 2), ("DefaultTTL", 64)]);
    put_group(&mut text, system, "Icmp", &[]);
    // Time-outs are those of RFC 6298, with Linux's bounds in milliseconds; nothing bounds the connections.
    let network = system.network();
    let rows = network.tcp().rows(network, machine::now_ns());
    let established = rows.iter().filter(|row| matches!(row.state, ESTABLISHED | CLOSE_WAIT)).count();
    let established = i64::try_from(established).unwrap_or(i64::MAX);
    let tcp = [("RtoAlgorithm", 1), ("RtoMin", 200), ("RtoMax", 120_000), ("MaxConn", -1), ("CurrEstab", established)];
    put_group(&mut text, system, "Tcp", &tcp);
    put_group(&mut text, system, "Udp", &[]);
    text.into_bytes()
}

/// What Linux counts besides.
fn extended_counters(system: &System) -> Vec<u8> {
    let mut text = Text::new();
    put_group(&mut text, system, "TcpExt", &[]);
    let snapshot = system.network().interfaces().snapshot();
    let total = |count: fn(&Interface) -> u64| {
        let sum = snapshot.interfaces().iter().map(|one| count(one)).fold(0, u64::wrapping_add);
        i64::try_from(sum).unwrap_or(i64::MAX)
    };
    let octets = [
        ("InOctets", total(|one| one.counters().received_bytes)),
        ("OutOctets", total(|one| one.counters().sent_bytes)),
    ];
    put_group(&mut text, system, "IpExt", &octets);
    text.into_bytes()
}

/// The same of IPv6, a line each.
fn counters6(system: &System) -> Vec<u8> {
    let mib = system.network().mib();
    let mut text = Text::new();
    for counter in Counter::ALL {
        let (group, name) = counter.name();
        if group.ends_with('6') {
            text.line(format_args!("{:<32}\t{}", format!("{group}{name}"), mib.get(*counter)));
        }
    }
    text.into_bytes()
}

/// What was found out of the network, in the form of `resolv.conf`, which is a link to this file in images without one of their own.
fn configuration(system: &System) -> Vec<u8> {
    let (servers, domain) = system.network().control().name_servers();
    let mut text = Text::new();
    if let Some(domain) = domain {
        text.line(format_args!("domain {domain}"));
    }
    servers.iter().for_each(|server| text.line(format_args!("nameserver {server}")));
    text.into_bytes()
}
