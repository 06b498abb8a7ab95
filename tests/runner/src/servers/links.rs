//! One machine with three devices, and what only several devices or odd ones show (`servers/tap/links`):
//!
//! - eth0: two pairs of queues, with traffic on both; addresses of IPv6 by what a router advertises; a path behind that router whose MTU is smaller.
//! - eth1: a small MTU, held to on the wire; which device a connection takes, by route and by choice.
//! - eth2: a link that loses, doubles, spoils and reorders frames, by a seed (`NETSIM_SEED`).
//!
//! The machine runs `tests/bench/net/serve.c`. Behind the host, which forwards, there is one more namespace, with this program in it ([`far`]).

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_ipv6_multicast_hops;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, netdevice, sendto, socket};

use super::list::Server;
use super::{INSIDE, Peer, exchange, ip};
use crate::schedule::Failure;
use crate::tools::Tools;

/// The name of this program's other part.
pub(super) const FAR: &str = "far";
pub(super) const CPUS: u32 = 2;

const ORDERS_PORT: u16 = 7006;
/// Where the host and the far side listen.
const EARS_PORT: u16 = 7010;
/// The machine by its several ways.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const FIRST_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456);
const SMALL: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
const SMALL_V6: Ipv6Addr = Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 2);
const BAD: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 2);
const SMALL_MTU: usize = 1400;
const LINK_HEADER_LEN: usize = 14;
/// Of a capture file, and of each frame in it.
const RECORD_HEADER_LEN: usize = 24;
const FRAME_HEADER_LEN: usize = 16;
/// Until the machine has made itself an address.
const AUTOCONFIGURATION_TIME_MAX: Duration = Duration::from_secs(30);
/// What programs of this test say when they go on.
const READY: &[u8; 6] = b"ready\n";

/// In this namespace: a device for each of the machine's, and the way to the far side.
const SETTINGS: &[&str] = &[
    "link set lo up",
    "tuntap add dev pairs mode tap vnet_hdr multi_queue",
    "address add 10.77.0.1/24 dev pairs",
    "address add fd77::1/64 dev pairs nodad",
    "address add fe80::1/64 dev pairs nodad",
    "link set pairs up",
    "tuntap add dev small mode tap",
    "address add 10.78.0.1/24 dev small",
    "address add fd78::1/64 dev small nodad",
    "link set small mtu 1400 up",
    "tuntap add dev bad mode tap",
    "address add 10.80.0.1/24 dev bad",
    "link set bad up",
    "address add 10.79.0.1/24 dev near",
    "address add fd79::1/64 dev near nodad",
    "link set near mtu 1300 up",
];
const FAR_SETTINGS: &[&str] = &[
    "address add 10.79.0.2/24 dev far",
    "address add fd79::2/64 dev far nodad",
    "link set far up",
    "route add default via 10.79.0.1",
    "-6 route add default via fd79::1",
];

pub(super) const SERVER: Server = Server {
    name: "links",
    app: "",
    program: "serve",
    files: "",
    arguments: &["both"],
    ports: &[],
    datagram_port: None,
    cpus: &[CPUS],
    greet: |peer| exchange::echo(peer, b"hello"),
    exchange: |_, peer| everything(peer),
};

/// In the test's namespace: makes the links, and boots the machine.
pub(super) fn run(tools: &Tools) -> Result<(), Failure> {
    let work = tools.work.join("servers").join("links");
    let failed = |error: std::io::Error| format!("{}: {error}", work.display());
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).map_err(failed)?;
    let _far = Far::new()?;
    SETTINGS.iter().try_for_each(|words| ip(&mut Command::new("ip"), words))?;
    for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        fs::write(Path::new("/proc/sys/net").join(setting), "1").map_err(|error| format!("{setting}: {error}"))?;
    }
    let ears = TcpListener::bind((Ipv4Addr::UNSPECIFIED, EARS_PORT)).map_err(failed)?;
    thread::spawn(move || hear(&ears));
    let (guest, host) = (work.join("guest"), work.join("host"));
    let bad_link = BadLink::new(tools, &guest, &host)?;
    let record = work.join("small.pcap");
    let devices = format!(
        "tap:pairs,queues=2 tap:small,mtu={SMALL_MTU},pcap={} dgram:{}:{}",
        record.display(),
        guest.display(),
        host.display()
    );
    let addresses = "10.77.0.2/24,gw=10.77.0.1,ra eth1:10.78.0.2/24,fd78::2/64 eth2:10.80.0.2/24".to_owned();
    // A device of another machine has one interrupt for all its queues.
    let network = [("NET", devices), ("NETCFG", addresses), ("MACHINE", "q35".to_owned())];
    super::run(tools, &SERVER, CPUS, "tap", &network, &to(FIRST.into()))?;
    bad_link.end()?;
    check_frames(&fs::read(&record).map_err(failed)?)?;
    fs::remove_dir_all(&work).map_err(failed)
}

/// All that is tested of the machine.
fn everything(first: &Peer) -> Result<(), Failure> {
    let step = |name: &'static str| move |failure: Failure| format!("{name}: {failure}");
    pairs(first).map_err(step("two pairs of queues"))?;
    advertise().map_err(step("a router's advertisement"))?;
    wait_for_address(&to(FIRST_V6.into()))?;
    exchange::everything(&to(FIRST_V6.into())).map_err(step("IPv6, autoconfigured"))?;
    exchange::everything(&to(SMALL_V6.into())).map_err(step("IPv6, static, with a small MTU"))?;
    exchange::everything(&to(SMALL.into())).map_err(step("a small MTU"))?;
    let mtu = order(first, "read /sys/class/net/eth1/mtu")?;
    if mtu != format!("{SMALL_MTU}\n") {
        return Err(format!("the device's MTU is {mtu}"));
    }
    ways(first)?;
    bad_link(&to(BAD.into())).map_err(step("a bad link"))
}

/// Connections on both processors, so that each pair of queues has something to do both ways: the host answers a flow on the queue it came by.
fn pairs(peer: &Peer) -> Result<(), Failure> {
    let bytes = exchange::noise(30_000);
    exchange::side_by_side(peer, || exchange::echo(peer, &bytes))?;
    let counts = order(peer, "read /proc/nacre/network")?;
    for wanted in ["eth0 pair 0 received", "eth0 pair 0 sent", "eth0 pair 1 received", "eth0 pair 1 sent"] {
        let count = counts.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(": ")?.parse::<u64>().ok());
        if count.is_none_or(|count| count < 20) {
            return Err(format!("{wanted}:\n{counts}"));
        }
    }
    Ok(())
}

/// Which way connections take, and what they learn of it.
fn ways(peer: &Peer) -> Result<(), Failure> {
    let far_v6 = format!("from {FIRST_V6} mtu 1300\n");
    for (call, wanted) in [
        // By the routes.
        ("- 10.77.0.1 7010 1000", "from 10.77.0.2 mtu 1500\n"),
        ("- 10.78.0.1 7010 1000", "from 10.78.0.2 mtu 1400\n"),
        // By choice, whatever the routes say.
        ("eth1 10.77.0.1 7010 1000", "from 10.78.0.2 mtu 1400\n"),
        ("eth0 10.78.0.1 7010 1000", "from 10.77.0.2 mtu 1500\n"),
        ("eth7 10.78.0.1 7010 1000", "No such device\n"),
        // What a router says of the path behind it.
        ("- 10.79.0.2 7010 300000", "from 10.77.0.2 mtu 1300\n"),
        ("- fd79::2 7010 300000", &far_v6),
    ] {
        let found = order(peer, &format!("connect {call}"))?;
        if found != wanted {
            return Err(format!("connect {call}: {found:?} in place of {wanted:?}"));
        }
    }
    Ok(())
}

fn bad_link(peer: &Peer) -> Result<(), Failure> {
    exchange::echo(peer, &exchange::noise(200_000))?;
    exchange::sink(peer, 300_000)?;
    exchange::source(peer, 300_000)?;
    [512, 4000].into_iter().try_for_each(|size| exchange::datagram(peer, size))
}

/// The machine by one of its addresses.
fn to(host: std::net::IpAddr) -> Peer {
    Peer { host, ports: Vec::new(), is_direct: true }
}

/// Has the server do something, and hears what came of it.
fn order(peer: &Peer, line: &str) -> Result<String, Failure> {
    let mut stream = peer.connect(ORDERS_PORT)?;
    let mut answer = String::new();
    let done = writeln!(stream, "{line}").and_then(|()| stream.read_to_string(&mut answer));
    done.map(|_| answer).map_err(|error| format!("{line}: {error}"))
}

/// Says that fd77::/64 is the network of the first link and this host its router (RFC 4861, 4.2), once.
fn advertise() -> Result<(), Failure> {
    let failed = |error: rustix::io::Errno| error.to_string();
    let socket = socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)).map_err(failed)?;
    set_ipv6_multicast_hops(&socket, 255).map_err(failed)?;
    let device = netdevice::name_to_index(&socket, "pairs").map_err(failed)?;
    // A router for half an hour; the prefix is on the link and for addresses, for an hour.
    let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0]);
    message.extend(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0).octets());
    let all_nodes = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, device);
    sendto(&socket, &message, SendFlags::empty(), &all_nodes).map(|_| ()).map_err(failed)
}

/// The machine first makes sure that nobody else has the address.
fn wait_for_address(peer: &Peer) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        match TcpStream::connect_timeout(&peer.address(7001), Duration::from_secs(1)) {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > AUTOCONFIGURATION_TIME_MAX => {
                return Err(format!("the machine has made itself no address: {error}"));
            }
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// No frame on the link with the small MTU is longer, and there are such that are as long.
fn check_frames(record: &[u8]) -> Result<(), Failure> {
    let mut longest = 0;
    let mut rest = record.get(RECORD_HEADER_LEN..).unwrap_or_default();
    while let Some((header, behind)) = rest.split_at_checked(FRAME_HEADER_LEN) {
        let len = header.get(8..12).and_then(<[u8]>::first_chunk).map_or(0, |len| u32::from_le_bytes(*len) as usize);
        longest = longest.max(len);
        rest = behind.get(len..).unwrap_or_default();
    }
    if longest == SMALL_MTU + LINK_HEADER_LEN {
        return Ok(());
    }
    Err(format!("the longest frame of packets of {SMALL_MTU} bytes has {longest}"))
}

/// A namespace behind the host, and this program in it.
struct Far(Child);

impl Far {
    fn new() -> Result<Self, Failure> {
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new("unshare");
        command.arg("--net").arg(this).env(INSIDE, FAR).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut far = Self(command.spawn().map_err(|error| format!("unshare: {error}"))?);
        // It is inside when it says so.
        read_ready(&mut far.0)?;
        let process = far.0.id().to_string();
        ip(&mut Command::new("ip"), &format!("link add near type veth peer name far netns {process}"))?;
        for words in FAR_SETTINGS {
            ip(Command::new("nsenter").args(["--target", &process, "--net", "ip"]), words)?;
        }
        Ok(far)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What this program is on the far side: it listens, until its input ends.
pub(super) fn far() -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, EARS_PORT)).map_err(|error| error.to_string())?;
    thread::spawn(move || hear(&listener));
    std::io::stdout().write_all(READY).map_err(|error| error.to_string())?;
    std::io::stdin().read_to_end(&mut Vec::new()).map(|_| ()).map_err(|error| error.to_string())
}

/// Takes what comes, one connection after the other.
fn hear(listener: &TcpListener) {
    for mut stream in listener.incoming().flatten() {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
}

/// The bad link, which is a program of `tests/netsim` between a device of this namespace and a pair of datagram sockets.
struct BadLink(Child);

impl BadLink {
    fn new(tools: &Tools, guest: &Path, host: &Path) -> Result<Self, Failure> {
        let seed = std::env::var("NETSIM_SEED").unwrap_or_else(|_| "1".to_owned());
        let mut command = Command::new(tools.network_simulator());
        command.args([Path::new("bridge"), Path::new("bad"), host, guest, Path::new(&seed)]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut link = Self(child.map_err(|error| format!("{command:?}: {error}"))?);
        read_ready(&mut link.0)?;
        Ok(link)
    }

    /// What it did, which must be something of all.
    fn end(mut self) -> Result<(), Failure> {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stdout.take().map(|mut output| output.read_to_string(&mut said));
        let is_bad = |line: &str| !line.split(' ').any(|word| word == "0");
        if said.lines().count() == 2 && said.lines().all(is_bad) {
            return Ok(());
        }
        Err(format!("the bad link was a good one: {said}"))
    }
}

impl Drop for BadLink {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the word that a program says when it goes on.
fn read_ready(child: &mut Child) -> Result<(), Failure> {
    let mut word = [0; READY.len()];
    match child.stdout.as_mut().map(|output| output.read_exact(&mut word)) {
        Some(Ok(())) if word == *READY => Ok(()),
        other => Err(format!("a program of the test does not begin: {other:?}")),
    }
}
