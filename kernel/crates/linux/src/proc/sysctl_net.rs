//! `/proc/sys/net`: settings of the network. Those of [`net::settings`] can be changed; the others say what the stack does.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use abi::Errno;
use net::interface::Interface;
use net::settings::{self, Setting};
use net::tcp::{CookieKey, CookieKeys};
use vfs::FileKind;
use vfs::fs::generated::{Directory, ListedNode, Node, Row};

use super::text::{Text, line, parse_setting};
use crate::system::System;

/// A setting that is a number.
macro_rules! setting {
    ($name:literal, $setting:ident) => {
        Row::setting($name, 0o644, |_| Ok(line(settings::$setting.get())), |_, text| set(&settings::$setting, text))
    };
}

fn set(setting: &Setting, text: &[u8]) -> Result<(), Errno> {
    if setting.set(parse_setting(text)?) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// The directory.
pub(super) const ROOT: &[Row<System>] = &[
    directory!("core", 0o555, CORE),
    directory!("ipv4", 0o555, IPV4),
    directory!("ipv6", 0o555, IPV6),
    directory!("unix", 0o555, &[Row::fixed("max_dgram_qlen", "10\n")]),
];

const CORE: &[Row<System>] = &[
    Row::fixed("default_qdisc", "noqueue\n"),
    Row::fixed("netdev_max_backlog", "1000\n"),
    Row::fixed("optmem_max", "131072\n"),
    Row::fixed("rmem_default", "212992\n"),
    setting!("rmem_max", RECEIVE_BUFFER_MAX),
    setting!("somaxconn", BACKLOG_MAX),
    Row::fixed("wmem_default", "212992\n"),
    setting!("wmem_max", SEND_BUFFER_MAX),
];

const IPV4: &[Row<System>] = &[
    Row::directory("conf", 0o555, |system| each_interface(system, CONFIGURATION4)),
    Row::fixed("icmp_echo_ignore_all", "0\n"),
    Row::fixed("icmp_echo_ignore_broadcasts", "1\n"),
    Row::fixed("ip_default_ttl", "64\n"),
    Row::fixed("ip_forward", "0\n"),
    Row::setting(
        "ip_local_port_range",
        0o644,
        |_| {
            let (first, last) = settings::ephemeral_ports();
            Ok(line(format_args!("{first}\t{last}")))
        },
        |_, text| set_ports(text),
    ),
    Row::fixed("ip_local_reserved_ports", "\n"),
    Row::fixed("ip_nonlocal_bind", "0\n"),
    setting!("ip_unprivileged_port_start", UNPRIVILEGED_FIRST),
    Row::fixed("tcp_abort_on_overflow", "0\n"),
    Row::text("tcp_available_congestion_control", "cubic reno\n"),
    Row::fixed("tcp_allowed_congestion_control", "cubic reno\n"),
    Row::fixed("tcp_congestion_control", "cubic\n"),
    setting!("tcp_autocorking", TCP_AUTOCORKING),
    setting!("tcp_ecn", TCP_ECN),
    Row::fixed("tcp_ecn_fallback", "1\n"),
    setting!("tcp_fastopen", TCP_FASTOPEN),
    Row::setting(
        "tcp_fastopen_key",
        0o600,
        |system| Ok(keys_text(system.network().tcp().fast_open_keys())),
        |system, text| {
            system.network().tcp().set_fast_open_keys(parse_keys(text)?);
            Ok(())
        },
    ),
    Row::fixed("tcp_fin_timeout", "60\n"),
    Row::fixed("tcp_frto", "2\n"),
    Row::fixed("tcp_keepalive_intvl", "75\n"),
    Row::fixed("tcp_keepalive_probes", "9\n"),
    Row::fixed("tcp_keepalive_time", "7200\n"),
    Row::fixed("tcp_max_syn_backlog", "4096\n"),
    Row::fixed("tcp_moderate_rcvbuf", "1\n"),
    Row::fixed("tcp_rmem", "4096\t131072\t6291456\n"),
    Row::fixed("tcp_sack", "1\n"),
    Row::fixed("tcp_syn_retries", "6\n"),
    Row::fixed("tcp_synack_retries", "5\n"),
    Row::fixed("tcp_timestamps", "1\n"),
    Row::fixed("tcp_window_scaling", "1\n"),
    Row::fixed("tcp_wmem", "4096\t16384\t4194304\n"),
];

fn set_ports(text: &[u8]) -> Result<(), Errno> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let mut words = text.split_whitespace();
    let mut next = || words.next().and_then(|word| word.parse::<u16>().ok());
    match (next(), next()) {
        (Some(first), Some(last)) if settings::set_ephemeral_ports(first, last) => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// Keys as words of 32 bits; while there are none, zeroes.
fn keys_text(keys: Option<CookieKeys>) -> Vec<u8> {
    let mut text = Text::new();
    let keys = keys.unwrap_or(CookieKeys { newest: [0; 16], before: None });
    for (index, word) in keys.iter().flat_map(|key| key.as_chunks::<4>().0).enumerate() {
        match index {
            0 => {}
            4 => text.byte(b','),
            _ => text.byte(b'-'),
        }
        text.hexadecimal(u32::from_le_bytes(*word).into(), 8);
    }
    text.byte(b'\n');
    text.into_bytes()
}

/// What is looked at of what is written (the file's `maxlen`, without the end).
const KEYS_LEN_MAX: usize = 73;

/// One key, or two with a comma between them. What follows is not looked at, as on Linux.
fn parse_keys(text: &[u8]) -> Result<CookieKeys, Errno> {
    let text = text.split(|byte| matches!(byte, b'\n' | 0)).next().unwrap_or_default();
    let mut parts = text[..text.len().min(KEYS_LEN_MAX)].split(|byte| *byte == b',');
    let newest = parse_key(parts.next().unwrap_or_default())?;
    let before = parts.next().map(parse_key).transpose()?;
    Ok(CookieKeys { newest, before })
}

/// Four words by the rules of the kernel's `sscanf("%x-%x-%x-%x")`: blanks and `0x` may stand before each, only a dash behind it, and what is
/// beyond 32 bits is lost.
fn parse_key(text: &[u8]) -> Result<CookieKey, Errno> {
    let mut key = [0; 16];
    let mut rest = text;
    for (place, to) in key.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        if place > 0 {
            rest = rest.strip_prefix(b"-").ok_or(Errno::EINVAL)?;
        }
        rest = rest.trim_ascii_start();
        let behind_prefix = rest.strip_prefix(b"0x").or_else(|| rest.strip_prefix(b"0X"));
        rest = behind_prefix.unwrap_or(rest);
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let len = rest.iter().take_while(|byte| digit(byte).is_some()).count();
        let (digits, behind) = rest.split_at(len);
        if digits.is_empty() && behind_prefix.is_none() {
            return Err(Errno::EINVAL);
        }
        *to = digits.iter().filter_map(digit).fold(0, |word: u32, digit| word << 4 | digit).to_le_bytes();
        rest = behind;
    }
    Ok(key)
}

const IPV6: &[Row<System>] = &[
    Row::fixed("bindv6only", "0\n"),
    Row::directory("conf", 0o555, |system| each_interface(system, CONFIGURATION6)),
    Row::fixed("ip_nonlocal_bind", "0\n"),
];

// ---- By interface ---------------------------------------------------------------------------------------------------

/// Whose settings they are.
enum Scope {
    /// What holds for all interfaces.
    All,
    /// What new ones begin with. There are never any.
    New,
    One(Arc<Interface>),
}

impl Scope {
    fn interface(&self) -> Option<&Interface> {
        if let Self::One(interface) = self { Some(interface) } else { None }
    }
}

/// A directory for each interface, and those for all and for new ones.
fn each_interface(system: &Arc<System>, rows: &'static [Row<Scope>]) -> Directory {
    let (found, listed) = (Arc::clone(system), Arc::clone(system));
    let of = |scope| Node::directory(0o555, Directory::of(rows, &Arc::new(scope)));
    Directory::new().with("all", of(Scope::All)).with("default", of(Scope::New)).changing(
        move |name, _| {
            let snapshot = found.network().interfaces().snapshot();
            let interface = snapshot.interfaces().iter().find(|one| one.name().as_bytes() == name)?;
            Some(of(Scope::One(Arc::clone(interface))))
        },
        move |give| {
            for interface in listed.network().interfaces().snapshot().interfaces() {
                let name = String::from(interface.name());
                give(ListedNode { name: name.as_bytes(), order: interface.index(), kind: FileKind::Directory });
            }
        },
    )
}

/// `accept_redirects` of an interface, or of all, in one of two families.
macro_rules! redirects {
    ($family:literal, $of_all:ident) => {
        Row::setting(
            "accept_redirects",
            0o644,
            |scope| {
                Ok(line(match scope {
                    Scope::All => settings::$of_all.get(),
                    Scope::New => 1,
                    Scope::One(one) => u32::from(one.accept_redirects[$family].load(Relaxed)),
                }))
            },
            |scope, text| match scope {
                Scope::All => set(&settings::$of_all, text),
                Scope::New if parse_setting(text) == Ok(1) => Ok(()),
                Scope::New => Err(Errno::EINVAL),
                Scope::One(one) => {
                    one.accept_redirects[$family].store(parse_setting::<u32>(text)? != 0, Relaxed);
                    Ok(())
                }
            },
        )
    };
}

const CONFIGURATION4: &[Row<Scope>] = &[
    redirects!(0, ACCEPT_REDIRECTS4),
    Row::fixed("accept_source_route", "0\n"),
    Row::fixed("forwarding", "0\n"),
    Row::fixed("rp_filter", "0\n"),
    Row::fixed("send_redirects", "0\n"),
];

const CONFIGURATION6: &[Row<Scope>] = &[
    Row::fixed("accept_ra", "1\n"),
    redirects!(1, ACCEPT_REDIRECTS6),
    Row::fixed("disable_ipv6", "0\n"),
    Row::fixed("forwarding", "0\n"),
    Row::fixed("hop_limit", "64\n"),
    Row::file("mtu", |scope| line(scope.interface().map_or(1280, Interface::mtu))),
];
