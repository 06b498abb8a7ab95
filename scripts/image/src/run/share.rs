//! `SHARE=`: which directories of the host the machine shares.
//!
//! Shares are separated by blanks: `SHARE="data:/srv/data docs,ro"`. Each is a directory of the host, behind `:` where it is mounted, else below
//! `/mnt` by its own name; and `,ro` where nothing may be changed. A blank in a name is written as `\ ` or within quotes, as a shell has it.
//!
//! QEMU serves them by 9P with the rights of whoever calls it (`security_model=none`): files have the owners and modes that the host shows, and
//! what the program makes belongs to the caller.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::disk::escaped;
use super::settings::Machine;
use crate::{Failure, Result, words};

/// Shares of a machine; a microvm has not many more places for devices.
const SHARES_MAX: usize = 8;

/// A directory that is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The directory of the host.
    pub directory: PathBuf,
    /// Where the program finds it; `None` for below `/mnt` by its name.
    pub place: Option<Vec<u8>>,
    /// Whether the machine may change nothing in it.
    pub is_read_only: bool,
}

/// Reads the value of `SHARE`.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(value: &OsStr) -> Result<Vec<Share>> {
    let words = words::split(value.as_bytes()).map_err(|error| Failure::new(format!("SHARE: {error}")))?;
    if words.len() > SHARES_MAX {
        return Err(Failure::new(format!("SHARE: there can be {SHARES_MAX} shares")));
    }
    words.iter().map(|word| parse_one(word)).collect()
}

fn parse_one(word: &[u8]) -> Result<Share> {
    let (rest, is_read_only) = word.strip_suffix(b",ro").map_or((word, false), |rest| (rest, true));
    let colon = rest.windows(2).rposition(|pair| pair == b":/");
    let (directory, place) = match colon {
        Some(at) => (&rest[..at], Some(rest[at + 1..].to_vec())),
        None => (rest, None),
    };
    // Words of the kernel's command line end at blanks.
    if place.as_ref().is_some_and(|place| place.iter().any(|byte| *byte <= b' ')) {
        return Err(Failure::new(format!("SHARE={}: there can be no blank in the place", word.escape_ascii())));
    }
    Ok(Share { directory: OsString::from_vec(directory.to_vec()).into(), place, is_read_only })
}

/// Checks that the directories can be shared.
///
/// # Errors
/// Names the directory, and why not.
pub fn check(shares: &[Share]) -> Result<()> {
    for share in shares {
        let name = share.directory.display();
        fs::read_dir(&share.directory).map_err(|error| Failure::new(format!("SHARE={name}: {error}")))?;
        if place(share).is_none() {
            return Err(Failure::new(format!("SHARE={name}: say where it is to be, as in SHARE=dir:/mnt/data")));
        }
    }
    Ok(())
}

/// Where a share is mounted, if that can be said.
fn place(share: &Share) -> Option<Vec<u8>> {
    if let Some(place) = &share.place {
        return Some(place.clone());
    }
    let directory = fs::canonicalize(&share.directory).ok()?;
    let name = directory.file_name()?.as_bytes();
    let is_plain = !name.iter().any(|byte| *byte <= b' ');
    is_plain.then(|| [b"/mnt/", name].concat())
}

/// What the kernel is told: each share's tag, how it is mounted, and where.
pub fn command_line(shares: &[Share]) -> OsString {
    let mut line = Vec::new();
    for (number, share) in shares.iter().enumerate() {
        let mode = if share.is_read_only { "ro" } else { "rw" };
        line.extend(format!(" share=share{number}:{mode}:").into_bytes());
        line.extend(place(share).unwrap_or_default());
    }
    OsString::from_vec(line)
}

/// QEMU's arguments for the shares.
pub fn arguments(shares: &[Share], machine: Machine) -> Vec<OsString> {
    let mut list: Vec<OsString> = Vec::new();
    for (number, share) in shares.iter().enumerate() {
        // Numbers of files are made different where they come from several file systems of the host.
        let mut back = OsString::from(format!("local,id=share{number},security_model=none,multidevs=remap,path="));
        back.push(escaped(share.directory.as_os_str()));
        if share.is_read_only {
            back.push(",readonly=on");
        }
        let bus = match machine {
            Machine::Microvm => "device",
            Machine::Q35 | Machine::Pc => "pci,disable-legacy=on",
        };
        let front = format!("virtio-9p-{bus},fsdev=share{number},mount_tag=share{number}");
        list.extend(["-fsdev".into(), back, "-device".into(), front.into()]);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read() {
        let share = |directory: &str, place: Option<&str>, is_read_only| Share {
            directory: directory.into(),
            place: place.map(|place| place.as_bytes().to_vec()),
            is_read_only,
        };
        let shares = parse(OsStr::new("a:/b,ro 'c d' e:f:/g/h ,ro")).unwrap();
        let wanted = [
            share("a", Some("/b"), true),
            share("c d", None, false),
            share("e:f", Some("/g/h"), false),
            share("", None, true),
        ];
        assert_eq!(shares, wanted);
        assert_eq!(parse(OsStr::new(" ")).unwrap(), []);
        assert!(parse(OsStr::new("'a")).is_err() && parse(OsStr::new("'a:/b c'")).is_err());
        assert!(parse(OsStr::new(&"x ".repeat(9))).is_err());
        let refused = |share: Share| check(&[share]).unwrap_err().to_string();
        assert!(refused(share("/nowhere/at/all", None, false)).starts_with("SHARE=/nowhere/at/all: "));
        assert!(refused(share("/", None, false)).contains("say where"));
    }

    #[test]
    fn both_sides_are_told() {
        let shares = parse(OsStr::new("/a,b:/x,ro /usr")).unwrap();
        let list = arguments(&shares, Machine::Microvm);
        let text: Vec<_> = list.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let wanted = "-fsdev local,id=share0,security_model=none,multidevs=remap,path=/a,,b,readonly=on -device \
            virtio-9p-device,fsdev=share0,mount_tag=share0 -fsdev local,id=share1,security_model=none,multidevs=remap,path=/usr \
            -device virtio-9p-device,fsdev=share1,mount_tag=share1";
        assert_eq!(text.join(" "), wanted);
        assert_eq!(command_line(&shares), " share=share0:ro:/x share=share1:rw:/mnt/usr");
        assert!(arguments(&shares, Machine::Pc)[3].to_string_lossy().starts_with("virtio-9p-pci,disable-legacy=on,"));
    }
}
