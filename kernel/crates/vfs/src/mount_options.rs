//! Options of a mount as a text: `ro,noatime,size=1m`.
//!
//! For whoever has a text in the place of the flags of the system call: those words that every mount knows are taken out of it, as
//! `mount(8)` does it; the rest is for the file system.

use alloc::vec::Vec;

use crate::{MountFlags, SuperblockFlags};

/// What a text of options asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// The restrictions of the mount.
    pub mount: MountFlags,
    /// How the file system is used.
    pub superblock: SuperblockFlags,
    /// What the file system has to understand.
    pub rest: Vec<u8>,
}

/// What each word adds to the restrictions, and what it takes away.
const WORDS: [(&[u8], MountFlags, MountFlags); 17] = [
    (b"ro", MountFlags::READ_ONLY, MountFlags::empty()),
    (b"rw", MountFlags::empty(), MountFlags::READ_ONLY),
    (b"nosuid", MountFlags::NO_SET_ID, MountFlags::empty()),
    (b"suid", MountFlags::empty(), MountFlags::NO_SET_ID),
    (b"nodev", MountFlags::NO_DEVICES, MountFlags::empty()),
    (b"dev", MountFlags::empty(), MountFlags::NO_DEVICES),
    (b"noexec", MountFlags::NO_EXECUTE, MountFlags::empty()),
    (b"exec", MountFlags::empty(), MountFlags::NO_EXECUTE),
    (b"noatime", MountFlags::NO_ACCESS_TIME, MountFlags::empty()),
    (b"atime", MountFlags::empty(), MountFlags::NO_ACCESS_TIME),
    (b"nodiratime", MountFlags::NO_DIRECTORY_ACCESS_TIME, MountFlags::empty()),
    (b"diratime", MountFlags::empty(), MountFlags::NO_DIRECTORY_ACCESS_TIME),
    (b"relatime", MountFlags::RELATIVE_ACCESS_TIME, MountFlags::empty()),
    (b"strictatime", MountFlags::STRICT_ACCESS_TIME, MountFlags::empty()),
    (b"nosymfollow", MountFlags::NO_LINKS, MountFlags::empty()),
    (b"symfollow", MountFlags::empty(), MountFlags::NO_LINKS),
    (b"defaults", MountFlags::empty(), MountFlags::empty()),
];

/// Words for flags of the system call that change nothing here.
const WITHOUT_EFFECT: &[u8] = b"lazytime nolazytime iversion noiversion silent loud";

impl MountOptions {
    /// Reads a text. The last word that says something counts.
    pub fn parse(text: &[u8]) -> Self {
        let mut mount = MountFlags::empty();
        let mut is_synchronous = false;
        let mut rest = Vec::new();
        for word in text.split(|byte| *byte == b',').filter(|word| !word.is_empty()) {
            if let Some((_, added, taken)) = WORDS.iter().find(|(known, ..)| *known == word) {
                mount = (mount - *taken) | *added;
            } else if matches!(word, b"sync" | b"async") {
                is_synchronous = word == b"sync";
            } else if !WITHOUT_EFFECT.split(|byte| *byte == b' ').any(|known| known == word) {
                if !rest.is_empty() {
                    rest.push(b',');
                }
                rest.extend_from_slice(word);
            }
        }
        let is_read_only = mount.contains(MountFlags::READ_ONLY);
        Self { mount, superblock: SuperblockFlags { is_read_only, is_synchronous }, rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_mounts_are_taken_out() {
        let options = MountOptions::parse(b"ro,noexec,size=1m,,sync,lazytime,exec,uid=5");
        assert_eq!(options.mount, MountFlags::READ_ONLY);
        assert_eq!(options.superblock, SuperblockFlags { is_read_only: true, is_synchronous: true });
        assert_eq!(options.rest, b"size=1m,uid=5");
        assert_eq!(MountOptions::parse(b"ro,rw").superblock, SuperblockFlags::default());
    }
}
