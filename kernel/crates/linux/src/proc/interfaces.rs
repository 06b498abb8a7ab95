//! The interfaces of the network in `/sys`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use abi::interface::{ARPHRD_ETHER, ARPHRD_LOOPBACK, IFF_LOWER_UP, IFF_RUNNING};
use net::interface::Interface;
use vfs::FileKind;
use vfs::fs::generated::{Directory, ListedNode, Node, Row};

use super::text::line;
use crate::system::System;

/// What `node` makes of each interface.
fn each(
    system: &Arc<System>,
    kind: FileKind,
    node: impl Fn(&Arc<Interface>) -> Node + Send + Sync + 'static,
) -> Directory {
    let (found, listed) = (Arc::clone(system), Arc::clone(system));
    Directory::new().changing(
        move |name, _| {
            let snapshot = found.network().interfaces().snapshot();
            snapshot.interfaces().iter().find(|one| one.name().as_bytes() == name).map(&node)
        },
        move |give| {
            for interface in listed.network().interfaces().snapshot().interfaces() {
                give(ListedNode { name: interface.name().as_bytes(), order: interface.index(), kind });
            }
        },
    )
}

/// `class/net`: links.
pub(super) fn class_links(system: &Arc<System>) -> Directory {
    each(system, FileKind::Symlink, |interface| {
        let target = format!("../../devices/virtual/net/{}", interface.name()).into_bytes();
        Node::link(move |_| Ok(target.clone()))
    })
}

/// `devices/virtual/net`: the interfaces themselves.
pub(super) fn directories(system: &Arc<System>) -> Directory {
    each(system, FileKind::Directory, |interface| Node::directory(0o755, Directory::of(FILES, interface)))
}

fn is_running(one: &Interface) -> bool {
    one.flags().bits() & IFF_RUNNING != 0
}

fn mac_text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

const FILES: &[Row<Interface>] = &[
    Row::text("addr_assign_type", "0\n"),
    Row::text("addr_len", "6\n"),
    Row::file("address", |one| line(mac_text(one.mac()))),
    Row::file("broadcast", |one| line(mac_text(if one.is_loopback() { [0; 6] } else { [0xff; 6] }))),
    Row::file("carrier", |one: &Interface| line(u8::from(is_running(one)))).with_permissions(0o644),
    Row::text("carrier_changes", "0\n"),
    Row::text("carrier_down_count", "0\n"),
    Row::text("carrier_up_count", "0\n"),
    Row::text("dev_id", "0x0\n"),
    Row::text("dev_port", "0\n"),
    Row::text("dormant", "0\n"),
    // How fast a virtual device is nobody knows; the loopback has no such thing.
    Row::fallible("duplex", 0o444, |one| if one.is_loopback() { Err(Errno::EINVAL) } else { Ok(line("unknown")) }),
    // The flags that are seen elsewhere as running are left out here, as in Linux.
    Row::file("flags", |one: &Interface| {
        line(format_args!("{:#x}", one.flags().bits() & !(IFF_RUNNING | IFF_LOWER_UP)))
    })
    .with_permissions(0o644),
    Row::text("gro_flush_timeout", "0\n").with_permissions(0o644),
    Row::text("group", "0\n").with_permissions(0o644),
    Row::text("ifalias", "").with_permissions(0o644),
    Row::file("ifindex", |one| line(one.index())),
    Row::file("iflink", |one| line(one.index())),
    Row::text("link_mode", "0\n"),
    Row::file("mtu", |one: &Interface| line(one.mtu())).with_permissions(0o644),
    Row::file("operstate", state),
    Row::text("proto_down", "0\n").with_permissions(0o644),
    Row::fallible("speed", 0o444, |one| if one.is_loopback() { Err(Errno::EINVAL) } else { Ok(line(-1)) }),
    Row::directory("statistics", 0o755, |one| Directory::of(STATISTICS, one)),
    Row::link("subsystem", |_, _| Ok(b"../../../../class/net".to_vec())),
    Row::text("tx_queue_len", "1000\n").with_permissions(0o644),
    Row::file("type", |one| line(if one.is_loopback() { ARPHRD_LOOPBACK } else { ARPHRD_ETHER })),
    Row::file("uevent", |one| line(format_args!("INTERFACE={}\nIFINDEX={}", one.name(), one.index()))),
];

fn state(one: &Interface) -> Vec<u8> {
    line(match (one.is_loopback(), is_running(one)) {
        (true, _) => "unknown",
        (false, true) => "up",
        (false, false) => "down",
    })
}

/// What is counted, and under other names what cannot happen.
const STATISTICS: &[Row<Interface>] = &[
    Row::text("collisions", "0\n"),
    Row::text("multicast", "0\n"),
    Row::file("rx_bytes", |one| line(one.counters().received_bytes)),
    Row::text("rx_compressed", "0\n"),
    Row::text("rx_crc_errors", "0\n"),
    Row::file("rx_dropped", |one| line(one.counters().receive_drops)),
    Row::text("rx_errors", "0\n"),
    Row::text("rx_fifo_errors", "0\n"),
    Row::text("rx_frame_errors", "0\n"),
    Row::text("rx_length_errors", "0\n"),
    Row::text("rx_missed_errors", "0\n"),
    Row::text("rx_nohandler", "0\n"),
    Row::text("rx_over_errors", "0\n"),
    Row::file("rx_packets", |one| line(one.counters().received_frames)),
    Row::text("tx_aborted_errors", "0\n"),
    Row::file("tx_bytes", |one| line(one.counters().sent_bytes)),
    Row::text("tx_carrier_errors", "0\n"),
    Row::text("tx_compressed", "0\n"),
    Row::file("tx_dropped", |one| line(one.counters().transmit_drops)),
    Row::text("tx_errors", "0\n"),
    Row::text("tx_fifo_errors", "0\n"),
    Row::text("tx_heartbeat_errors", "0\n"),
    Row::file("tx_packets", |one| line(one.counters().sent_frames)),
    Row::text("tx_window_errors", "0\n"),
];
