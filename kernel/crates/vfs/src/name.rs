//! Names in directories: [`HashedName`], a borrowed one on its way through a walk, and [`Name`], an owned one.
//!
//! A name is hashed once, when the walk meets it; the dentry cache and the tables of file systems take the same hash. The hash is
//! a multiply-and-fold over words of eight bytes under a secret of the boot, so that a program that chooses file names cannot
//! choose collisions without knowing it.

use alloc::sync::Arc;
use core::fmt;

use sync::Once;

/// Bytes a [`Name`] holds without an allocation.
const INLINE_LEN_MAX: usize = 22;

/// A name and its hash.
#[derive(Clone, Copy, Debug)]
pub struct HashedName<'a> {
    bytes: &'a [u8],
    hash: u64,
}

impl<'a> HashedName<'a> {
    /// Hashes a name.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, hash: hash(bytes) }
    }

    /// The name.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its hash.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// The secret the hash begins with.
fn secret() -> u64 {
    static SECRET: Once<u64> = Once::new();
    *SECRET.call_once(|| {
        let mut bytes = [0; 8];
        sync::machine::fill_entropy(&mut bytes);
        u64::from_le_bytes(bytes)
    })
}

/// The high and the low half of a product, folded: every bit of the input reaches every bit of the result.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are wanted")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

/// The hash of a name.
#[inline]
fn hash(bytes: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = secret() ^ bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in words.by_ref() {
        let mut eight = [0; 8];
        eight.copy_from_slice(word);
        state = fold(state ^ u64::from_le_bytes(eight), MULTIPLIER);
    }
    let mut tail = 0;
    for &byte in words.remainder() {
        tail = tail << 8 | u64::from(byte);
    }
    fold(state ^ tail, MULTIPLIER)
}

/// An owned name; a short one lies in place.
#[derive(Clone)]
pub struct Name(Storage);

#[derive(Clone)]
enum Storage {
    Inline { len: u8, bytes: [u8; INLINE_LEN_MAX] },
    Shared(Arc<[u8]>),
}

impl Name {
    /// Copies a name.
    pub fn new(name: &[u8]) -> Self {
        match u8::try_from(name.len()) {
            Ok(len) if name.len() <= INLINE_LEN_MAX => {
                let mut bytes = [0; INLINE_LEN_MAX];
                bytes[..name.len()].copy_from_slice(name);
                Self(Storage::Inline { len, bytes })
            }
            _ => Self(Storage::Shared(Arc::from(name))),
        }
    }

    /// The name.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Storage::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Storage::Shared(bytes) => bytes,
        }
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
        for len in [0, 1, 7, 8, 21, 22, 23, 24, 255] {
            let name = vec![b'n'; len];
            assert_eq!(Name::new(&name).as_bytes(), &name[..]);
        }
        assert!(size_of::<Name>() <= 24);
    }

    #[test]
    fn similar_names_differ_in_hash() {
        let mut seen = std::collections::HashSet::new();
        for number in 0..100_000 {
            assert!(seen.insert(HashedName::new(format!("file{number}").as_bytes()).hash()));
        }
        assert_ne!(HashedName::new(b"\0").hash(), HashedName::new(b"\0\0").hash());
    }
}
