//! Captures: what was recorded on real links, as frames to begin from. `data/record.sh` makes them.

/// Bytes of a capture file's header, and of a frame's.
const FILE_HEADER_LEN: usize = 24;
const FRAME_HEADER_LEN: usize = 16;
/// What a file begins with, whose numbers have their low bytes first.
const MAGIC: [u8; 4] = 0xa1b2_c3d4_u32.to_le_bytes();

const CAPTURES: &[(&str, &[u8])] = &[
    ("fragments", include_bytes!("../data/fragments.pcap")),
    ("groups", include_bytes!("../data/groups.pcap")),
    ("gso", include_bytes!("../data/gso.pcap")),
    ("icmp", include_bytes!("../data/icmp.pcap")),
    ("machine", include_bytes!("../data/machine.pcap")),
    ("neighbours", include_bytes!("../data/neighbours.pcap")),
    ("tcp", include_bytes!("../data/tcp.pcap")),
    ("tcp-ecn", include_bytes!("../data/tcp-ecn.pcap")),
    ("tcp-fast-open", include_bytes!("../data/tcp-fast-open.pcap")),
    ("udp", include_bytes!("../data/udp.pcap")),
];

/// The captures of this crate: their names and frames.
pub fn all() -> impl Iterator<Item = (&'static str, Vec<Vec<u8>>)> {
    CAPTURES.iter().map(|(name, bytes)| (*name, frames(bytes)))
}

/// The frames of a capture file of Ethernet; none of a file that is something else.
#[must_use]
pub fn frames(file: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    if !file.starts_with(&MAGIC) {
        return frames;
    }
    let mut rest = file.get(FILE_HEADER_LEN..).unwrap_or_default();
    while let Some((header, behind)) = rest.split_at_checked(FRAME_HEADER_LEN) {
        let &[a, b, c, d] = header.get(8..12).and_then(<[u8]>::first_chunk).unwrap_or(&[0; 4]);
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        let Some((frame, behind)) = behind.split_at_checked(len) else { break };
        frames.push(frame.to_vec());
        rest = behind;
    }
    frames
}

#[cfg(test)]
mod tests {
    use net::classify::{Class, classify};

    use super::*;

    #[test]
    fn captures_have_frames_of_all_kinds() {
        let (mut flows, mut control) = (0, 0);
        for (name, frames) in all() {
            assert!(frames.len() > 8, "{name}");
            for frame in frames {
                match classify(&frame, frame.len()) {
                    Class::Flow(..) => flows += 1,
                    Class::Control(_) => control += 1,
                    Class::Malformed(defect) => panic!("{name}: {defect:?}: {frame:02x?}"),
                }
            }
        }
        assert!(flows > 50 && control > 50, "{flows} and {control}");
    }
}
