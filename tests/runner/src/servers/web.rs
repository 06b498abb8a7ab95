//! What is asked of `tests/apps/web-go` and `web-tokio`, which serve HTTP and fetch from other servers.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::exchange::{self, noise};
use super::http::Client;
use super::{Peer, host};
use crate::schedule::Failure;
use crate::tools::Tools;

const PORT: u16 = 8080;
/// Bytes of one answer, more than any buffer on the way.
const LONG: usize = 1_000_000;
/// Connections of the server here before it ends.
const FETCHES: usize = 5;

pub(super) fn greet(peer: &Peer) -> Result<(), Failure> {
    Client::connect(peer, PORT)?.get("/hello").map(|_| ())
}

/// All that both do.
pub(super) fn exchange(_: &Tools, peer: &Peer) -> Result<(), Failure> {
    let mut client = Client::connect(peer, PORT)?;
    for _ in 0..20 {
        expect(&mut client, "/hello", b"hello\n")?;
    }
    expect(&mut client, "/bytes/0", b"")?;
    expect(&mut client, &format!("/bytes/{LONG}"), &numbered(LONG))?;
    let body = noise(400_000);
    let answer = client.post("/echo", &body)?;
    if answer.status != 200 || answer.body != body {
        return Err(format!("echo: {} and {} bytes", answer.head, answer.body.len()));
    }
    exchange::side_by_side(peer, || {
        let mut client = Client::connect(peer, PORT)?;
        expect(&mut client, "/wait/50", b"hello\n")?;
        expect(&mut client, "/bytes/50000", &numbered(50_000))
    })?;
    fetch(peer, &mut client)
}

/// What Go's library says of interfaces and names besides.
pub(super) fn exchange_go(tools: &Tools, peer: &Peer) -> Result<(), Failure> {
    exchange(tools, peer)?;
    let mut client = Client::connect(peer, PORT)?;
    let answer = client.get("/interfaces")?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let address = if peer.is_direct { "eth0 10.77.0.2/24\n" } else { "eth0 10.0.2.15/24\n" };
    let wanted = ["lo mtu 65536 up|loopback|running <nil>\n", "lo 127.0.0.1/8\n", "lo ::1/128\n", address];
    if let Some(missing) = wanted.iter().find(|line| !text.contains(**line)) {
        return Err(format!("{missing:?} is not in {text:?}"));
    }
    expect(&mut client, "/resolve/localhost", b"127.0.0.1 ::1 <nil>\n")
}

fn expect(client: &mut Client, path: &str, body: &[u8]) -> Result<(), Failure> {
    let answer = client.get(path)?;
    if answer.status == 200 && answer.body == body {
        return Ok(());
    }
    Err(format!("{path}: {} and {} bytes in place of {}", answer.head, answer.body.len(), body.len()))
}

/// Bytes of which each says where it is.
fn numbered(count: usize) -> Vec<u8> {
    let byte = |index: usize| index.to_le_bytes()[0] ^ index.to_le_bytes()[1];
    (0..count).map(byte).collect()
}

/// The machine asks a server here, one after the other and many at once; and where nobody serves.
fn fetch(peer: &Peer, client: &mut Client) -> Result<(), Failure> {
    let (listener, there) = host::listen(peer)?;
    let server = thread::spawn(move || serve(&listener));
    let path = format!("/fetch/{there}/some/file");
    expect(client, &path, &numbered(LONG))?;
    thread::scope(|scope| {
        let fetch = || expect(&mut Client::connect(peer, PORT)?, &path, &numbered(LONG));
        let threads: Vec<_> = (0..FETCHES - 1).map(|_| scope.spawn(fetch)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a panic".to_owned())))
    })?;
    server.join().unwrap_or_else(|_| Err("a panic".to_owned()))?;
    // The server here is gone.
    let answer = client.get(&path)?;
    if answer.status == 502 { Ok(()) } else { Err(format!("where nobody serves: {}", answer.head)) }
}

/// Answers [`FETCHES`] requests, each on a connection of its own.
fn serve(listener: &TcpListener) -> Result<(), Failure> {
    let mut threads = Vec::new();
    for _ in 0..FETCHES {
        let (stream, _) = listener.accept().map_err(|error| error.to_string())?;
        threads.push(thread::spawn(move || answer(stream).map_err(|error| format!("to the machine: {error}"))));
    }
    threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a panic".to_owned())))
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n")?;
    stream.write_all(&numbered(LONG))
}
