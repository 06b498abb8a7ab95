//! The groups that interfaces are in, as `/proc/net` lists them.

use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;

use vfs::fs::generated::Row;

use super::text::Text;
use crate::system::System;

/// The lists.
pub(super) const FILES: &[Row<System>] =
    &[Row::file("dev_mcast", links), Row::file("igmp", groups4), Row::file("igmp6", groups6)];

fn groups4(system: &System) -> Vec<u8> {
    let snapshot = system.network().interfaces().snapshot();
    let mut text = Text::new();
    text.line(format_args!("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter"));
    for interface in snapshot.interfaces() {
        let groups: Vec<_> = snapshot.groups_of(interface.index()).filter(|(group, _)| group.is_ipv4()).collect();
        text.line(format_args!("{}\t{:<10}: {:5} {:>7}", interface.index(), interface.name(), groups.len(), "V3"));
        for (group, users) in groups {
            let IpAddr::V4(group) = group else { continue };
            text.line(format_args!("\t\t\t\t{:08X} {users:5} 0:{:08X}\t\t0", u32::from_ne_bytes(group.octets()), 0));
        }
    }
    text.into_bytes()
}

fn groups6(system: &System) -> Vec<u8> {
    let snapshot = system.network().interfaces().snapshot();
    let mut text = Text::new();
    for interface in snapshot.interfaces() {
        for (group, users) in snapshot.groups_of(interface.index()) {
            let IpAddr::V6(group) = group else { continue };
            text.line(format_args!(
                "{:<4} {:<15} {:032x} {users:5} {:08X} 0",
                interface.index(),
                interface.name(),
                u128::from(group),
                0
            ));
        }
    }
    text.into_bytes()
}

/// The link addresses of groups (RFC 1112, 6.4; RFC 2464, 7).
fn links(system: &System) -> Vec<u8> {
    let snapshot = system.network().interfaces().snapshot();
    let mut text = Text::new();
    for interface in snapshot.interfaces().iter().filter(|one| !one.is_loopback()) {
        let mut addresses: Vec<_> = snapshot
            .groups_of(interface.index())
            .map(|(group, _)| match group {
                IpAddr::V4(group) => {
                    let [_, b, c, d] = group.octets();
                    format!("01005e{:02x}{c:02x}{d:02x}", b & 0x7f)
                }
                IpAddr::V6(group) => format!("3333{:08x}", u128::from(group) & 0xffff_ffff),
            })
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        for address in addresses {
            text.line(format_args!("{:<4} {:<15} {:<5} {:<5} {address}", interface.index(), interface.name(), 1, 0));
        }
    }
    text.into_bytes()
}
