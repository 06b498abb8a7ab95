//! How the user wants network interfaces to be configured.
//!
//! `[INTERFACE:]ITEM,ITEM...`, where an item is one of
//!
//! - `ADDRESS/PREFIX`: an address, IPv4 or IPv6; several of them are fine;
//! - `gw=ADDRESS`: the default router; one of each family;
//! - `dns=ADDRESS`: a name server; `domain=NAME`: where names are searched;
//! - `mtu=BYTES`;
//! - `dhcp`, `ra`: addresses by DHCP and by what IPv6 routers advertise. Without any such word there are none, but the link-local one;
//! - `off`: no address at all, not even the link-local one.
//!
//! The interface is `ethN`, the first one if it is left out. Several interfaces are separated by `+` or blanks; on the kernel's command
//! line each of them is the value of a word `net=`.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::str::FromStr;

use crate::command_line::words;

/// The key of the command line.
const KEY: &[u8] = b"net=";
/// What the names of interfaces begin with.
const NAME_START: &str = "eth";
/// The smallest packet that every network of IPv4 takes (RFC 791).
const MTU_MIN: u32 = 68;
/// Interfaces that are configured.
const INTERFACES_MAX: usize = 64;
/// Items of one interface.
const ITEMS_MAX: usize = 32;
/// The longest name of a domain (RFC 1035, 2.3.4).
const DOMAIN_LEN_MAX: usize = 253;

/// How one interface is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceOptions {
    /// The N of `ethN`.
    pub number: u32,
    /// Addresses and the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Default routers, at most one of a family.
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    pub name_servers: Vec<IpAddr>,
    /// Where names are searched.
    pub domain: Option<String>,
    /// The MTU.
    pub mtu: Option<u32>,
    /// By DHCP.
    pub uses_dhcp: bool,
    /// By router advertisements.
    pub uses_router_advertisements: bool,
    /// Not even by itself, for its link.
    pub is_off: bool,
}

/// Reads a list of interfaces; the first that makes no sense is the error.
pub fn parse(text: &str) -> Result<Vec<InterfaceOptions>, &str> {
    let parts =
        text.split(|letter: char| letter == '+' || letter.is_ascii_whitespace()).filter(|part| !part.is_empty());
    let mut interfaces: Vec<InterfaceOptions> = Vec::new();
    for part in parts {
        let options = parse_interface(part).ok_or(part)?;
        let is_known = interfaces.iter().any(|other| other.number == options.number);
        if is_known || interfaces.len() >= INTERFACES_MAX {
            return Err(part);
        }
        interfaces.push(options);
    }
    Ok(interfaces)
}

/// The interfaces that a command line names, of each the last word; what makes no sense is left out, and answered beside it.
pub fn of_command_line(line: &[u8]) -> (Vec<InterfaceOptions>, Option<&[u8]>) {
    let mut interfaces: Vec<InterfaceOptions> = Vec::new();
    let mut bad = None;
    for value in words(line).filter_map(|word| word.strip_prefix(KEY)) {
        match core::str::from_utf8(value).ok().and_then(|text| parse(text).ok()) {
            Some(found) => {
                for options in found {
                    interfaces.retain(|other| other.number != options.number);
                    interfaces.push(options);
                }
            }
            None => bad = Some(value),
        }
    }
    interfaces.truncate(INTERFACES_MAX);
    (interfaces, bad)
}

fn parse_interface(text: &str) -> Option<InterfaceOptions> {
    let (number, items) = match text.strip_prefix(NAME_START) {
        Some(rest) => {
            let (number, items) = rest.split_once(':')?;
            (parse_number(number)?, items)
        }
        None => (0, text),
    };
    let mut options = InterfaceOptions { number, ..InterfaceOptions::default() };
    for (index, item) in items.split(',').enumerate() {
        if index >= ITEMS_MAX {
            return None;
        }
        parse_item(&mut options, item)?;
    }
    Some(options)
}

fn parse_item(options: &mut InterfaceOptions, item: &str) -> Option<()> {
    match item.split_once('=') {
        Some(("gw", value)) => {
            let address = parse_address(value)?;
            if options.gateways.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
                return None;
            }
            options.gateways.push(address);
        }
        Some(("dns", value)) => options.name_servers.push(parse_address(value)?),
        Some(("domain", value)) => {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            let is_domain = !value.is_empty() && value.len() <= DOMAIN_LEN_MAX && value.bytes().all(is_name);
            options.domain = Some(String::from(value)).filter(|_| is_domain);
            options.domain.as_ref()?;
        }
        Some(("mtu", value)) => options.mtu = Some(parse_number(value).filter(|mtu| *mtu >= MTU_MIN)?),
        Some(_) => return None,
        None if item == "dhcp" => options.uses_dhcp = true,
        None if item == "ra" => options.uses_router_advertisements = true,
        None if item == "off" => options.is_off = true,
        None => {
            let (address, prefix) = item.split_once('/')?;
            let address = parse_address(address)?;
            let prefix_max = if address.is_ipv4() { 32 } else { 128 };
            let prefix = parse_number(prefix).filter(|prefix| (1..=prefix_max).contains(prefix))?;
            options.addresses.push((address, u8::try_from(prefix).ok()?));
        }
    }
    Some(())
}

/// An address that a host can have.
fn parse_address(text: &str) -> Option<IpAddr> {
    IpAddr::from_str(text).ok().filter(|address| !address.is_unspecified() && !address.is_multicast())
}

fn parse_number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn interfaces_are_read() {
        let options = parse("10.0.0.2/24,gw=10.0.0.1,dns=1.1.1.1,dns=2001:db8::53,domain=example.org").unwrap();
        assert_eq!(
            options,
            [InterfaceOptions {
                addresses: alloc::vec![(address("10.0.0.2"), 24)],
                gateways: alloc::vec![address("10.0.0.1")],
                name_servers: alloc::vec![address("1.1.1.1"), address("2001:db8::53")],
                domain: Some("example.org".into()),
                ..InterfaceOptions::default()
            }]
        );
        let options = parse(" eth1:dhcp,ra,mtu=9000+eth0:2001:db8::2/64,gw=fe80::1 eth12:off").unwrap();
        assert_eq!(options.iter().map(|options| options.number).collect::<Vec<_>>(), [1, 0, 12]);
        assert!(options[0].uses_dhcp && options[0].uses_router_advertisements && options[0].mtu == Some(9000));
        assert_eq!(options[1].addresses, [(address("2001:db8::2"), 64)]);
        assert_eq!(options[1].gateways, [address("fe80::1")]);
        assert_eq!(options[2], InterfaceOptions { number: 12, is_off: true, ..InterfaceOptions::default() });
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "10.0.0.2",
            "10.0.0.2/33",
            "10.0.0.2/0",
            "10.0.0.2/+8",
            "10.0.0.256/8",
            "0.0.0.0/8",
            "224.0.0.1/4",
            "::/64",
            "2001:db8::2/129",
            "gw=",
            "gw=10.0.0.1,gw=10.0.0.2",
            "dns=name",
            "domain=",
            "domain=a b/c",
            "domain=a\u{e4}",
            "mtu=67",
            "mtu=99999999999",
            "dhcp,",
            ",",
            "what",
            "what=1",
            "eth:dhcp",
            "eth-1:dhcp",
            "eth0",
            "eth0:",
            "eth99999999999:dhcp",
            "eth0:dhcp+dhcp",
            "lo:127.0.0.2/8",
        ] {
            // Blanks separate interfaces: there the part is at fault.
            assert!(parse(text).is_err(), "{text}");
        }
        let many = alloc::vec!["dns=1.1.1.1"; ITEMS_MAX + 1].join(",");
        assert!(parse(&many).is_err());
        let many: Vec<_> = (0..=INTERFACES_MAX).map(|number| alloc::format!("eth{number}:off")).collect();
        assert!(parse(&many.join("+")).is_err());
    }

    #[test]
    fn the_last_word_of_a_command_line_counts() {
        let line = b"log=info net=10.0.0.2/24 net=eth1:dhcp internet=1 net=eth0:ra+eth2:off net=eth1:\xff";
        let (interfaces, bad) = of_command_line(line);
        assert_eq!(interfaces.iter().map(|options| options.number).collect::<Vec<_>>(), [1, 0, 2]);
        assert!(interfaces[1].uses_router_advertisements && interfaces[1].addresses.is_empty());
        assert_eq!(bad, Some(&b"eth1:\xff"[..]));
        assert_eq!(of_command_line(b"net"), (Vec::new(), None));
    }
}
