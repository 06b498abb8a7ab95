//! An archive in cpio's "newc" format for Linux to start from: the program, the few nodes it needs, and a folder of files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const LINK: u32 = 0o120_000;
/// Folders within folders.
const DEPTH_MAX: usize = 32;

/// The archive with `program` as /init, and what is in `files`.
pub(crate) fn build(program: &[u8], files: Option<&Path>) -> Result<Vec<u8>, String> {
    let mut archive = Archive::default();
    archive.add("dev", DIRECTORY | 0o755, (0, 0), &[]);
    archive.add("tmp", DIRECTORY | 0o1777, (0, 0), &[]);
    archive.add("dev/console", CHARACTER_DEVICE | 0o600, (5, 1), &[]);
    archive.add("dev/null", CHARACTER_DEVICE | 0o666, (1, 3), &[]);
    archive.add("dev/zero", CHARACTER_DEVICE | 0o666, (1, 5), &[]);
    archive.add("init", FILE | 0o755, (0, 0), program);
    if let Some(files) = files {
        archive.add_directory("", files, DEPTH_MAX)?;
    }
    archive.add("TRAILER!!!", 0, (0, 0), &[]);
    Ok(archive.bytes)
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
        self.inode += 1;
        let links = 1;
        let fields = [
            self.inode as usize,
            mode as usize,
            0,
            0,
            links,
            0,
            data.len(),
            0,
            0,
            device.0 as usize,
            device.1 as usize,
            name.len() + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(data);
        self.align();
    }

    /// Everything in a directory, its entries in the order of their names.
    fn add_directory(&mut self, prefix: &str, directory: &Path, depth: usize) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
        if depth == 0 {
            return Err(format!("{}: too deep", directory.display()));
        }
        let mut entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let path = entry.path();
            let metadata = entry.metadata().map_err(failed)?;
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_dir() {
                self.add(&name, DIRECTORY | mode, (0, 0), &[]);
                self.add_directory(&format!("{name}/"), &path, depth - 1)?;
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).map_err(failed)?;
                self.add(&name, LINK | 0o777, (0, 0), target.to_string_lossy().as_bytes());
            } else if metadata.is_file() {
                let bytes = fs::read(&path).map_err(failed)?;
                self.add(&name, FILE | mode, (0, 0), &bytes);
            } else {
                return Err(format!("{}: neither file, folder nor link: {:o}", path.display(), metadata.mode()));
            }
        }
        Ok(())
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_follow_each_other_aligned() {
        let archive = build(b"12345", None).expect("nothing is read");
        let text = String::from_utf8(archive).expect("headers are text");
        let init = text.find("init\0").expect("there is an init");
        let header = init - 110;
        assert_eq!(header % 4, 0);
        assert_eq!(&text[header..header + 6], "070701");
        assert_eq!(&text[header + 54..header + 62], "00000005", "its size");
        let data = (init + 5).next_multiple_of(4);
        assert_eq!(&text[data..data + 8], "12345\0\0\0");
        assert!(text[data + 8..].starts_with("070701"));
        assert!(text.contains("TRAILER!!!\0"));
    }

    #[test]
    fn folders_come_with_all_that_is_in_them() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let archive = build(b"", Some(here)).expect("the sources are files");
        let text = String::from_utf8_lossy(&archive);
        let position = |name: &str| text.find(&format!("{name}\0")).expect("it is there");
        assert!(position("src") < position("src/initramfs.rs"));
        assert!(position("program") < position("program/main.c"));
        assert!(build(b"", Some(&here.join("none"))).is_err());
    }
}
