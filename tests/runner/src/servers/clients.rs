//! Programs in a machine that use the host, and end: BusyBox's tools of the network.
//!
//! They run by QEMU's own network, which answers echo requests to the host itself.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Peer, free_port, host};
use crate::apps::App;
use crate::process::{self, Input, shown};
use crate::schedule::{Failure, Test, Verdict};
use crate::tools::{Boot, Tools};

const CLIENT_TIME_MAX: Duration = Duration::from_secs(120);
/// The port on which the machine listens.
const MACHINE_PORT: u16 = 7100;

/// What a program is for, and what must come of it.
struct Use {
    name: &'static str,
    /// Its words; `HOST` and `PORT` are the host's.
    words: &'static [&'static str],
    input: &'static str,
    /// Texts in its output, in this order.
    output: &'static [&'static str],
    /// What the host does meanwhile.
    service: Service,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    None,
    /// An HTTP server.
    Http,
    /// Reads a line and says another.
    Line,
    /// Connects to the machine.
    Caller,
}

const USES: &[Use] = &[
    Use {
        name: "wget",
        words: &["wget", "-q", "-O", "-", "http://HOST:PORT/file"],
        input: "",
        output: &["line 1 of the file\n", "line 20000 of the file\n"],
        service: Service::Http,
    },
    Use {
        name: "nc",
        words: &["nc", "HOST", "PORT"],
        input: "from the machine\n",
        output: &["from the host\n"],
        service: Service::Line,
    },
    Use {
        name: "nc-listens",
        words: &["nc", "-l", "-p", "7100"],
        input: "from the machine\n",
        output: &["from the host\n"],
        service: Service::Caller,
    },
    Use {
        name: "ping",
        words: &["ping", "-c", "3", "-i", "0.2", "-s", "1000", "-W", "20", "HOST"],
        input: "",
        output: &["1008 bytes from 10.0.2.2: seq=0 ttl=", "3 packets transmitted, 3 packets received, 0% packet loss"],
        service: Service::None,
    },
    Use {
        name: "ip-address",
        words: &["ip", "address"],
        input: "",
        output: &[
            "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 ",
            "link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n",
            "inet 127.0.0.1/8 scope host lo\n",
            "inet6 ::1/128 scope host \n",
            "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 ",
            "link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff\n",
            "inet 10.0.2.15/24 brd 10.0.2.255 scope global ",
            "inet6 fe80::5054:ff:fe12:3456/64 scope link \n",
        ],
        service: Service::None,
    },
    Use {
        name: "ip-link",
        words: &["ip", "link", "show", "eth0"],
        input: "",
        output: &["2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 ", "link/ether 52:54:00:12:34:56 "],
        service: Service::None,
    },
    Use {
        name: "ip-route",
        words: &["ip", "route"],
        input: "",
        output: &["default via 10.0.2.2 dev eth0 ", "10.0.2.0/24 dev eth0 scope link  src 10.0.2.15 \n"],
        service: Service::None,
    },
    Use {
        name: "ip-route-get",
        words: &["ip", "route", "get", "192.0.2.1"],
        input: "",
        output: &["192.0.2.1 via 10.0.2.2 dev eth0  src 10.0.2.15 \n"],
        service: Service::None,
    },
    Use {
        name: "ip-route-get-local",
        words: &["ip", "route", "get", "10.0.2.15"],
        input: "",
        output: &["local 10.0.2.15 dev lo  src 10.0.2.15 \n"],
        service: Service::None,
    },
    Use {
        name: "ifconfig",
        words: &["ifconfig"],
        input: "",
        output: &[
            "eth0      Link encap:Ethernet  HWaddr 52:54:00:12:34:56  \n",
            "inet addr:10.0.2.15  Bcast:10.0.2.255  Mask:255.255.255.0\n",
            "UP BROADCAST RUNNING MULTICAST  MTU:1500  Metric:1\n",
            "lo        Link encap:Local Loopback  \n",
        ],
        service: Service::None,
    },
    Use {
        name: "netstat",
        words: &["netstat", "-rn"],
        input: "",
        output: &[
            "0.0.0.0         10.0.2.2        0.0.0.0         UG ",
            "10.0.2.0        0.0.0.0         255.255.255.0   U ",
        ],
        service: Service::None,
    },
];

/// A test for each.
pub(super) fn tests(tools: &Tools) -> Vec<Test> {
    let app = Arc::new(App::new(tools.root.join("tests/apps/busybox")));
    let test = |used: &'static Use| {
        let (tools, app) = (tools.clone(), Arc::clone(&app));
        Test::new(format!("servers/client/{}", used.name), move || {
            if let Err(result) = app.build() {
                return result;
            }
            run(&tools, used).map(|()| Verdict::Passed)
        })
    };
    USES.iter().map(test).collect()
}

fn run(tools: &Tools, used: &'static Use) -> Result<(), Failure> {
    let work = tools.work.join("servers").join(format!("client-{}", used.name));
    let failed = |error: std::io::Error| format!("{}: {error}", work.display());
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).map_err(failed)?;
    let free = free_port()?;
    let peer = Peer { host: Ipv4Addr::LOCALHOST.into(), ports: vec![(MACHINE_PORT, free)], is_direct: false };
    let (listener, there) = host::listen(&peer)?;
    let word = |word: &&str| {
        word.replace("HOST", &there.ip().to_string()).replace("PORT", &there.port().to_string()).into_bytes()
    };
    let image = work.join("image");
    tools.image(&image, |request| {
        request.app = tools.app("busybox").join("busybox");
        request.arguments = used.words.iter().map(word).collect();
    })?;
    let mut command = tools.boot_command(&image, &Boot { memory_mib: 64, ..Boot::default() });
    command.env("NET", format!("user,ports={free}:{MACHINE_PORT}"));
    let service = thread::spawn(move || serve(used.service, &listener, peer.address(MACHINE_PORT)));
    let input = if used.input.is_empty() { Input::Empty } else { Input::Bytes(used.input.into()) };
    let output = process::run(&mut command, &input, CLIENT_TIME_MAX)?;
    let said = format!("{}[stderr] {}[status {}]", shown(&output.stdout), shown(&output.stderr), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let mut rest = &*text;
    for wanted in used.output {
        match rest.split_once(wanted) {
            Some((_, behind)) => rest = behind,
            None => return Err(format!("{wanted:?} is missing, or out of its place: {said}")),
        }
    }
    if output.status != 0 {
        return Err(said);
    }
    if used.service != Service::None {
        service.join().unwrap_or_else(|_| Err("a panic".to_owned()))?;
    }
    std::fs::remove_dir_all(&work).map_err(failed)
}

/// The host's side.
fn serve(service: Service, listener: &TcpListener, machine: SocketAddr) -> Result<(), Failure> {
    let served = match service {
        Service::None => Ok(()),
        Service::Http => listener.accept().and_then(|(stream, _)| serve_file(stream)),
        Service::Line => listener.accept().and_then(|(stream, _)| converse(stream)),
        Service::Caller => return call(machine),
    };
    served.map_err(|error| format!("on the host: {error}"))
}

fn serve_file(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let file: String = (1..=20_000).map(|number| format!("line {number} of the file\n")).collect();
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{file}", file.len())
}

/// Reads what the machine says, and answers.
fn converse(mut stream: TcpStream) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut line)?;
    if line != "from the machine\n" {
        return Err(std::io::Error::other(format!("the machine said {line:?}")));
    }
    stream.write_all(b"from the host\n")
}

/// Connects to the machine until somebody listens there: QEMU takes connections before.
fn call(machine: SocketAddr) -> Result<(), Failure> {
    let deadline = Instant::now() + CLIENT_TIME_MAX;
    while Instant::now() < deadline {
        let attempt = TcpStream::connect(machine).and_then(|stream| {
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            converse(stream)
        });
        if attempt.is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err("the machine does not answer".to_owned())
}
