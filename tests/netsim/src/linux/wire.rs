//! Wires in real time: the same links as in simulated time, between devices of Linux and ends of connections.
//!
//! One thread turns the wheel: it takes what devices and ends have sent, and gives them what has arrived. It sleeps [`NAP`] where there
//! is nothing to do, which is how exact delays are.

use std::time::{Duration, Instant};

use super::Device;
use crate::{Link, LinkCounters, LinkSettings, Received, TcpEnd};

/// How long the thread sleeps at most.
const NAP: Duration = Duration::from_micros(50);

/// What is at an end of a wire.
pub trait Station {
    /// Gives it a packet that has arrived.
    fn give(&mut self, now_ns: u64, packet: Vec<u8>);

    /// Takes all that it wants to send. True: there was something.
    fn take(&mut self, now_ns: u64, send: &mut dyn FnMut(Vec<u8>)) -> bool;
}

impl Station for Device {
    fn give(&mut self, _now_ns: u64, packet: Vec<u8>) {
        self.send(&packet);
    }

    fn take(&mut self, _now_ns: u64, send: &mut dyn FnMut(Vec<u8>)) -> bool {
        let mut is_busy = false;
        while let Some(packet) = self.receive() {
            is_busy = true;
            send(packet);
        }
        is_busy
    }
}

/// Joins two stations until `is_done` says so. Answers what the links did.
pub fn join(
    stations: [&mut dyn Station; 2],
    settings: [LinkSettings; 2],
    seed: u64,
    is_done: &mut dyn FnMut() -> bool,
) -> [LinkCounters; 2] {
    let start = Instant::now();
    let now_ns = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut links = [Link::new(settings[0], seed.wrapping_mul(2)), Link::new(settings[1], seed.wrapping_mul(2) + 1)];
    while !is_done() {
        let mut is_busy = false;
        for place in 0..2 {
            let link = &mut links[place];
            is_busy |= stations[place].take(now_ns(), &mut |packet| link.send(now_ns(), packet));
            while let Some(packet) = links[1 - place].take(now_ns()) {
                is_busy = true;
                stations[place].give(now_ns(), packet);
            }
        }
        if !is_busy {
            std::thread::sleep(NAP);
        }
    }
    [links[0].counters(), links[1].counters()]
}

/// An end of a connection with a program that works on it, as a station.
pub struct EndStation<'a, E: TcpEnd + ?Sized> {
    end: &'a mut E,
    work: &'a mut dyn FnMut(&mut E) -> bool,
}

impl<'a, E: TcpEnd + ?Sized> EndStation<'a, E> {
    /// `work` reads and writes what it can, and answers whether it did.
    pub fn new(end: &'a mut E, work: &'a mut dyn FnMut(&mut E) -> bool) -> Self {
        Self { end, work }
    }
}

impl<E: TcpEnd + ?Sized> Station for EndStation<'_, E> {
    fn give(&mut self, now_ns: u64, packet: Vec<u8>) {
        self.end.receive(now_ns, packet);
    }

    fn take(&mut self, now_ns: u64, send: &mut dyn FnMut(Vec<u8>)) -> bool {
        let mut is_busy = (self.work)(self.end);
        self.end.poll(now_ns, &mut |packet| {
            is_busy = true;
            send(packet);
        });
        is_busy
    }
}

/// Reads all that there is, for ends whose program only counts.
pub fn drain(end: &mut dyn TcpEnd, buffer: &mut [u8]) -> u64 {
    let mut read_len = 0;
    while let Received::Bytes(len) = end.read(buffer) {
        read_len += len as u64;
    }
    read_len
}
