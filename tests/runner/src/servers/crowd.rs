//! Many connections at once, and many one after the other, with `tests/bench/net/crowd.c`: what they cost the machine, by its own count.
//!
//! `CROWD` is how many are open at once, and `CHURN` how many come and go: few by default, as the emulator takes its time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Peer;
use crate::schedule::Failure;

const PORT: u16 = 7001;
/// Connections at once by TAP, if `CROWD` does not say. QEMU's own network has few.
const CROWD: u64 = 2000;
const CROWD_OF_USER: u64 = 200;
/// Connections one after the other, if `CHURN` does not say.
const CHURN: u64 = 3000;
const CHURN_OF_USER: u64 = 300;
/// What 10,000 idle connections may take.
const KIB_OF_10_000: u64 = 200 << 10;
/// What comes and goes with tables and caches, whatever is done.
const KIB_OF_NOTHING: u64 = 2 << 10;
/// Files of our own that are no connections.
const OTHER_FILES: u64 = 100;
/// How long the machine may take to let go of what was closed last.
const PATIENCE: Duration = Duration::from_secs(10);

fn count_of(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

/// Says one byte and hears it.
pub(super) fn greet(peer: &Peer) -> Result<(), Failure> {
    exchange(&mut peer.connect(PORT)?)
}

fn exchange(stream: &mut TcpStream) -> Result<(), Failure> {
    let mut answer = [0];
    stream.write_all(b"x").and_then(|()| stream.read_exact(&mut answer)).map_err(|error| format!("a byte: {error}"))?;
    if answer == *b"x" { Ok(()) } else { Err(format!("{answer:?} in place of a byte")) }
}

fn free_kib(stream: &mut TcpStream) -> Result<u64, Failure> {
    let mut answer = [0; 11];
    let asked = stream.write_all(b"m").and_then(|()| stream.read_exact(&mut answer));
    asked.map_err(|error| format!("memory: {error}"))?;
    let text = String::from_utf8_lossy(&answer);
    text.trim().parse().map_err(|error| format!("memory: {text:?}: {error}"))
}

/// Memory that is free once no more of it becomes so, or as much as `enough`.
fn settled_kib(stream: &mut TcpStream, enough: u64) -> Result<u64, Failure> {
    let mut best = 0;
    for _ in 0..20 {
        best = best.max(free_kib(stream)?);
        if best >= enough {
            break;
        }
        thread::sleep(PATIENCE / 20);
    }
    Ok(best)
}

/// All of it.
pub(super) fn everything(peer: &Peer) -> Result<(), Failure> {
    let crowd = count_of("CROWD", if peer.is_direct { CROWD } else { CROWD_OF_USER });
    let churn = count_of("CHURN", if peer.is_direct { CHURN } else { CHURN_OF_USER });
    allow_files(crowd + OTHER_FILES)?;
    let mut asker = peer.connect(PORT)?;
    // The first make tables.
    for _ in 0..100 {
        exchange(&mut peer.connect(PORT)?)?;
    }
    let before = settled_kib(&mut asker, u64::MAX)?;
    let mut streams = Vec::new();
    for _ in 0..crowd {
        let mut stream = peer.connect(PORT)?;
        exchange(&mut stream)?;
        streams.push(stream);
    }
    let used = before.saturating_sub(free_kib(&mut asker)?);
    let allowed = KIB_OF_10_000 * crowd / 10_000 + KIB_OF_NOTHING;
    println!("{crowd} idle connections take {used} KiB, {} bytes each", used * 1024 / crowd.max(1));
    if used > allowed {
        return Err(format!("{crowd} idle connections take {used} KiB, and {allowed} are allowed"));
    }
    // They are alive.
    streams.iter_mut().step_by(50).try_for_each(exchange)?;
    drop(streams);
    come_back(&mut asker, before, "after the crowd has left")?;
    for _ in 0..churn {
        exchange(&mut peer.connect(PORT)?)?;
    }
    come_back(&mut asker, before, &format!("after {churn} connections, one after the other"))
}

fn come_back(asker: &mut TcpStream, before: u64, when: &str) -> Result<(), Failure> {
    let enough = before.saturating_sub(KIB_OF_NOTHING);
    let after = settled_kib(asker, enough)?;
    println!("{before} KiB free before, {after} {when}");
    if after < enough { Err(format!("{before} KiB were free before, {after} {when}")) } else { Ok(()) }
}

/// Lets this program have so many files open.
fn allow_files(count: u64) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let wanted = Rlimit { current: Some(count), maximum: limit.maximum };
    setrlimit(Resource::Nofile, wanted).map_err(|error| format!("{count} files: {error}"))
}
