//! A bad link in real time between a TAP device of this namespace and a pair of datagram sockets, which a machine in an emulator has for its
//! device (`NET=dgram:...`). What it did is printed when it ends: a line of words and numbers for each direction, the device's first.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use netsim::LinkSettings;
use netsim::linux::wire::{Station, join};
use netsim::linux::{Device, Kind};

/// The longest frame.
const FRAME_LEN_MAX: usize = 2048;

/// What goes wrong.
const LINK: LinkSettings = LinkSettings {
    bits_per_second: 0,
    queue_len_max: 0,
    delay_ns: 1_000_000,
    jitter_ns: 0,
    loss_ppm: 50_000,
    duplicate_ppm: 20_000,
    reorder_ppm: 50_000,
    corrupt_ppm: 20_000,
};

/// Carries frames until the input ends. `local` is the socket that is made here.
pub(super) fn run(tap: &str, local: &str, remote: &str, seed: u64) -> Result<(), String> {
    let socket = UnixDatagram::bind(local).map_err(|error| format!("{local}: {error}"))?;
    socket.set_nonblocking(true).map_err(|error| format!("{local}: {error}"))?;
    let mut device = Device::existing(tap, Kind::Ethernet)?;
    let mut machine = Machine { socket, path: remote.to_owned() };
    println!("ready");
    let is_over = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&is_over);
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ends.store(true, Relaxed);
    });
    let counters = join([&mut device, &mut machine], [LINK; 2], seed, &mut || is_over.load(Relaxed));
    for link in counters {
        let (sent, lost, doubled, late, spoilt) =
            (link.sent, link.lost, link.duplicated, link.reordered, link.corrupted);
        println!("sent {sent} lost {lost} doubled {doubled} late {late} spoilt {spoilt}");
    }
    Ok(())
}

/// The machine's end of the link. What finds no room there is lost.
struct Machine {
    socket: UnixDatagram,
    path: String,
}

impl Station for Machine {
    fn give(&mut self, _now_ns: u64, packet: Vec<u8>) {
        let _ = self.socket.send_to(&packet, &self.path);
    }

    fn take(&mut self, _now_ns: u64, send: &mut dyn FnMut(Vec<u8>)) -> bool {
        let mut is_busy = false;
        let mut frame = [0; FRAME_LEN_MAX];
        while let Ok(len) = self.socket.recv(&mut frame) {
            is_busy = true;
            send(frame.get(..len).unwrap_or_default().to_vec());
        }
        is_busy
    }
}
