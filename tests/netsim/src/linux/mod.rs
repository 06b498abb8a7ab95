//! Linux's stack as one end, or both: network namespaces whose devices are this program's.
//!
//! - [`Namespace`]: a network of its own, gone when it is dropped.
//! - [`Device`]: a TUN or TAP device in a namespace; this program is its cable.
//! - [`wire`]: what joins devices, or a device and a [`crate::TcpEnd`], through links, in real time.
//! - [`peer`]: what runs inside of namespaces.
//!
//! Needs the right to make namespaces and devices; [`find_obstacle`] says whether that is so.

pub mod peer;
pub mod wire;

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use smoltcp::phy::{Device as _, Medium, RxToken, TunTapInterface, TxToken};
use smoltcp::time::Instant;

/// Packets that wait in a device for this program.
const DEVICE_QUEUE_LEN: u32 = 10_000;

/// Numbers for names.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Why Linux's stack cannot be an end here; none if it can.
#[must_use]
pub fn find_obstacle() -> Option<String> {
    if !Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun".to_owned());
    }
    let trial = Namespace::new().and_then(|namespace| Device::new(&namespace, Kind::Ip, 1500).map(drop));
    trial.err()
}

/// A network of its own.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one, with loopback alone, and with Linux's own defaults where this machine's may differ.
    pub fn new() -> Result<Self, String> {
        let name = unique_name();
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        run(namespace.command("ip").args(["link", "set", "lo", "up"]))?;
        for (setting, value) in [
            ("ipv4/tcp_rmem", "4096 131072 6291456"),
            ("ipv4/tcp_wmem", "4096 16384 4194304"),
            ("ipv4/tcp_no_metrics_save", "1"),
        ] {
            namespace.set(setting, value)?;
        }
        Ok(namespace)
    }

    /// Changes a setting below `/proc/sys/net`.
    pub fn set(&self, setting: &str, value: &str) -> Result<(), String> {
        run(self.command("sh").args(["-c", "echo \"$1\" > /proc/sys/net/\"$0\"", setting, value]))
    }

    /// A command that runs in it.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = run(Command::new("ip").args(["netns", "delete", &self.name]));
        debug_assert!(deleted.is_ok(), "{deleted:?}");
    }
}

/// What a device carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IP packets (TUN).
    Ip,
    /// Ethernet frames (TAP).
    Ethernet,
}

impl Kind {
    fn medium(self) -> Medium {
        if self == Self::Ip { Medium::Ip } else { Medium::Ethernet }
    }
}

/// A device in a namespace.
#[derive(Debug)]
pub struct Device {
    name: String,
    tun: TunTapInterface,
}

impl Device {
    /// A device that is up and has no address. `mtu` is of IP packets.
    pub fn new(namespace: &Namespace, kind: Kind, mtu: usize) -> Result<Self, String> {
        let name = unique_name();
        let mode = if kind == Kind::Ip { "tun" } else { "tap" };
        run(Command::new("ip").args(["tuntap", "add", &name, "mode", mode]))?;
        let device = Self::attach(namespace, &name, kind, mtu);
        if device.is_err() {
            // Where it is by now is not known; in the namespace, it goes with that.
            let _ = run(Command::new("ip").args(["link", "delete", &name]));
        }
        device
    }

    fn attach(namespace: &Namespace, name: &str, kind: Kind, mtu: usize) -> Result<Self, String> {
        // In this namespace first: that is where the device file looks for it.
        let (mtu, queue_len) = (mtu.to_string(), DEVICE_QUEUE_LEN.to_string());
        run(Command::new("ip").args(["link", "set", name, "mtu", &mtu, "txqueuelen", &queue_len]))?;
        let device = Self::existing(name, kind)?;
        run(Command::new("ip").args(["link", "set", name, "netns", &namespace.name]))?;
        run(namespace.command("ip").args(["link", "set", name, "up"]))?;
        Ok(device)
    }

    /// A device that `ip tuntap` has made in this thread's own namespace.
    pub fn existing(name: &str, kind: Kind) -> Result<Self, String> {
        let tun = TunTapInterface::new(name, kind.medium()).map_err(|error| format!("/dev/net/tun: {error}"))?;
        Ok(Self { name: name.to_owned(), tun })
    }

    /// Its name in the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives Linux's side an address in a network of 24 bits, or 64 of IPv6.
    pub fn add_address(&self, namespace: &Namespace, address: IpAddr) -> Result<(), String> {
        let text = format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 });
        // Used at once: nobody else is on the link.
        let nodad = address.is_ipv6().then_some("nodad");
        run(namespace.command("ip").args(["address", "add", &text, "dev", &self.name]).args(nodad))
    }

    /// A packet that Linux has sent, if there is one.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let (packet, _) = self.tun.receive(Instant::ZERO)?;
        Some(packet.consume(<[u8]>::to_vec))
    }

    /// Gives Linux a packet. One that the device refuses, because it is spoilt, is lost.
    pub fn send(&mut self, packet: &[u8]) {
        if packet.is_empty() || packet[0] >> 4 != 4 && packet[0] >> 4 != 6 && self.carries_ip() {
            return;
        }
        if let Some(token) = self.tun.transmit(Instant::ZERO) {
            token.consume(packet.len(), |to| to.copy_from_slice(packet));
        }
    }

    fn carries_ip(&self) -> bool {
        self.tun.capabilities().medium == Medium::Ip
    }
}

/// The time that this program's thread has used a CPU, in nanoseconds.
pub fn cpu_time_ns() -> Result<u64, String> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").map_err(|error| format!("schedstat: {error}"))?;
    text.split_whitespace().next().and_then(|first| first.parse().ok()).ok_or_else(|| "schedstat: no number".to_owned())
}

fn unique_name() -> String {
    // 15 bytes at most: a device's name.
    format!("ns{}-{}", std::process::id() % 10_000_000, COUNT.fetch_add(1, Ordering::Relaxed))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
