//! Where a stub may lie.
//!
//! The site's first byte is that of a `jmp rel32`; the four that follow are the distance to the stub, lowest byte first. Where a
//! covered instruction began in them, the byte must be one that traps: the stub lies at an address that makes it so. (The
//! idea is known as instruction punning: Chamith, Svensson, Dalessandro and Newton, PLDI 2017; Duck, Gao and Roychoudhury, PLDI 2020.)
//! One such byte leaves about one address in thirteen, which is plenty.

use super::stub::{JUMP_LEN, distance};

/// Opcodes of one byte that are invalid in 64-bit mode whatever follows (SDM volume 2, table A-2), and the breakpoint.
const TRAPS: [u8; 20] = [
    0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x82, 0x9a, 0xcc, 0xce, 0xd4, 0xd6,
    0xea,
];

const fn trap_map() -> [u64; 4] {
    let mut map = [0; 4];
    let mut index = 0;
    while index < TRAPS.len() {
        map[(TRAPS[index] >> 6) as usize] |= 1 << (TRAPS[index] & 63);
        index += 1;
    }
    map
}

static TRAP_MAP: [u64; 4] = trap_map();

fn traps(byte: u8) -> bool {
    TRAP_MAP[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
}

/// The bytes of the distance, of those given by a mask, at which covered instructions began all trap.
fn fits_bytes(site: usize, stub: usize, starts: u32, bytes: core::ops::Range<usize>) -> bool {
    let Some(distance) = distance(site + JUMP_LEN, stub) else { return false };
    let distance = distance.to_le_bytes();
    bytes.clone().zip(&distance[bytes]).all(|(index, byte)| starts >> (index + 1) & 1 == 0 || traps(*byte))
}

/// Whether a stub at `stub` fits a site in which instructions began at `starts`.
pub(super) fn fits(site: usize, stub: usize, starts: u32) -> bool {
    fits_bytes(site, stub, starts, 0..4)
}

/// Whether a stub that begins in this page may fit, as far as the upper half of the distance goes.
pub(super) fn may_fit_page(site: usize, page: usize, starts: u32) -> bool {
    const UPPER: core::ops::Range<usize> = 2..4;
    fits_bytes(site, page, starts, UPPER) || fits_bytes(site, page + crate::PAGE_SIZE - 1, starts, UPPER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_where_instructions_began_trap() {
        let site = 0x40_1000;
        assert!(fits(site, site + 5 + 0x1000, 1));
        // The second lowest byte of the distance belongs to what began at byte 2.
        assert!(fits(site, site + 5 + 0x0600, 0b101) && !fits(site, site + 5 + 0x0500, 0b101));
        let far = 0x5555_0000_1000;
        assert!(fits(far, far + 5 - 0x15f0_0000, 0b1_0001) && !fits(far, far + 5 - 0x1400_0000, 0b1_0001));
        assert!(fits(site, site + 5 + 0x0606_0606, 0b11111));
        assert!(!fits(site, site.wrapping_sub(0x9000_0000), 1), "out of reach");
        assert!(may_fit_page(site, (site + 5 + 0x0606_0000) & !0xfff, 0b11001));
    }

    #[test]
    fn the_map_has_the_list() {
        assert_eq!((0..=255).filter(|byte| traps(*byte)).count(), TRAPS.len());
        assert!(TRAPS.iter().all(|byte| traps(*byte)));
    }
}
