//! What a connection costs beside the network: CPU time of a segment, from one end to the other.

use crate::linux::cpu_time_ns;
use crate::{Received, TcpEnd};

/// Bytes that are written or read at once.
const CHUNK_LEN: usize = 64 << 10;

/// What carrying bytes from one end to the other took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Packets of both ends.
    pub packets: u64,
    /// CPU time of both ends together.
    pub cpu_ns: u64,
    /// Bytes that were carried.
    pub len: u64,
}

/// Carries `len` bytes from the first end to the second, over no distance at all, and measures the CPU time of it.
pub fn measure(ends: [&mut dyn TcpEnd; 2], len: u64) -> Result<Cost, String> {
    let [first, second] = ends;
    let mut chunk = vec![0x5a; CHUNK_LEN];
    let (mut packets, mut received_len, mut now_ns) = (0, 0, 0);
    let start_ns = cpu_time_ns()?;
    while received_len < len {
        now_ns += 10_000;
        while first.write(&chunk) == chunk.len() {}
        first.poll(now_ns, &mut |packet| {
            packets += 1;
            second.receive(now_ns, packet);
        });
        second.poll(now_ns, &mut |packet| {
            packets += 1;
            first.receive(now_ns, packet);
        });
        while let Received::Bytes(len) = second.read(&mut chunk) {
            received_len += len as u64;
        }
        if let Some(failure) = first.failure().or_else(|| second.failure()) {
            return Err(failure);
        }
    }
    Ok(Cost { packets, cpu_ns: cpu_time_ns()? - start_ns, len: received_len })
}
