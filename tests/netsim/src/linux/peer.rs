//! What runs inside of namespaces: programs on Linux's own sockets. They are told what to do by arguments, and print what came of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use crate::Pattern;

/// Bytes that are written or read at once.
const CHUNK_LEN: usize = 64 << 10;
/// How often a client tries to connect.
const TRIES_MAX: u32 = 20;

/// Runs what the arguments behind `peer` say.
pub fn run(arguments: &[&str]) -> Result<(), String> {
    match arguments {
        ["send", address] => send(address),
        ["receive", address, milliseconds] => receive(address, number(milliseconds)?),
        ["listen-exchange", address, len, seed] => {
            let (stream, _) = listener(address)?.accept().map_err(|error| format!("accept: {error}"))?;
            exchange(stream, number(len)?, number(seed)?, 1)
        }
        ["connect-exchange", address, len, seed] => exchange(connect(address)?, number(len)?, number(seed)?, 0),
        _ => Err(format!("peer: cannot {arguments:?}")),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

fn listener(address: &str) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address).map_err(|error| format!("bind: {error}"))?;
    choose_congestion_control(&listener)?;
    println!("listening");
    Ok(listener)
}

fn connect(address: &str) -> Result<TcpStream, String> {
    let mut last = String::new();
    for _ in 0..TRIES_MAX {
        match TcpStream::connect(address) {
            Ok(stream) => return choose_congestion_control(&stream).map(|()| stream),
            Err(error) => last = format!("connect: {error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(last)
}

/// Linux's own default, where this machine's is another; connections inherit it from who listens.
fn choose_congestion_control(socket: impl AsFd) -> Result<(), String> {
    sockopt::set_tcp_congestion(socket, "cubic").map_err(|error| format!("TCP_CONGESTION: {error}"))
}

/// Sends until somebody ends this program, or the connection.
fn send(address: &str) -> Result<(), String> {
    let mut stream = connect(address)?;
    let chunk = vec![0x5a; CHUNK_LEN];
    while stream.write_all(&chunk).is_ok() {}
    Ok(())
}

/// Receives for a while, and prints bytes and the nanoseconds that they took, from the connection on.
fn receive(address: &str, milliseconds: u64) -> Result<(), String> {
    let (mut stream, _) = listener(address)?.accept().map_err(|error| format!("accept: {error}"))?;
    let start = Instant::now();
    let deadline = start + Duration::from_millis(milliseconds);
    let mut chunk = vec![0; CHUNK_LEN];
    let mut received_len = 0;
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        stream.set_read_timeout(Some(left)).map_err(|error| format!("timeout: {error}"))?;
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(len) => received_len += len,
        }
    }
    println!("{received_len} {}", start.elapsed().as_nanos());
    Ok(())
}

/// Sends and receives `len` bytes of patterns at once, and says what was wrong with those received.
fn exchange(stream: TcpStream, len: u64, seed: u64, place: u64) -> Result<(), String> {
    let patterns = [Pattern::new(seed ^ 0x0a), Pattern::new(seed ^ 0x0b)];
    let (own, others) = if place == 0 { (patterns[0], patterns[1]) } else { (patterns[1], patterns[0]) };
    let mut writer = stream.try_clone().map_err(|error| format!("dup: {error}"))?;
    let writing = std::thread::spawn(move || -> Result<(), String> {
        let mut chunk = vec![0; CHUNK_LEN];
        let mut written_len = 0;
        while written_len < len {
            let now = usize::try_from(len - written_len).unwrap_or(CHUNK_LEN).min(CHUNK_LEN);
            own.fill(written_len, &mut chunk[..now]);
            writer.write_all(&chunk[..now]).map_err(|error| format!("write: {error}"))?;
            written_len += now as u64;
        }
        writer.shutdown(Shutdown::Write).map_err(|error| format!("shutdown: {error}"))
    });
    let mut reader = stream;
    let mut chunk = vec![0; CHUNK_LEN];
    let mut read_len = 0;
    loop {
        let now = reader.read(&mut chunk).map_err(|error| format!("read: {error}"))?;
        if now == 0 {
            break;
        }
        if let Some(at) = others.find_difference(read_len, &chunk[..now]) {
            return Err(format!("byte {at} is wrong"));
        }
        read_len += now as u64;
    }
    writing.join().map_err(|_| "the writer panicked".to_owned())??;
    if read_len != len {
        return Err(format!("{read_len} bytes instead of {len}"));
    }
    println!("intact");
    Ok(())
}
