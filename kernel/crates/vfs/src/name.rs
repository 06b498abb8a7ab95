//! Names in directories: [`HashedName`], a borrowed one on its way through a walk, and [`Name`], an owned one.
//!
//! A name is hashed once, when the walk meets it; the dentry cache and the tables of file systems take the same hash. The walk
//! reads its path in words of eight bytes, and finds the end of a name and hashes it in one pass. The
//! hash is a multiply-and-fold over these words under a secret of the boot, so that a program that chooses file names cannot
//! choose collisions without knowing it. A name of one word is compared as a word.

use alloc::sync::Arc;
use core::fmt;

use sync::Once;

/// Bytes in a word.
const WORD_LEN: usize = size_of::<u64>();
/// Bytes a [`Name`] holds without an allocation.
const SHORT_LEN_MAX: usize = 22;

/// A name and its hash.
#[derive(Clone, Copy, Debug)]
pub struct HashedName<'a> {
    bytes: &'a [u8],
    hash: u64,
    /// The first bytes as a word, little-endian, with zeros behind the end.
    first: u64,
}

impl<'a> HashedName<'a> {
    /// Hashes a name.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::read(bytes, |_| 0)
    }

    /// Reads the component that a path begins with: it ends at a slash or with the path.
    #[inline(always)]
    pub(crate) fn component(path: &'a [u8]) -> Self {
        Self::read(path, slashes)
    }

    /// Reads a name that ends where `ends` first marks a byte of a word, or with the text.
    #[inline(always)]
    fn read(text: &'a [u8], ends: impl Fn(u64) -> u64) -> Self {
        let (first, mut len) = name_word(text, &ends);
        let mut hash = fold(secret() ^ first);
        if len == WORD_LEN {
            loop {
                let (word, word_len) = name_word(text.get(len..).unwrap_or_default(), &ends);
                hash = fold(hash ^ word);
                len += word_len;
                if word_len < WORD_LEN {
                    break;
                }
            }
        }
        Self { bytes: text.get(..len).unwrap_or_default(), hash, first }
    }

    /// The name.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether it is none of the names that mean something to a walk: `.`, `..` and the empty one. Paths have no NUL,
    /// so the first word says it.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        const DOT: u64 = b'.' as u64;
        const DOT_DOT: u64 = DOT << 8 | DOT;
        !matches!(self.first, 0 | DOT | DOT_DOT)
    }

    /// Its hash.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
/// A one in every byte.
const ONES: u64 = u64::MAX / 0xff;
/// The top bit of every byte.
const TOPS: u64 = ONES << 7;

/// Marks the slashes in a word: the top bit of each, and nothing below the first of them.
#[inline]
fn slashes(word: u64) -> u64 {
    let zero_where_slash = word ^ (ONES * b'/' as u64);
    zero_where_slash.wrapping_sub(ONES) & !zero_where_slash & TOPS
}

/// The up to eight bytes of a name at the start of a text, as a word with zeros behind them, and how many they are.
#[inline(always)]
fn name_word(text: &[u8], ends: impl Fn(u64) -> u64) -> (u64, usize) {
    let (word, bytes) = match text.first_chunk() {
        Some(word) => (u64::from_le_bytes(*word), WORD_LEN),
        None => (last_word(text), text.len()),
    };
    // Marks are the top bits of bytes, so their position gives the bytes before them; without one it is eight.
    let len = (ends(word).trailing_zeros() as usize / 8).min(bytes);
    if len == WORD_LEN { (word, len) } else { (word & !(u64::MAX << (len * 8)), len) }
}

/// Fewer than eight bytes as a word: two halves that may overlap.
#[inline(always)]
fn last_word(text: &[u8]) -> u64 {
    match (text.first_chunk(), text.last_chunk(), text) {
        (Some(first), Some(last), _) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            u64::from(first) | u64::from(last) << ((text.len() - size_of::<u32>()) * 8)
        }
        (_, _, [first]) => u64::from(*first),
        (_, _, [first, second]) => u64::from(*first) | u64::from(*second) << 8,
        (_, _, [first, second, third]) => u64::from(*first) | u64::from(*second) << 8 | u64::from(*third) << 16,
        _ => 0,
    }
}

/// The secret the hash begins with.
#[inline]
fn secret() -> u64 {
    static SECRET: Once<u64> = Once::new();
    *SECRET.call_once(|| {
        let mut bytes = [0; 8];
        sync::machine::fill_entropy(&mut bytes);
        u64::from_le_bytes(bytes)
    })
}

/// One step of the hash. The high and the low half of a product, folded: every bit of the input reaches every bit of the result.
#[inline]
fn fold(state: u64) -> u64 {
    let product = u128::from(state) * u128::from(MULTIPLIER);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are wanted")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

/// An owned name; a short one lies in place.
#[derive(Clone)]
pub struct Name(Storage);

#[derive(Clone)]
enum Storage {
    Short { len: u8, bytes: [u8; SHORT_LEN_MAX] },
    Long(Arc<[u8]>),
}

impl Name {
    /// Copies a name.
    pub fn new(name: &[u8]) -> Self {
        match u8::try_from(name.len()) {
            Ok(len) if name.len() <= SHORT_LEN_MAX => {
                let mut bytes = [0; SHORT_LEN_MAX];
                bytes[..name.len()].copy_from_slice(name);
                Self(Storage::Short { len, bytes })
            }
            _ => Self(Storage::Long(Arc::from(name))),
        }
    }

    /// The name.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Storage::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Storage::Long(bytes) => bytes,
        }
    }

    /// Whether it is the same name.
    #[inline(always)]
    pub(crate) fn is(&self, name: HashedName<'_>) -> bool {
        if name.bytes.len() > WORD_LEN {
            return self.as_bytes() == name.bytes;
        }
        match &self.0 {
            Storage::Short { len, bytes } => {
                let first = bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
                usize::from(*len) == name.bytes.len() && first == name.first
            }
            Storage::Long(_) => false,
        }
    }
}

impl From<HashedName<'_>> for Name {
    fn from(name: HashedName<'_>) -> Self {
        Self::new(name.bytes)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_storage() {
        for len in [0, 1, 7, 8, 9, 15, 16, 21, 22, 23, 24, 255] {
            let name: Vec<u8> = (0..len).map(|at| b'a' + at % 26).collect();
            let hashed = HashedName::new(&name);
            assert_eq!(hashed.bytes(), &name[..]);
            assert_eq!(Name::from(hashed).as_bytes(), &name[..]);
            assert!(Name::new(&name).is(hashed));
            let mut other = name.clone();
            other.push(b'x');
            assert!(!Name::new(&other).is(hashed) && !Name::new(&name).is(HashedName::new(&other)));
        }
        assert!(size_of::<Name>() <= 24);
    }

    #[test]
    fn components_end_at_slashes() {
        for len in 0..40 {
            let name = vec![b'n'; len];
            for tail in ["", "/", "//x", "/a/b/c/d/e/f/g/h", "/\u{ff}\u{ae}/"] {
                for head in ["", "/", "dir/", "a/long/way/to/it/"] {
                    let path = [head.as_bytes(), &name, tail.as_bytes()].concat();
                    let component = HashedName::component(&path[head.len()..]);
                    assert_eq!(component.bytes(), &name[..], "{len} {head} {tail}");
                    let alone = HashedName::new(&name);
                    assert_eq!((component.hash(), component.first), (alone.hash(), alone.first));
                }
            }
        }
        // Bytes near the slash in value end nothing.
        let path: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
        assert_eq!(HashedName::component(&path).bytes(), &path[..]);
    }

    #[test]
    fn similar_names_differ_in_hash() {
        let mut seen = std::collections::HashSet::new();
        for number in 0..100_000 {
            assert!(seen.insert(HashedName::new(format!("file{number}").as_bytes()).hash()));
        }
    }
}
