//! Access control lists as the disk has them, from and to the form programs know. Pure.
//!
//! 1. Programs: version 2 in 32 bits, then 8 bytes for each entry: tag, permissions, who is meant, in 16, 16 and 32
//!    bits. Who is meant counts for named users and groups alone.
//! 2. The disk (Linux, `fs/ext4/acl.h`): version 1 in 32 bits, then for each entry 4 bytes, tag and permissions, and 4
//!    bytes more, who is meant, if it names somebody. So the length of an entry follows from its tag.
//!
//! What the entries say is not looked at, but for that.

use alloc::vec::Vec;

use abi::xattr::{ACL_GROUP, ACL_UNDEFINED_ID, ACL_USER, POSIX_ACL_XATTR_VERSION};

use super::Nonsense;

/// The version on the disk.
const DISK_VERSION: u32 = 1;
/// Bytes of tag and permissions, of who is meant, and of both.
const HEAD_LEN: usize = 4;
const ID_LEN: usize = 4;
const ENTRY_LEN: usize = HEAD_LEN + ID_LEN;

/// Whether an entry with this head names somebody.
fn has_id([tag, tag_high, ..]: [u8; HEAD_LEN]) -> bool {
    matches!(u16::from_le_bytes([tag, tag_high]), ACL_USER | ACL_GROUP)
}

/// From the disk. `Nonsense` for what is no list.
pub(super) fn from_disk(value: &[u8]) -> Result<Vec<u8>, Nonsense> {
    const WRONG: Nonsense = Nonsense("an access control list that is none");
    let (version, mut rest) = value.split_first_chunk().ok_or(WRONG)?;
    if u32::from_le_bytes(*version) != DISK_VERSION {
        return Err(WRONG);
    }
    let mut list = POSIX_ACL_XATTR_VERSION.to_le_bytes().to_vec();
    while !rest.is_empty() {
        let (head, behind) = rest.split_first_chunk::<HEAD_LEN>().ok_or(WRONG)?;
        let (id, behind) = if has_id(*head) {
            let (id, behind) = behind.split_first_chunk::<ID_LEN>().ok_or(WRONG)?;
            (*id, behind)
        } else {
            (ACL_UNDEFINED_ID.to_le_bytes(), behind)
        };
        list.extend(head);
        list.extend(id);
        rest = behind;
    }
    Ok(list)
}

/// To the disk; None for what has not the form.
pub(super) fn to_disk(list: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = list.split_first_chunk()?;
    let (entries, rest) = entries.as_chunks::<ENTRY_LEN>();
    if u32::from_le_bytes(*version) != POSIX_ACL_XATTR_VERSION || !rest.is_empty() {
        return None;
    }
    let mut value = DISK_VERSION.to_le_bytes().to_vec();
    for entry in entries {
        let (head, id) = entry.split_first_chunk::<HEAD_LEN>()?;
        value.extend(head);
        if has_id(*head) {
            value.extend(id);
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `u::rw-,u:1000:r--,g::r--,m::r--,o::---`, in both forms.
    const LIST: [u8; 44] = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4,
        0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];
    const DISK: [u8; 28] = [1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 16, 0, 4, 0, 32, 0, 0, 0];

    #[test]
    fn both_forms_say_the_same() {
        assert_eq!(to_disk(&LIST), Some(DISK.to_vec()));
        assert_eq!(from_disk(&DISK), Ok(LIST.to_vec()));
        assert_eq!((to_disk(&LIST[..43]), to_disk(&DISK), to_disk(&[])), (None, None, None));
        for wrong in [&DISK[..3], &DISK[..7], &DISK[..14], &LIST] {
            assert!(from_disk(wrong).is_err());
        }
    }

    #[test]
    fn any_bytes_are_a_list_or_told() {
        let seed = 7;
        println!("seed {seed}");
        let mut random = testkit::Random::new(seed);
        let mut read = 0;
        for _ in 0..20_000 {
            let mut bytes = DISK.to_vec();
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = *random.pick(&[0, 1, 2, 4, 8, 16, 32, 0xff]);
            }
            bytes.truncate(bytes.len() - random.below(2) * random.below(28));
            let Ok(list) = from_disk(&bytes) else { continue };
            read += 1;
            assert_eq!(to_disk(&list), Some(bytes));
        }
        assert!(read > 1000, "{read}");
    }
}
