//! `MOUNT=`: which file systems are mounted before the program starts.
//!
//! Mounts are separated by blanks: `MOUNT="/dev/vda:/data /dev/vdb1:/logs:ext4:ro,noatime"`. Each is what is mounted, where, and behind further
//! colons the type and the options, as `mount` of Linux has them. Without a type the machine finds out. The machine ends with a
//! message when one cannot be mounted.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::{Failure, Result, words};

/// The most mounts.
const MOUNTS_MAX: usize = 32;

/// A file system to be mounted, as the kernel's command line has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount(Vec<u8>);

/// Reads the value of `MOUNT`.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(value: &OsStr) -> Result<Vec<Mount>> {
    let words = words::split(value.as_bytes()).map_err(|error| Failure::new(format!("MOUNT: {error}")))?;
    if words.len() > MOUNTS_MAX {
        return Err(Failure::new(format!("MOUNT: there can be {MOUNTS_MAX} mounts")));
    }
    words.into_iter().map(parse_one).collect()
}

fn parse_one(word: Vec<u8>) -> Result<Mount> {
    let mut parts = word.splitn(4, |byte| *byte == b':');
    let (source, place) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let failure = |wanted: &str| Err(Failure::new(format!("MOUNT={}: {wanted}", word.escape_ascii())));
    if source.is_empty() || !place.starts_with(b"/") {
        return failure("it should be like /dev/vda:/data, with :type and :options behind");
    }
    // Words of the kernel's command line end at blanks.
    if word.iter().any(|byte| *byte <= b' ') {
        return failure("there can be no blank in it");
    }
    Ok(Mount(word))
}

/// What the kernel is told.
pub fn command_line(mounts: &[Mount]) -> OsString {
    OsString::from_vec(mounts.iter().flat_map(|mount| [b" mount=", &*mount.0].concat()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let mounts = parse(OsStr::new("/dev/vda:/data  none:/t:tmpfs:size=1m,mode=0700")).expect("valid");
        assert_eq!(command_line(&mounts), " mount=/dev/vda:/data mount=none:/t:tmpfs:size=1m,mode=0700");
        assert_eq!(command_line(&parse(OsStr::new("")).expect("valid")), "");
        for wrong in ["/dev/vda", "/dev/vda:data", ":/data", "'/dev/vda:/a b'"] {
            assert!(parse(OsStr::new(wrong)).is_err(), "{wrong}");
        }
    }
}
