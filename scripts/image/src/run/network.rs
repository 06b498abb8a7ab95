//! `NET=`: which network devices the machine has, and what is at their other ends.
//!
//! Devices are separated by blanks or `+`, the options of one by commas:
//!
//! - `user[,ports=HOST:GUEST[,HOST:GUEST...]][,udp=HOST:GUEST...]`: a network of QEMU's own behind address translation. It needs no
//!   privileges. Ports of the host, on 127.0.0.1 only, lead to ports of the machine.
//! - `tap:NAME[,queues=N]`: an interface of the host, which exists.
//! - `socket:PATH`, `listen:PATH`: a stream socket of the Unix domain, to connect to or to make; each frame behind its length in four bytes.
//! - `dgram:LOCAL:REMOTE`: a pair of datagram sockets of the Unix domain; a frame each.
//! - All take `mac=ADDRESS`, `mtu=BYTES` and `pcap=FILE`, which records what passes. An interface of the host has no offloads then, as some
//!   QEMUs write their headers into the file as if they were of the frame. `tcpdump` on the host sees what passes with them.
//! - `none`: no device.

use std::path::Path;

use super::settings::Machine;
use crate::{Failure, Result};

/// Network devices of a machine.
const DEVICES_MAX: usize = 8;
/// Pairs of queues of a device; the kernel uses no more.
const QUEUES_MAX: u32 = 64;
/// In `tun_flags` of a host's interface: several descriptors may share it (`IFF_MULTI_QUEUE`).
const MANY_QUEUES: u32 = 0x100;

/// What is at the other end of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// QEMU's own network; ports of the host that lead to the machine, TCP and UDP.
    User {
        /// TCP, of the host and of the machine.
        tcp: Vec<(u16, u16)>,
        /// UDP, likewise.
        udp: Vec<(u16, u16)>,
    },
    /// An interface of the host.
    Tap {
        /// Its name.
        name: String,
        /// Pairs of queues, if the user says how many.
        queues: Option<u32>,
    },
    /// A stream socket.
    Stream {
        /// Its path.
        path: String,
        /// Whether QEMU makes it.
        is_server: bool,
    },
    /// Datagram sockets.
    Datagram {
        /// The path of QEMU's own.
        local: String,
        /// Where it sends.
        remote: String,
    },
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkDevice {
    /// The other end.
    pub link: Link,
    /// Its address, if not one of QEMU's choice.
    pub mac: Option<String>,
    /// The largest packet, if not the usual one.
    pub mtu: Option<u16>,
    /// A file that gets what passes.
    pub capture: Option<String>,
}

/// Reads the value of `NET`.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(value: &str) -> Result<Vec<NetworkDevice>> {
    let devices: Vec<_> = value
        .split(|letter: char| letter == '+' || letter.is_ascii_whitespace())
        .filter(|text| !text.is_empty() && *text != "none")
        .map(|text| parse_device(text).ok_or_else(|| bad(text)))
        .collect::<Result<_>>()?;
    if devices.len() > DEVICES_MAX {
        return Err(Failure::new(format!("NET={value}: there can be {DEVICES_MAX} devices")));
    }
    Ok(devices)
}

fn bad(text: &str) -> Failure {
    Failure::new(format!(
        "NET={text}: it should be none, user[,ports=HOST:GUEST,...][,udp=HOST:GUEST,...], tap:NAME, socket:PATH, listen:PATH or dgram:LOCAL:REMOTE"
    ))
}

fn parse_device(text: &str) -> Option<NetworkDevice> {
    let mut words = text.split(',');
    let mut device = NetworkDevice { link: parse_link(words.next()?)?, mac: None, mtu: None, capture: None };
    let mut is_udp = false;
    for word in words {
        // What has no key goes on with the list of ports before it.
        let (key, value) = word.split_once('=').unwrap_or((if is_udp { "udp" } else { "ports" }, word));
        match (key, &mut device.link) {
            ("ports" | "tcp", Link::User { tcp, .. }) => {
                is_udp = false;
                tcp.push(parse_ports(value)?);
            }
            ("udp", Link::User { udp, .. }) => {
                is_udp = true;
                udp.push(parse_ports(value)?);
            }
            ("queues", Link::Tap { queues, .. }) => {
                *queues = Some(value.parse().ok().filter(|queues| (1..=QUEUES_MAX).contains(queues))?);
            }
            ("mac", _) => device.mac = Some(value.to_owned()).filter(|mac| is_mac(mac)),
            ("mtu", _) => device.mtu = Some(value.parse().ok().filter(|mtu| *mtu >= 68)?),
            ("pcap", _) if !value.is_empty() => device.capture = Some(value.to_owned()),
            _ => return None,
        }
        if key == "mac" && device.mac.is_none() {
            return None;
        }
    }
    Some(device)
}

fn parse_link(text: &str) -> Option<Link> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    match kind {
        "user" if rest.is_empty() => Some(Link::User { tcp: Vec::new(), udp: Vec::new() }),
        "tap" if is_interface_name(rest) => Some(Link::Tap { name: rest.to_owned(), queues: None }),
        "socket" | "listen" if !rest.is_empty() => {
            Some(Link::Stream { path: rest.to_owned(), is_server: kind == "listen" })
        }
        "dgram" => {
            let (local, remote) =
                rest.split_once(':').filter(|(local, remote)| !local.is_empty() && !remote.is_empty())?;
            Some(Link::Datagram { local: local.to_owned(), remote: remote.to_owned() })
        }
        _ => None,
    }
}

fn parse_ports(text: &str) -> Option<(u16, u16)> {
    let (host, guest) = text.split_once(':')?;
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
    Some((port(host)?, port(guest)?))
}

fn is_mac(text: &str) -> bool {
    let is_byte = |byte: &str| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok();
    text.split(':').count() == 6 && text.split(':').all(is_byte)
}

/// What Linux takes for the name of an interface, and QEMU between commas.
fn is_interface_name(text: &str) -> bool {
    (1..16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Reads the value of `NETCFG`, and answers the words of the kernel's command line that say it.
///
/// # Errors
/// Says what is wrong with it.
pub fn configuration(value: &str) -> Result<String> {
    let bad = |part| {
        Failure::new(format!(
            "NETCFG={part}: it should be [ethN:]ADDRESS/PREFIX,gw=ADDRESS,dns=ADDRESS,domain=NAME,mtu=BYTES,dhcp,ra or off"
        ))
    };
    firmware::network::parse(value).map_err(bad)?;
    let parts = value.split(|letter: char| letter == '+' || letter.is_ascii_whitespace());
    let words: Vec<_> = parts.filter(|part| !part.is_empty()).map(|part| format!("net={part}")).collect();
    Ok(words.join(" "))
}

/// The arguments of QEMU for the devices. `has_multiqueue` tells of an interface of the host whether it takes several queues.
pub fn arguments(
    devices: &[NetworkDevice],
    machine: Machine,
    cpus: u32,
    has_multiqueue: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut list = Vec::new();
    for (number, device) in devices.iter().enumerate() {
        let queues = match &device.link {
            // A device in memory has one interrupt for all queues: there more of them would be of no use.
            Link::Tap { .. } if machine == Machine::Microvm => 1,
            Link::Tap { queues: Some(queues), .. } => *queues,
            Link::Tap { name, .. } if cpus > 1 && has_multiqueue(name) => cpus.min(QUEUES_MAX),
            _ => 1,
        };
        // Such an interface refuses who wants a single queue: one of two stays unused.
        let needs_several = matches!(&device.link, Link::Tap { name, .. } if has_multiqueue(name));
        let opened = if needs_several { queues.max(2) } else { queues };
        list.extend(["-netdev".into(), backend(device, number, opened)]);
        if let Some(file) = &device.capture {
            list.extend(["-object".into(), format!("filter-dump,id=dump{number},netdev=net{number},file={}", file)]);
        }
        let mut front = match machine {
            Machine::Microvm => format!("virtio-net-device,netdev=net{number}"),
            // The firmware is not to boot from the network.
            Machine::Q35 | Machine::Pc => format!("virtio-net-pci,disable-legacy=on,romfile=,netdev=net{number}"),
        };
        if queues > 1 {
            front.push_str(&format!(",mq=on,vectors={}", 2 * queues + 2));
        }
        if let Some(mac) = &device.mac {
            front.push_str(&format!(",mac={mac}"));
        }
        if let Some(mtu) = device.mtu {
            front.push_str(&format!(",host_mtu={mtu}"));
        }
        list.extend(["-device".into(), front]);
    }
    list
}

fn backend(device: &NetworkDevice, number: usize, queues: u32) -> String {
    match &device.link {
        Link::User { tcp, udp } => {
            let mut text = format!("user,id=net{number}");
            let forwards = tcp.iter().map(|pair| ("tcp", pair)).chain(udp.iter().map(|pair| ("udp", pair)));
            for (protocol, (host, guest)) in forwards {
                text.push_str(&format!(",hostfwd={protocol}:127.0.0.1:{host}-:{guest}"));
            }
            text
        }
        Link::Tap { name, .. } => {
            let several = if queues > 1 { format!(",queues={queues}") } else { String::new() };
            let plain = if device.capture.is_some() { ",vnet_hdr=off" } else { "" };
            format!("tap,id=net{number},ifname={name},script=no,downscript=no{several}{plain}")
        }
        Link::Stream { path, is_server } => {
            let server = if *is_server { "on" } else { "off" };
            format!("stream,id=net{number},server={server},addr.type=unix,addr.path={}", path)
        }
        Link::Datagram { local, remote } => {
            format!("dgram,id=net{number},local.type=unix,local.path={local},remote.type=unix,remote.path={remote}")
        }
    }
}

/// Whether an interface of this host takes several queues.
pub fn has_multiqueue(name: &str) -> bool {
    let path = Path::new("/sys/class/net").join(name).join("tun_flags");
    let flags = std::fs::read_to_string(path).ok();
    let flags = flags.and_then(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok());
    flags.is_some_and(|flags| flags & MANY_QUEUES != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(link: Link) -> NetworkDevice {
        NetworkDevice { link, mac: None, mtu: None, capture: None }
    }

    fn lines(value: &str, machine: Machine, cpus: u32, is_multiqueue: bool) -> Vec<String> {
        arguments(&parse(value).unwrap(), machine, cpus, |_| is_multiqueue)
    }

    #[test]
    fn devices_are_read() {
        assert_eq!(parse("none").unwrap(), []);
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(
            parse("user,ports=8080:80,8443:443,udp=5353:53,54:54 + tap:tap0,queues=2,mac=52:54:00:00:00:01").unwrap(),
            [
                plain(Link::User { tcp: vec![(8080, 80), (8443, 443)], udp: vec![(5353, 53), (54, 54)] }),
                NetworkDevice {
                    mac: Some("52:54:00:00:00:01".into()),
                    ..plain(Link::Tap { name: "tap0".into(), queues: Some(2) })
                },
            ]
        );
        assert_eq!(
            parse("socket:/a,mtu=9000 dgram:/b:/c,pcap=/d").unwrap(),
            [
                NetworkDevice { mtu: Some(9000), ..plain(Link::Stream { path: "/a".into(), is_server: false }) },
                NetworkDevice {
                    capture: Some("/d".into()),
                    ..plain(Link::Datagram { local: "/b".into(), remote: "/c".into() })
                },
            ]
        );
    }

    #[test]
    fn configurations_become_words() {
        assert_eq!(
            configuration(" 10.0.0.2/24,gw=10.0.0.1 eth1:dhcp+eth2:off").unwrap(),
            "net=10.0.0.2/24,gw=10.0.0.1 net=eth1:dhcp net=eth2:off"
        );
        assert!(configuration("10.0.0.2").unwrap_err().to_string().starts_with("NETCFG=10.0.0.2: it should be "));
    }

    #[test]
    fn nonsense_is_refused() {
        for value in [
            "users",
            "user:x",
            "user,8080",
            "user,ports=80",
            "user,ports=0:80",
            "user,ports=65536:80",
            "user,queues=2",
            "tap:",
            "tap",
            "tap:a,b",
            "tap:0123456789abcdef",
            "tap:a/b",
            "tap:a,queues=0",
            "socket:",
            "dgram:/a",
            "dgram::/b",
            "user,mac=1:2:3",
            "user,mac=52:54:00:00:00:0g",
            "user,mtu=60",
            "user,pcap=",
            "user,what=1",
            "user+user+user+user+user+user+user+user+user",
        ] {
            assert!(parse(value).is_err(), "{value}");
        }
    }

    #[test]
    fn qemu_is_told() {
        assert_eq!(
            lines("user,ports=8080:80,udp=1:2", Machine::Microvm, 4, true),
            [
                "-netdev",
                "user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:127.0.0.1:1-:2",
                "-device",
                "virtio-net-device,netdev=net0"
            ]
        );
        let tap = lines("tap:t", Machine::Q35, 2, true);
        assert_eq!(tap[1], "tap,id=net0,ifname=t,script=no,downscript=no,queues=2");
        assert_eq!(tap[3], "virtio-net-pci,disable-legacy=on,romfile=,netdev=net0,mq=on,vectors=6");
        let recorded = lines("tap:t,pcap=/e", Machine::Q35, 1, false);
        assert_eq!(recorded[1], "tap,id=net0,ifname=t,script=no,downscript=no,vnet_hdr=off");
        for tap in [lines("tap:t", Machine::Q35, 2, false), lines("tap:t,queues=3", Machine::Microvm, 4, false)] {
            assert!(!tap[1].contains("queues") && !tap[3].contains("mq"), "{tap:?}");
        }
        for tap in [lines("tap:t", Machine::Q35, 1, true), lines("tap:t,queues=3", Machine::Microvm, 4, true)] {
            assert!(tap[1].ends_with(",queues=2") && !tap[3].contains("mq"), "{tap:?}");
        }
    }

    #[test]
    fn sockets_and_captures_are_told() {
        let both = lines("listen:/a dgram:/c:/d,pcap=/e,mtu=9000", Machine::Pc, 1, false);
        assert_eq!(both[1], "stream,id=net0,server=on,addr.type=unix,addr.path=/a");
        assert_eq!(both[5], "dgram,id=net1,local.type=unix,local.path=/c,remote.type=unix,remote.path=/d");
        assert_eq!(both[7], "filter-dump,id=dump1,netdev=net1,file=/e");
        assert!(both[9].ends_with("netdev=net1,host_mtu=9000"));
    }
}
