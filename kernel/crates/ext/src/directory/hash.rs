//! [`NameHasher`]: the hashes by which an indexed directory sorts its names.
//!
//! # Theory
//!
//! 1. Ext3 and ext4 know three functions (Linux, `fs/ext4/hash.c`; e2fsprogs, `lib/ext2fs/dirhash.c`): a *legacy* one, mixed byte by
//!    byte; MD4 (R. Rivest, RFC 1320) cut to half of its state and of its rounds; and the block cipher TEA (D. Wheeler, R. Needham, "TEA, a
//!    tiny encryption algorithm", FSE 1994) used as a compression function. The last two begin from a seed in the superblock, so
//!    nobody outside can prepare names of one hash.
//! 2. Bytes of names were added as `char`, which has a sign on some processors. So each function has two forms that differ for names
//!    with bytes from 128 on; the superblock says which one made a file system's directories.
//! 3. The *major* hash sorts. Its lowest bit is not the name's: in the index it says that a leaf goes on with the hash of the leaf before
//!    it. The largest value is the mark of the end in positions, so no name has it.
//! 4. The *minor* hash tells apart what has one major hash, for the order of listing alone. The legacy function has none; it borrows
//!    that of half MD4, which nothing on the disk depends on.

/// The largest major hash, halved; positions need it for the end.
const END: u32 = 0x7fff_ffff;
/// The state before the first block when the superblock has no seed: MD4's own.
const DEFAULT_STATE: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// TEA's constant, from the golden ratio.
const TEA_DELTA: u32 = 0x9e37_79b9;
/// MD4's constants of rounds two and three: roots of two and three.
const MD4_ROUND_2: u32 = 0x5a82_7999;
const MD4_ROUND_3: u32 = 0x6ed9_eba1;

/// The function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashVersion {
    /// Ext3's first.
    Legacy,
    /// Half of MD4; what `mke2fs` sets.
    HalfMd4,
    /// TEA.
    Tea,
}

impl HashVersion {
    /// From its number in superblocks and in roots of indexes.
    pub fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Self::Legacy),
            1 => Some(Self::HalfMd4),
            2 => Some(Self::Tea),
            _ => None,
        }
    }

    /// Its number.
    pub fn raw(self) -> u8 {
        match self {
            Self::Legacy => 0,
            Self::HalfMd4 => 1,
            Self::Tea => 2,
        }
    }
}

/// The hash of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameHash {
    /// What the index sorts by; even.
    pub major: u32,
    /// What tells names of one major hash apart.
    pub minor: u32,
}

/// One function with its seed.
#[derive(Clone, Copy, Debug)]
pub struct NameHasher {
    /// The function.
    pub version: HashVersion,
    /// Whether bytes are taken without a sign.
    pub is_unsigned: bool,
    /// The superblock's seed; all zero for none.
    pub seed: [u32; 4],
}

impl NameHasher {
    /// Hashes a name.
    pub fn hash(&self, name: &[u8]) -> NameHash {
        let (major, minor) = match self.version {
            HashVersion::Legacy => (self.legacy(name), self.half_md4(name)[2]),
            HashVersion::HalfMd4 => {
                let state = self.half_md4(name);
                (state[1], state[2])
            }
            HashVersion::Tea => {
                let state = self.tea(name);
                (state[0], state[1])
            }
        };
        let major = major & !1;
        NameHash { major: if major == END << 1 { (END - 1) << 1 } else { major }, minor }
    }

    /// A byte as the function adds it.
    fn widen(&self, byte: u8) -> u32 {
        if self.is_unsigned { u32::from(byte) } else { i32::from(byte.cast_signed()).cast_unsigned() }
    }

    fn first_state(&self) -> [u32; 4] {
        if self.seed == [0; 4] { DEFAULT_STATE } else { self.seed }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut last, mut before) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
        for &byte in name {
            let mut next = before.wrapping_add(last ^ self.widen(byte).wrapping_mul(7_152_373));
            if next & 0x8000_0000 != 0 {
                next = next.wrapping_sub(0x7fff_ffff);
            }
            (before, last) = (last, next);
        }
        last << 1
    }

    /// The words of the part of a name that is hashed next, `N` at most: bytes from the left, and its length for padding.
    fn words<const N: usize>(&self, rest: &[u8]) -> [u32; N] {
        let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let pad = len | len << 8;
        let pad = pad | pad << 16;
        let mut words = [pad; N];
        for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
            *word = bytes.iter().fold(pad, |word, &byte| self.widen(byte).wrapping_add(word << 8));
        }
        words
    }

    fn half_md4(&self, name: &[u8]) -> [u32; 4] {
        let mut state = self.first_state();
        for part in parts(name, 32) {
            half_md4_block(&mut state, &self.words(part));
        }
        state
    }

    fn tea(&self, name: &[u8]) -> [u32; 4] {
        let mut state = self.first_state();
        for part in parts(name, 16) {
            tea_block(&mut state, &self.words(part));
        }
        state
    }
}

/// What is left of a name before each of its blocks of `len` bytes.
fn parts(name: &[u8], len: usize) -> impl Iterator<Item = &[u8]> {
    (0..name.len()).step_by(len).map(move |begin| name.get(begin..).unwrap_or_default())
}

fn half_md4_block(state: &mut [u32; 4], input: &[u32; 8]) {
    /// The words in the order of each round, and how far each of four steps turns.
    const ROUND_1: ([usize; 8], [u32; 4]) = ([0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]);
    const ROUND_2: ([usize; 8], [u32; 4]) = ([1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]);
    const ROUND_3: ([usize; 8], [u32; 4]) = ([3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]);
    let mut sum = *state;
    round(&mut sum, input, &ROUND_1, 0, |x, y, z| z ^ (x & (y ^ z)));
    round(&mut sum, input, &ROUND_2, MD4_ROUND_2, |x, y, z| (x & y).wrapping_add((x ^ y) & z));
    round(&mut sum, input, &ROUND_3, MD4_ROUND_3, |x, y, z| x ^ y ^ z);
    for (state, sum) in state.iter_mut().zip(sum) {
        *state = state.wrapping_add(sum);
    }
}

fn round(
    sum: &mut [u32; 4],
    input: &[u32; 8],
    (order, turns): &([usize; 8], [u32; 4]),
    constant: u32,
    function: impl Fn(u32, u32, u32) -> u32,
) {
    let [mut a, mut b, mut c, mut d] = *sum;
    for (index, turn) in order.iter().zip(turns.iter().cycle()) {
        let next = a.wrapping_add(function(b, c, d)).wrapping_add(input[*index]).wrapping_add(constant);
        // The one that was changed comes second now; after four steps each is in its place again.
        (a, b, c, d) = (d, next.rotate_left(*turn), b, c);
    }
    *sum = [a, b, c, d];
}

fn tea_block(state: &mut [u32; 4], input: &[u32; 4]) {
    let [a, b, c, d] = *input;
    let [mut low, mut high, ..] = *state;
    let mut sum = 0_u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(TEA_DELTA);
        let mix = (high << 4).wrapping_add(a) ^ high.wrapping_add(sum) ^ (high >> 5).wrapping_add(b);
        low = low.wrapping_add(mix);
        let mix = (low << 4).wrapping_add(c) ^ low.wrapping_add(sum) ^ (low >> 5).wrapping_add(d);
        high = high.wrapping_add(mix);
    }
    state[0] = state[0].wrapping_add(low);
    state[1] = state[1].wrapping_add(high);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What debugfs says (`dx_hash -h .. -s ..`). The seed is 89abcdef-0123-4567-89ab-cdef01234567.
    #[test]
    fn known_values() {
        const SEED: [u32; 4] = [0xefcd_ab89, 0x6745_2301, 0xefcd_ab89, 0x6745_2301];
        let long = [b'x'; 70];
        for (version, seed, name, major, minor) in [
            (HashVersion::Legacy, [0; 4], &b"a"[..], 0xe74b_53e2, None),
            (HashVersion::Legacy, SEED, b"hello", 0x3225_2546, None),
            (HashVersion::Legacy, [0; 4], &long, 0x4b65_d2c4, None),
            (HashVersion::HalfMd4, [0; 4], b"a", 0xd5fa_7d7a, Some(0xacb4_8187)),
            (HashVersion::HalfMd4, [0; 4], b"hello", 0x1746_da32, Some(0x4200_13b5)),
            (HashVersion::HalfMd4, [0; 4], &long, 0x43b7_ab42, Some(0x06b3_dabf)),
            (HashVersion::HalfMd4, SEED, b"hello", 0xeb93_04e8, Some(0xb155_1ff5)),
            (HashVersion::Tea, [0; 4], b"a", 0x6d0e_a4c0, Some(0xc189_22df)),
            (HashVersion::Tea, [0; 4], b"hello", 0x6f5b_b1a8, Some(0x2319_17c2)),
            (HashVersion::Tea, [0; 4], &long, 0x0c01_8b94, Some(0x011a_243a)),
            (HashVersion::Tea, SEED, b"hello", 0x2d9a_84f6, Some(0x3d5c_94f3)),
        ] {
            let hash = NameHasher { version, is_unsigned: false, seed }.hash(name);
            assert_eq!(hash.major, major, "{version:?} {name:?}");
            assert!(minor.is_none_or(|minor| minor == hash.minor), "{version:?} {name:?}");
            // Without bytes from 128 on both forms agree.
            assert_eq!(NameHasher { version, is_unsigned: true, seed }.hash(name), hash);
        }
    }

    #[test]
    fn signs_matter_for_high_bytes() {
        for version in [HashVersion::Legacy, HashVersion::HalfMd4, HashVersion::Tea] {
            let [signed, unsigned] =
                [false, true].map(|is_unsigned| NameHasher { version, is_unsigned, seed: [0; 4] }.hash(b"\xc3\xa4"));
            assert_ne!(signed, unsigned, "{version:?}");
        }
    }

    #[test]
    fn versions_have_numbers() {
        assert!((0..3).all(|raw| HashVersion::from_raw(raw).is_some_and(|version| version.raw() == raw)));
        assert!((3..=255).all(|raw| HashVersion::from_raw(raw).is_none()));
    }
}
