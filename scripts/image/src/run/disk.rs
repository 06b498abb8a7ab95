//! `DISK=`: which disks the machine has.
//!
//! Disks are separated by blanks: `DISK="a.img b.qcow2,ro"`. The first is `vda` in the machine. A disk is a file of the host, raw or of QEMU's own format, which its first bytes tell. Behind a comma
//! `ro` makes it read-only. A blank in a name is written as `\ ` or within quotes, as a shell has it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::settings::Machine;
use crate::{Failure, Result, words};

/// Disks of a machine; the kernel names no more.
const DISKS_MAX: usize = 26;
/// What a file of QEMU's own format begins with.
const QCOW_MAGIC: [u8; 4] = *b"QFI\xfb";

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFile {
    /// The file of the host.
    pub path: PathBuf,
    /// Whether the machine may not write it.
    pub is_read_only: bool,
}

/// Reads the value of `DISK`.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(value: &OsStr) -> Result<Vec<DiskFile>> {
    let words = words::split(value.as_bytes()).map_err(|error| Failure::new(format!("DISK: {error}")))?;
    if words.len() > DISKS_MAX {
        return Err(Failure::new(format!("DISK: there can be {DISKS_MAX} disks")));
    }
    let disks = words.into_iter().map(|word| {
        let (path, is_read_only) = match word.strip_suffix(b",ro") {
            Some(path) => (path.to_vec(), true),
            None => (word, false),
        };
        DiskFile { path: OsString::from_vec(path).into(), is_read_only }
    });
    Ok(disks.collect())
}

/// Checks that the files can be used.
///
/// # Errors
/// Names the file, and why not.
pub fn check(disks: &[DiskFile]) -> Result<()> {
    for disk in disks {
        let opened = File::options().read(true).write(!disk.is_read_only).open(&disk.path);
        opened.map_err(|error| Failure::new(format!("DISK={}: {error}", disk.path.display())))?;
    }
    Ok(())
}

/// QEMU's arguments for the disks.
pub fn arguments(disks: &[DiskFile], machine: Machine, cpus: u32) -> Vec<OsString> {
    let mut list: Vec<OsString> = Vec::new();
    for (number, disk) in disks.iter().enumerate() {
        let mut drive = OsString::from(format!("if=none,id=disk{number},format={},file=", format(&disk.path)));
        drive.push(escaped(disk.path.as_os_str()));
        if disk.is_read_only {
            drive.push(",readonly=on");
        }
        let front = match machine {
            Machine::Microvm => format!("virtio-blk-device,drive=disk{number}"),
            Machine::Q35 | Machine::Pc => {
                format!("virtio-blk-pci,disable-legacy=on,drive=disk{number},num-queues={cpus},vectors={}", cpus + 1)
            }
        };
        list.extend(["-drive".into(), drive, "-device".into(), front.into()]);
    }
    list
}

/// What a file is; one that cannot be read is QEMU's to complain of.
fn format(path: &Path) -> &'static str {
    let mut magic = [0; 4];
    let is_qcow = File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == QCOW_MAGIC;
    if is_qcow { "qcow2" } else { "raw" }
}

/// A comma in a value is doubled.
pub(super) fn escaped(text: &OsStr) -> OsString {
    let mut bytes = Vec::new();
    for byte in text.as_bytes() {
        bytes.push(*byte);
        if *byte == b',' {
            bytes.push(b',');
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_read() {
        let disk = |path: &str, is_read_only| DiskFile { path: path.into(), is_read_only };
        let disks = parse(OsStr::new("a.img,ro 'b c,d'")).unwrap();
        assert_eq!(disks, [disk("a.img", true), disk("b c,d", false)]);
        assert_eq!(parse(OsStr::new(" ")).unwrap(), []);
        assert!(parse(OsStr::new("'a")).is_err());
        assert!(parse(OsStr::new(&"x ".repeat(27))).is_err());
        let missing = check(&[disk("/nowhere/disk", true)]).unwrap_err().to_string();
        assert!(missing.starts_with("DISK=/nowhere/disk: "), "{missing}");
    }

    #[test]
    fn arguments_name_the_file_and_the_bus() {
        let disks = parse(OsStr::new("'b,c',ro")).unwrap();
        let text = |machine| {
            let list = arguments(&disks, machine, 2);
            list.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let drive = "-drive if=none,id=disk0,format=raw,file=b,,c,readonly=on -device ";
        assert_eq!(text(Machine::Microvm), format!("{drive}virtio-blk-device,drive=disk0"));
        let pci = format!("{drive}virtio-blk-pci,disable-legacy=on,drive=disk0,num-queues=2,vectors=3");
        assert_eq!(text(Machine::Q35), pci);
    }
}
