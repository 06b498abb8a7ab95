//! Spoiling frames: [`Mutator`] changes what real links have carried, and [`mend`] makes the checksums right again, so that what is spoilt is
//! looked at and not just refused.

use net::checksum::Sum;
use testkit::Random;

const ETHERNET_LEN: usize = 14;
const IPV4_LEN_MIN: usize = 20;
const IPV6_LEN: usize = 40;
/// Tags and extension headers that are looked behind.
const HEADERS_MAX: usize = 8;
/// Bytes at the front where most headers are.
const HEADERS_LEN: usize = 100;
/// The longest frame that is made: a joined one of the largest packet.
const FRAME_LEN_MAX: usize = 66_000;
/// Changes to one frame.
const CHANGES_MAX: usize = 4;
/// Numbers at which something begins or ends.
const WORDS: [u16; 12] = [0, 1, 2, 7, 8, 20, 0xff, 0x7f_ff, 0x80_00, 0xff_fe, 0xff_ff, 0x20_00];

/// Makes spoilt frames of good ones.
#[derive(Clone, Debug)]
pub struct Mutator {
    random: Random,
    frames: Vec<Vec<u8>>,
}

impl Mutator {
    /// One that begins from `frames`, of which there is at least one.
    #[must_use]
    pub fn new(seed: u64, frames: Vec<Vec<u8>>) -> Self {
        Self { random: Random::new(seed), frames }
    }

    /// Its chances, for what belongs to the same run.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// One of the frames that it began from, spoilt.
    pub fn make(&mut self) -> Vec<u8> {
        let frame = self.random.pick(&self.frames).clone();
        self.spoil(frame)
    }

    /// Spoils a frame, most times with checksums that are right.
    pub fn spoil(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.random.below(CHANGES_MAX + 1) {
            self.change(&mut frame);
        }
        if !self.random.one_in(4) {
            mend(&mut frame);
        }
        frame.truncate(FRAME_LEN_MAX);
        frame
    }

    fn place(&mut self, frame: &[u8]) -> usize {
        let near = if self.random.one_in(4) { frame.len() } else { frame.len().min(HEADERS_LEN) };
        self.random.below(near.max(1))
    }

    fn change(&mut self, frame: &mut Vec<u8>) {
        let place = self.place(frame);
        match self.random.below(10) {
            0..3 => {
                if let Some(byte) = frame.get_mut(place) {
                    let [random, ..] = self.random.next_u64().to_le_bytes();
                    *byte =
                        *self.random.pick(&[0, 1, 0x45, 0x7f, 0x80, 0xff, byte.wrapping_add(1), *byte ^ 0x10, random]);
                }
            }
            3..6 => {
                let word = *self.random.pick(&WORDS);
                if let Some(field) = frame.get_mut(place & !1..(place & !1) + 2) {
                    field.copy_from_slice(&word.to_be_bytes());
                }
            }
            6 => frame.truncate(1 + place),
            7 => {
                let more = self.random.below(64);
                frame.resize(frame.len() + more, 0xaa);
            }
            8 => {
                // The rest of another frame.
                let other = self.random.pick(&self.frames);
                let tail = other.get(place..).unwrap_or_default().to_vec();
                frame.truncate(place);
                frame.extend(tail);
            }
            _ => self.tag(frame),
        }
    }

    /// Puts a tag of 802.1Q or 802.1ad behind the addresses.
    fn tag(&mut self, frame: &mut Vec<u8>) {
        let kind = *self.random.pick(&[[0x81, 0], [0x88, 0xa8]]);
        if frame.len() >= ETHERNET_LEN {
            frame.splice(12..12, kind.into_iter().chain([0, 5]));
        }
    }
}

/// Makes the checksums of a frame right, as far as its lengths make sense: that of the IPv4 header and that of what it carries, if that is whole.
pub fn mend(frame: &mut [u8]) {
    let mut network = ETHERNET_LEN;
    for _ in 0..HEADERS_MAX {
        // Where lengths make no sense, it stays as it is.
        let _is_mended = match frame.get(network - 2..network) {
            Some([0x81, 0] | [0x88, 0xa8]) => {
                network += 4;
                continue;
            }
            Some([8, 0]) => mend4(frame.get_mut(network..).unwrap_or_default()),
            Some([0x86, 0xdd]) => mend6(frame.get_mut(network..).unwrap_or_default()),
            _ => None,
        };
        return;
    }
}

fn mend4(packet: &mut [u8]) -> Option<()> {
    let header_len = usize::from(packet.first()? & 0xf) * 4;
    let total_len = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?])).min(packet.len());
    if !(IPV4_LEN_MIN..=total_len).contains(&header_len) {
        return None;
    }
    let (header, rest) = packet.split_at_mut_checked(header_len)?;
    write(header, 10, &[0, 0]);
    let mut sum = Sum::new();
    sum.add(header);
    write(header, 10, &sum.finish().to_be_bytes());
    let is_fragment = (header.get(6)? & 0x3f, *header.get(7)?) != (0, 0);
    if is_fragment {
        return None;
    }
    let address = |at: usize| header.get(at..at + 4).and_then(<[u8]>::first_chunk::<4>).map(|bytes| (*bytes).into());
    let (protocol, addresses) = (*header.get(9)?, [address(12)?, address(16)?]);
    mend_transport(rest.get_mut(..total_len - header_len)?, protocol, addresses)
}

fn mend6(packet: &mut [u8]) -> Option<()> {
    let (header, rest) = packet.split_at_mut_checked(IPV6_LEN)?;
    let len = usize::from(u16::from_be_bytes([header[4], header[5]])).min(rest.len());
    let address = |at: usize| header.get(at..at + 16).and_then(<[u8]>::first_chunk::<16>).map(|bytes| (*bytes).into());
    let addresses = [address(8)?, address(24)?];
    let mut protocol = header[6];
    let mut rest = rest.get_mut(..len)?;
    for _ in 0..HEADERS_MAX {
        match protocol {
            0 | 43 | 60 => {
                let (next, units) = (*rest.first()?, usize::from(*rest.get(1)?));
                protocol = next;
                rest = rest.get_mut(8 + 8 * units..)?;
            }
            44 => return None,
            _ => break,
        }
    }
    mend_transport(rest, protocol, addresses)
}

fn mend_transport(body: &mut [u8], protocol: u8, [source, destination]: [std::net::IpAddr; 2]) -> Option<()> {
    let (place, has_addresses) = match protocol {
        6 => (16, true),
        17 => (6, true),
        58 => (2, true),
        1 | 2 => (2, false),
        _ => return None,
    };
    // A datagram may be shorter than its packet.
    let len = if protocol == 17 { usize::from(u16::from_be_bytes([*body.get(4)?, *body.get(5)?])) } else { body.len() };
    let body = body.get_mut(..len)?;
    write(body, place, &[0, 0]);
    let mut sum = if has_addresses { Sum::pseudo_header(source, destination, protocol, len) } else { Sum::new() };
    sum.add(body);
    let sum = sum.finish();
    write(body, place, &if sum == 0 && protocol == 17 { 0xffff } else { sum }.to_be_bytes());
    Some(())
}

fn write(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(field) = bytes.get_mut(at..at + value.len()) {
        field.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture;

    #[test]
    fn mending_leaves_good_frames_as_they_are() {
        for (name, frames) in capture::all() {
            // What offloads leave to the device is not finished there.
            if name == "gso" {
                continue;
            }
            for frame in frames {
                let mut mended = frame.clone();
                mend(&mut mended);
                assert_eq!(mended, frame, "{name}");
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_frames() {
        let frames: Vec<Vec<u8>> = capture::all().flat_map(|(_, frames)| frames).collect();
        let made = |seed| {
            let mut mutator = Mutator::new(seed, frames.clone());
            (0..100).map(|_| mutator.make()).collect::<Vec<_>>()
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
    }
}
