//! Exchanges of bytes with a server, each byte checked; `everything` is for `tests/bench/net/serve.c`.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use super::{Peer, SILENCE_MAX, ping};
use crate::schedule::Failure;

/// Datagrams may be lost: so often they are sent again.
const TRIES_MAX: u32 = 20;

/// Sends a request and expects this answer, no more and no less.
pub(super) fn say(peer: &Peer, port: u16, request: &str, answer: &str) -> Result<(), Failure> {
    let mut stream = peer.connect(port)?;
    let mut writer = stream.try_clone().map_err(|error| error.to_string())?;
    let start = request.get(..40).unwrap_or(request).to_owned();
    let failed = |error: std::io::Error| format!("{start:?}: {error}");
    let mut got = vec![0; answer.len()];
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(move || writer.write_all(request.as_bytes()));
        let received = stream.read_exact(&mut got);
        sender.join().unwrap_or(Ok(())).and(received)
    });
    sent.map_err(failed)?;
    if got == answer.as_bytes() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&got);
    Err(format!(
        "{start:?}: {:?} in place of {:?}",
        text.get(..200).unwrap_or(&text),
        answer.get(..200).unwrap_or(answer)
    ))
}

/// Sends bytes to the server that sends them back.
pub(super) fn echo(peer: &Peer, bytes: &[u8]) -> Result<(), Failure> {
    let mut stream = peer.connect(7001)?;
    let mut writer = stream.try_clone().map_err(|error| error.to_string())?;
    let mut got = Vec::new();
    let done = thread::scope(|scope| {
        let sender = scope.spawn(move || writer.write_all(bytes).and_then(|()| writer.shutdown(Shutdown::Write)));
        let received = stream.read_to_end(&mut got);
        sender.join().unwrap_or(Ok(())).and(received)
    });
    done.map_err(|error| format!("echo of {} bytes, after {}: {error}", bytes.len(), got.len()))?;
    let same = got.iter().zip(bytes).take_while(|(left, right)| left == right).count();
    if got == bytes { Ok(()) } else { Err(format!("of {} bytes {} came back, {same} right", bytes.len(), got.len())) }
}

/// Does the same many times at once.
pub(super) fn side_by_side(peer: &Peer, exchange: impl Fn() -> Result<(), Failure> + Sync) -> Result<(), Failure> {
    // QEMU's own network queues few connections.
    let count = if peer.is_direct { 32 } else { 4 };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(&exchange)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a panic".to_owned())))
    })
}

/// Bytes without a period that a lost or doubled segment would fit into.
pub(super) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..count).map(next).collect()
}

/// What the ports of `serve.c` are for.
pub(super) fn everything(peer: &Peer) -> Result<(), Failure> {
    for size in [0, 1, 1459, 1460, 1461, 65_536, 3_000_000] {
        echo(peer, &noise(size))?;
    }
    side_by_side(peer, || echo(peer, &noise(50_000)))?;
    sink(peer, 5_000_000)?;
    source(peer, 5_000_000)?;
    for _ in 0..100 {
        let mut stream = peer.connect(7004)?;
        let mut byte = [7];
        let done = stream.write_all(&byte).and_then(|()| stream.read_exact(&mut byte));
        done.map_err(|error| format!("one byte: {error}"))?;
    }
    abandon(peer)?;
    for size in [0, 1, 512, 1400] {
        datagram(peer, size)?;
    }
    if peer.is_direct {
        for size in [1472, 1473, 9000, 60_000] {
            datagram(peer, size)?;
        }
        refused(peer)?;
        for size in [56, 4000] {
            ping::answers(peer.address(0).ip(), size)?;
        }
    }
    echo(peer, b"still there")
}

/// Sends so many bytes, and hears how many arrived.
pub(super) fn sink(peer: &Peer, size: usize) -> Result<(), Failure> {
    let mut stream = peer.connect(7002)?;
    let mut count = [0; 8];
    let done = stream
        .write_all(&noise(size))
        .and_then(|()| stream.shutdown(Shutdown::Write))
        .and_then(|()| stream.read_exact(&mut count));
    done.map_err(|error| format!("sink: {error}"))?;
    let count = u64::from_le_bytes(count);
    if count == size as u64 { Ok(()) } else { Err(format!("sink: of {size} bytes {count} arrived")) }
}

/// Has so many bytes sent.
pub(super) fn source(peer: &Peer, size: usize) -> Result<(), Failure> {
    let mut stream = peer.connect(7003)?;
    let mut got = Vec::new();
    let done = stream.write_all(&(size as u64).to_le_bytes()).and_then(|()| stream.read_to_end(&mut got));
    done.map_err(|error| format!("source, after {} bytes: {error}", got.len()))?;
    let expected = |index: usize| {
        let [low, high, ..] = index.to_le_bytes();
        low ^ high
    };
    match got.iter().enumerate().find(|(index, byte)| **byte != expected(*index)) {
        Some((index, _)) => Err(format!("source: byte {index} is wrong")),
        None if got.len() == size => Ok(()),
        None => Err(format!("source: {} bytes", got.len())),
    }
}

/// Leaves in the middle of a stream, which resets the connection.
fn abandon(peer: &Peer) -> Result<(), Failure> {
    for _ in 0..5 {
        let mut stream = peer.connect(7003)?;
        let mut part = [0; 10_000];
        let done = stream.write_all(&[0; 8]).and_then(|()| stream.read_exact(&mut part));
        done.map_err(|error| format!("endless source: {error}"))?;
    }
    Ok(())
}

/// Sends a datagram until it comes back.
pub(super) fn datagram(peer: &Peer, size: usize) -> Result<(), Failure> {
    let failed = |error: std::io::Error| format!("datagram of {size} bytes: {error}");
    let local: IpAddr = match peer.address(0).ip() {
        _ if !peer.is_direct => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((local, 0)).map_err(failed)?;
    socket.set_read_timeout(Some(Duration::from_secs(1))).map_err(failed)?;
    socket.connect(peer.address(7005)).map_err(failed)?;
    let sent = noise(size);
    let mut got = vec![0; size + 1];
    for _ in 0..TRIES_MAX {
        socket.send(&sent).map_err(failed)?;
        match socket.recv(&mut got) {
            Ok(count) if got[..count] == sent => return Ok(()),
            Ok(count) => return Err(format!("a datagram of {size} bytes came back with {count}")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(format!("datagrams of {size} bytes do not come back"))
}

/// Where nobody listens, connections are refused at once.
fn refused(peer: &Peer) -> Result<(), Failure> {
    match TcpStream::connect_timeout(&peer.address(9), SILENCE_MAX) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(format!("port 9: {error}")),
        Ok(_) => Err("port 9 takes a connection".to_owned()),
    }
}
