//! The lists of sockets in `/proc/net`, in the form in which Linux has them: `ss`, `netstat` and `lsof` read them by column.
//!
//! Addresses of kernel objects are zeroes, as Linux shows them to those who may not see them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use net::socket::UnixName;
use net::socket::listing::{self, DatagramKind, DatagramRow, PROTOCOLS};
use net::tcp::listing::TcpRow;
use sync::machine;
use vfs::fs::generated::Row;

use super::text::Text;
use crate::system::System;

/// Nanoseconds of a tick as programs count them.
const TICK_NS: u64 = 10_000_000;
const TICK_US: u32 = 10_000;
/// The states of connections, in Linux's numbers.
const ESTABLISHED: u8 = 1;
const SYN_RECEIVED: u8 = 3;
const CLOSED: u8 = 7;
const LISTEN: u8 = 10;
/// A socket of the Unix domain that takes connections (`__SO_ACCEPTCON`).
const ACCEPTS: u32 = 0x1_0000;
/// The columns of lists of IPv4.
const COLUMNS4: &str = "local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const COLUMNS6: &str = "local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
/// What the lists of datagram sockets have besides.
const DATAGRAM_COLUMNS: &str = "ref pointer drops";
/// How wide lines of IPv4 are.
const TCP_WIDTH: usize = 149;
const DATAGRAM_WIDTH: usize = 127;

/// The lists.
pub(super) const FILES: &[Row<System>] = &[
    Row::file("icmp", |_| datagrams(DatagramKind::Ping, false)),
    Row::file("icmp6", |_| datagrams(DatagramKind::Ping, true)),
    Row::text("netlink", "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"),
    Row::text("packet", "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"),
    Row::file("protocols", |_| protocols()),
    Row::file("raw", |_| datagrams(DatagramKind::Raw, false)),
    Row::file("raw6", |_| datagrams(DatagramKind::Raw, true)),
    Row::file("sockstat", usage),
    Row::file("sockstat6", |_| usage6()),
    Row::file("tcp", |system| connections(system, false)),
    Row::file("tcp6", |system| connections(system, true)),
    Row::file("udp", |_| datagrams(DatagramKind::Udp, false)),
    Row::file("udp6", |_| datagrams(DatagramKind::Udp, true)),
    // There is no UDP-Lite, so there are no sockets of it.
    Row::file("udplite", |_| datagram_head(DatagramKind::Udp, false).into_bytes()),
    Row::file("udplite6", |_| datagram_head(DatagramKind::Udp, true).into_bytes()),
    Row::file("unix", |_| unix_sockets()),
];

/// An end, as the lists of one family have it.
fn end(address: SocketAddr, is_v6: bool) -> String {
    let port = address.port();
    let word = |bytes: &[u8; 4]| u32::from_ne_bytes(*bytes);
    match address.ip() {
        IpAddr::V4(v4) if !is_v6 => format!("{:08X}:{port:04X}", word(&v4.octets())),
        ip => {
            let octets = match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            let mut text = String::new();
            octets.as_chunks::<4>().0.iter().for_each(|bytes| text.push_str(&format!("{:08X}", word(bytes))));
            text.push_str(&format!(":{port:04X}"));
            text
        }
    }
}

/// A line, which is as wide as all lines of its list where that is fixed.
fn put_line(text: &mut Text, line: &str, is_v6: bool, width: usize) {
    let width = if is_v6 { 0 } else { width };
    text.line(format_args!("{line:<width$}"));
}

// ---- Connections ----------------------------------------------------------------------------------------------------

fn connections(system: &System, is_v6: bool) -> Vec<u8> {
    let network = system.network();
    let mut text = Text::new();
    put_line(&mut text, &format!("  sl  {}", if is_v6 { COLUMNS6 } else { COLUMNS4 }), is_v6, TCP_WIDTH);
    let rows = network.tcp().rows(network, machine::now_ns());
    // Linux begins with those who listen.
    let with = |listens: bool| rows.iter().filter(move |row| row.is_v6 == is_v6 && (row.state == LISTEN) == listens);
    for (number, row) in with(true).chain(with(false)).enumerate() {
        put_line(&mut text, &connection(number, row), is_v6, TCP_WIDTH);
    }
    text.into_bytes()
}

fn connection(number: usize, row: &TcpRow) -> String {
    let start = format!(
        "{number:4}: {} {} {:02X} {:08X}:{:08X} {:02X}:{:08X} {:08X} {:5} {:8} {}",
        end(row.local, row.is_v6),
        end(row.remote, row.is_v6),
        row.state,
        row.send_queue,
        row.receive_queue,
        row.timer,
        row.timer_left_ns.div_ceil(TICK_NS),
        row.retransmits,
        row.user,
        row.probes,
        row.inode
    );
    let Some(figures) = row.figures else {
        let references = if row.state == SYN_RECEIVED { 0 } else { 1 };
        return format!("{start} {references} {:016x}", 0);
    };
    let threshold = match figures.slow_start_threshold {
        Some(threshold) => i64::from(threshold),
        // Of a listener this is the length of a queue that is not there.
        None if row.state == LISTEN => 0,
        None => -1,
    };
    format!(
        "{start} 1 {:016x} {} {} 0 {} {threshold}",
        0,
        figures.retransmit_timeout_us / TICK_US,
        figures.acknowledge_timeout_us / TICK_US,
        figures.congestion_window
    )
}

// ---- Datagrams ------------------------------------------------------------------------------------------------------

fn datagram_head(kind: DatagramKind, is_v6: bool) -> String {
    // The column of numbers is wider in one of the lists.
    let (start, columns) = match (kind, is_v6) {
        (DatagramKind::Udp, false) => ("   sl", COLUMNS4),
        (_, false) => ("  sl", COLUMNS4),
        (_, true) => ("  sl", COLUMNS6),
    };
    let head = format!("{start}  {columns} {DATAGRAM_COLUMNS}");
    let width = if is_v6 || kind == DatagramKind::Raw { 0 } else { DATAGRAM_WIDTH };
    format!("{head:<width$}\n")
}

fn datagrams(kind: DatagramKind, is_v6: bool) -> Vec<u8> {
    let mut text = Text::new();
    text.bytes(datagram_head(kind, is_v6).as_bytes());
    let rows = listing::datagram_rows(kind);
    for (number, row) in rows.iter().filter(|row| row.is_v6 == is_v6).enumerate() {
        let line = if kind == DatagramKind::Raw && !is_v6 {
            format!("{number:4}: {}", datagram(row))
        } else {
            format!("{number:5}: {}", datagram(row))
        };
        put_line(&mut text, &line, is_v6 || kind == DatagramKind::Raw, DATAGRAM_WIDTH);
    }
    text.into_bytes()
}

fn datagram(row: &DatagramRow) -> String {
    format!(
        "{} {} {:02X} {:08X}:{:08X} 00:{:08X} {:08X} {:5} {:8} {} 2 {:016x} {}",
        end(row.local, row.is_v6),
        end(row.remote, row.is_v6),
        if row.is_connected { ESTABLISHED } else { CLOSED },
        0,
        row.receive_queue,
        0,
        0,
        row.user,
        0,
        row.inode,
        0,
        row.drops
    )
}

// ---- The Unix domain ------------------------------------------------------------------------------------------------

fn unix_sockets() -> Vec<u8> {
    let mut text = Text::new();
    text.line(format_args!("Num       RefCount Protocol Flags    Type St Inode Path"));
    for row in listing::unix_rows() {
        // `SS_`: unconnected, connecting, connected.
        let state = match (row.is_connected, row.is_embryo) {
            (true, true) => 2,
            (true, false) => 3,
            (false, _) => 1,
        };
        text.put(format_args!(
            "{:016x}: {:08X} {:08X} {:08X} {:04X} {state:02X} {:>5}",
            0,
            if row.is_connected { 3 } else { 2 },
            0,
            if row.is_listening { ACCEPTS } else { 0 },
            row.kind,
            row.inode
        ));
        match &row.name {
            UnixName::Unnamed => {}
            UnixName::Abstract(name) => {
                text.bytes(b" @");
                let shown: Vec<u8> = name.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }).collect();
                text.bytes(&shown);
            }
            UnixName::Path { path, .. } => {
                text.byte(b' ');
                text.bytes(path);
            }
        }
        text.byte(b'\n');
    }
    text.into_bytes()
}

// ---- Counts ---------------------------------------------------------------------------------------------------------

/// How many sockets of a protocol there are.
fn count_of(name: &str) -> u32 {
    let place = PROTOCOLS.iter().position(|protocol| protocol.name == name);
    place.map_or(0, |place| listing::counts()[place])
}

fn usage(system: &System) -> Vec<u8> {
    let network = system.network();
    let rows = network.tcp().rows(network, machine::now_ns());
    let (half_open, time_waits) = network.tcp().record_counts();
    let in_use = rows.iter().filter(|row| !row.is_v6 && row.figures.is_some()).count();
    let allocated = count_of("TCP") + count_of("TCPv6");
    let mut text = Text::new();
    text.line(format_args!("sockets: used {}", listing::counts().iter().sum::<u32>()));
    text.line(format_args!(
        "TCP: inuse {in_use} orphan {} tw {time_waits} alloc {} mem {}",
        network.tcp().orphan_count(network),
        allocated as usize + half_open,
        pages(rows.iter().map(|row| row.send_queue + row.receive_queue))
    ));
    let udp = listing::datagram_rows(DatagramKind::Udp);
    text.line(format_args!("UDP: inuse {} mem {}", of4(&udp), pages(udp.iter().map(|row| row.receive_queue))));
    text.line(format_args!("UDPLITE: inuse 0"));
    text.line(format_args!("RAW: inuse {}", of4(&listing::datagram_rows(DatagramKind::Raw))));
    text.line(format_args!("FRAG: inuse 0 memory 0"));
    text.into_bytes()
}

/// Pages that so many bytes take.
fn pages(lens: impl Iterator<Item = u32>) -> u64 {
    lens.map(u64::from).sum::<u64>().div_ceil(4096)
}

fn of4(rows: &[DatagramRow]) -> usize {
    rows.iter().filter(|row| !row.is_v6).count()
}

fn usage6() -> Vec<u8> {
    let of6 = |kind| listing::datagram_rows(kind).iter().filter(|row| row.is_v6).count();
    let mut text = Text::new();
    text.line(format_args!("TCP6: inuse {}", count_of("TCPv6")));
    text.line(format_args!("UDP6: inuse {}", of6(DatagramKind::Udp)));
    text.line(format_args!("UDPLITE6: inuse 0"));
    text.line(format_args!("RAW6: inuse {}", of6(DatagramKind::Raw)));
    text.line(format_args!("FRAG6: inuse 0 memory 0"));
    text.into_bytes()
}

/// The protocols. What Linux shows of their functions in the last columns is not known of these.
fn protocols() -> Vec<u8> {
    let counts = listing::counts();
    let mut text = Text::new();
    text.line(format_args!(
        "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp em"
    ));
    for (protocol, count) in PROTOCOLS.iter().zip(counts) {
        text.line(format_args!(
            "{:<9} {:4} {count:6}  {:6}   {:<3} {:6}   {:<4} {:<10}  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n",
            protocol.name, protocol.size, -1, "NI", 0, "no", "kernel"
        ));
    }
    text.into_bytes()
}
