//! The servers, and what is done to each.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::crowd;
use super::exchange;
use super::http::Client;
use super::{Peer, web};
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Tools;

/// A client program gets this long.
const CLIENT_TIME_MAX: Duration = Duration::from_secs(240);

/// A program that serves.
pub(super) struct Server {
    pub(super) name: &'static str,
    /// Its folder in `tests/apps`; none: `program` is a source of `tests/bench/net`.
    pub(super) app: &'static str,
    pub(super) program: &'static str,
    pub(super) files: &'static str,
    pub(super) arguments: &'static [&'static str],
    pub(super) ports: &'static [u16],
    pub(super) datagram_port: Option<u16>,
    /// Numbers of processors of the machines.
    pub(super) cpus: &'static [u32],
    /// A short exchange that works once it serves.
    pub(super) greet: fn(&Peer) -> Result<(), Failure>,
    /// All of it.
    pub(super) exchange: fn(&Tools, &Peer) -> Result<(), Failure>,
}

pub(super) const SERVERS: &[Server] = &[
    Server {
        name: "serve",
        app: "",
        program: "serve",
        files: "",
        arguments: &[],
        ports: &[7001, 7002, 7003, 7004],
        datagram_port: Some(7005),
        cpus: &[1, 2],
        greet: |peer| exchange::echo(peer, b"hello"),
        exchange: |_, peer| exchange::everything(peer),
    },
    Server {
        name: "crowd",
        app: "",
        program: "crowd",
        files: "",
        arguments: &[],
        ports: &[7001],
        datagram_port: None,
        cpus: &[1],
        greet: crowd::greet,
        exchange: |_, peer| crowd::everything(peer),
    },
    Server {
        name: "redis",
        app: "redis",
        program: "redis-server",
        files: "",
        arguments: &["--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--appendonly", "no"],
        ports: &[6379],
        datagram_port: None,
        cpus: &[1, 2],
        greet: |peer| exchange::say(peer, 6379, "PING\r\n", "+PONG\r\n"),
        exchange: redis,
    },
    Server {
        name: "memcached",
        app: "memcached",
        program: "memcached",
        files: "",
        arguments: &["-u", "root", "-m", "64", "-t", "2", "-U", "0"],
        ports: &[11211],
        datagram_port: None,
        cpus: &[1, 2],
        greet: |peer| exchange::say(peer, 11211, "version\r\n", "VERSION 1.6.18\r\n"),
        exchange: memcached,
    },
    Server {
        name: "nginx",
        app: "nginx",
        program: "nginx",
        files: "root",
        arguments: &["-g", "daemon off; master_process off;"],
        ports: &[80],
        datagram_port: None,
        cpus: &[1, 2],
        greet: |peer| Client::connect(peer, 80)?.get("/612.html").map(|_| ()),
        exchange: nginx,
    },
    Server {
        name: "esbuild",
        app: "esbuild",
        program: "esbuild",
        files: "root",
        arguments: &["--serve=0.0.0.0:8000", "--servedir=/app", "--log-level=warning"],
        ports: &[8000],
        datagram_port: None,
        cpus: &[1, 2],
        greet: |peer| Client::connect(peer, 8000)?.get("/note.txt").map(|_| ()),
        exchange: esbuild,
    },
    Server {
        name: "web-go",
        app: "web-go",
        program: "web",
        files: "",
        arguments: &[],
        ports: &[8080],
        datagram_port: None,
        cpus: &[2],
        greet: web::greet,
        exchange: web::exchange_go,
    },
    Server {
        name: "web-tokio",
        app: "web-tokio",
        program: "web",
        files: "",
        arguments: &[],
        ports: &[8080],
        datagram_port: None,
        cpus: &[2],
        greet: web::greet,
        exchange: web::exchange,
    },
];

fn redis(tools: &Tools, peer: &Peer) -> Result<(), Failure> {
    let long = "x".repeat(200_000);
    let set = format!("*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n${}\r\n{long}\r\n", long.len());
    let get = format!("${}\r\n{long}\r\n", long.len());
    for (request, answer) in [
        ("SET key value\r\n", "+OK\r\n"),
        ("GET key\r\n", "$5\r\nvalue\r\n"),
        ("INCR count\r\nINCR count\r\nINCR count\r\n", ":1\r\n:2\r\n:3\r\n"),
        ("RPUSH list a b c\r\nLRANGE list 0 -1\r\n", ":3\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"),
        ("EVAL \"return redis.call('GET','key')\" 0\r\n", "$5\r\nvalue\r\n"),
        (&set, "+OK\r\n"),
        ("GET long\r\n", &get),
        ("NONSENSE\r\n", "-ERR unknown command 'NONSENSE', with args beginning with: \r\n"),
    ] {
        exchange::say(peer, 6379, request, answer)?;
    }
    let address = peer.address(6379);
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let programs = tools.app("redis");
    let cli = |words: &[&str]| {
        let mut command = Command::new(programs.join("redis-cli"));
        command.args(["-h", &host, "-p", &port]).args(words);
        client(&mut command)
    };
    let name = cli(&["INFO", "server"])?;
    if !name.contains("redis_version:7.0.15") {
        return Err(format!("INFO: {name}"));
    }
    // Every test of the benchmark, few times: what is lost or wrong makes it complain or hang.
    let mut command = Command::new(programs.join("redis-benchmark"));
    command.args(["-h", &host, "-p", &port, "-n", "400", "-c", "20", "-q"]);
    let output = client(&mut command)?;
    if output.contains("rror") || !output.contains("MSET") {
        return Err(format!("redis-benchmark: {output}"));
    }
    let mut command = Command::new(programs.join("redis-benchmark"));
    command.args(["-h", &host, "-p", &port, "-n", "4000", "-c", "50", "-P", "16", "-d", "3000", "-t", "set,get", "-q"]);
    client(&mut command)?;
    cli(&["FLUSHALL"]).map(|_| ())
}

fn memcached(_: &Tools, peer: &Peer) -> Result<(), Failure> {
    // The conformance test of libmemcached. It empties the cache.
    let address = peer.address(11211);
    let mut command = Command::new("memccapable");
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-a", "-t", "20"]);
    client(&mut command)?;
    let long = "y".repeat(500_000);
    let set = format!("set long 0 0 {}\r\n{long}\r\n", long.len());
    let get = format!("VALUE long 0 {}\r\n{long}\r\nEND\r\n", long.len());
    for (request, answer) in [
        ("set key 5 0 5\r\nvalue\r\n", "STORED\r\n"),
        ("get key\r\n", "VALUE key 5 5\r\nvalue\r\nEND\r\n"),
        ("get none\r\n", "END\r\n"),
        ("set count 0 0 1\r\n7\r\nincr count 5\r\ndecr count 2\r\n", "STORED\r\n12\r\n10\r\n"),
        ("append key 0 0 2\r\n++\r\nget key\r\n", "STORED\r\nVALUE key 5 7\r\nvalue++\r\nEND\r\n"),
        (&set, "STORED\r\n"),
        ("get long\r\n", &get),
        ("delete key\r\nget key\r\n", "DELETED\r\nEND\r\n"),
        ("nonsense\r\n", "ERROR\r\n"),
    ] {
        exchange::say(peer, 11211, request, answer)?;
    }
    exchange::side_by_side(peer, || exchange::say(peer, 11211, "get long\r\n", &get))
}

fn nginx(tools: &Tools, peer: &Peer) -> Result<(), Failure> {
    let files = tools.app("nginx").join("root/html");
    let read = |name: &str| fs::read(files.join(name)).map_err(|error| format!("{name}: {error}"));
    let (page, numbers, large) = (read("612.html")?, read("numbers.txt")?, read("large.txt")?);
    let mut client = Client::connect(peer, 80)?;
    for (path, expected) in
        [("/612.html", &page), ("/numbers.txt", &numbers), ("/large.txt", &large), ("/612.html", &page)]
    {
        let answer = client.get(path)?;
        if answer.status != 200 || answer.body != *expected {
            return Err(format!("{path}: {} and {} bytes", answer.head, answer.body.len()));
        }
    }
    let found = client.get("/number/42")?;
    let missing = client.get("/missing")?;
    let moved = client.get("/old")?;
    if found.body != b"the number 42\n" || missing.status != 404 || moved.status != 301 {
        return Err(format!("{found:?} {missing:?} {moved:?}"));
    }
    client.send("HEAD", "/large.txt", "")?;
    let head = client.receive(false)?;
    if head.header("content-length") != Some(&large.len().to_string()) {
        return Err(format!("HEAD: {}", head.head));
    }
    client.send("GET", "/numbers.txt", "Range: bytes=1000-2999\r\n")?;
    let part = client.receive(true)?;
    if part.status != 206 || part.body != numbers[1000..3000] {
        return Err(format!("a range: {}", part.head));
    }
    client.send("GET", "/gzip/numbers.txt", "Accept-Encoding: gzip\r\n")?;
    let packed = client.receive(true)?;
    if packed.header("content-encoding") != Some("gzip") || !packed.body.starts_with(&[0x1f, 0x8b]) {
        return Err(format!("packed: {}", packed.head));
    }
    for _ in 0..30 {
        client.send("GET", "/612.html", "")?;
    }
    for _ in 0..30 {
        if client.receive(true)?.body != page {
            return Err("one of thirty requests at once has a wrong answer".to_owned());
        }
    }
    exchange::side_by_side(peer, || {
        let answer = Client::connect(peer, 80)?.get("/numbers.txt")?;
        if answer.body == numbers { Ok(()) } else { Err(format!("side by side: {}", answer.head)) }
    })
}

fn esbuild(tools: &Tools, peer: &Peer) -> Result<(), Failure> {
    let note = fs::read(tools.root.join("tests/apps/esbuild/root/app/note.txt")).map_err(|error| error.to_string())?;
    let mut client = Client::connect(peer, 8000)?;
    for _ in 0..20 {
        let answer = client.get("/note.txt")?;
        if answer.status != 200 || answer.body != note {
            return Err(format!("{answer:?}"));
        }
    }
    let missing = client.get("/missing")?;
    if missing.status != 404 {
        return Err(format!("{missing:?}"));
    }
    exchange::side_by_side(peer, || {
        let answer = Client::connect(peer, 8000)?.get("/note.txt")?;
        if answer.body == note { Ok(()) } else { Err(format!("side by side: {answer:?}")) }
    })
}

/// Runs a client program to its good end.
fn client(command: &mut Command) -> Result<String, Failure> {
    let output = process::run(command, &Input::Empty, CLIENT_TIME_MAX)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status == 0 { Ok(said) } else { Err(format!("{command:?} has status {}:\n{said}", output.status)) }
}
