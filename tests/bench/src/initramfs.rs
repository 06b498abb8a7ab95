//! An archive in cpio's "newc" format for Linux to start from: the program and the few nodes it needs.

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// The archive with `program` as /init.
pub(crate) fn build(program: &[u8]) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.add("dev", DIRECTORY | 0o755, (0, 0), &[]);
    archive.add("tmp", DIRECTORY | 0o1777, (0, 0), &[]);
    archive.add("dev/console", CHARACTER_DEVICE | 0o600, (5, 1), &[]);
    archive.add("dev/null", CHARACTER_DEVICE | 0o666, (1, 3), &[]);
    archive.add("dev/zero", CHARACTER_DEVICE | 0o666, (1, 5), &[]);
    archive.add("init", FILE | 0o755, (0, 0), program);
    archive.add("TRAILER!!!", 0, (0, 0), &[]);
    archive.bytes
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

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_follow_each_other_aligned() {
        let archive = build(b"12345");
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
}
