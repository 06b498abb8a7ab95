//! The options of `mount` for `vfat`: `uid`, `gid`, `umask`, `dmask`, `fmask`. `codepage=437`, `iocharset=utf8`, `utf8`,
//! `shortname=mixed`, `errors=remount-ro`, `tz=UTC` and `flush` ask for what is so anyway.

use alloc::format;
use alloc::vec::Vec;

use abi::Errno;

/// Bits that Linux takes away from what everybody may do, when nothing else is said.
const MASK_DEFAULT: u32 = 0o022;

/// What the files of a volume look like, which has no owners and nearly no permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Permissions that files do not have.
    pub(super) file_mask: u32,
    /// Permissions that directories do not have.
    pub(super) directory_mask: u32,
}

impl Options {
    /// Reads options; `EINVAL` for what is unknown or wrong.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Errno> {
        let mut options = Self { uid: 0, gid: 0, file_mask: MASK_DEFAULT, directory_mask: MASK_DEFAULT };
        let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
        for option in text.split(',').filter(|option| !option.is_empty()) {
            options.set(option)?;
        }
        Ok(options)
    }

    fn set(&mut self, option: &str) -> Result<(), Errno> {
        let mask = |text| u32::from_str_radix(text, 8).map(|mask| mask & 0o777).map_err(|_| Errno::EINVAL);
        let id = |text: &str| text.parse().map_err(|_| Errno::EINVAL);
        match option.split_once('=') {
            Some(("uid", text)) => self.uid = id(text)?,
            Some(("gid", text)) => self.gid = id(text)?,
            Some(("umask", text)) => (self.file_mask, self.directory_mask) = (mask(text)?, mask(text)?),
            Some(("fmask", text)) => self.file_mask = mask(text)?,
            Some(("dmask", text)) => self.directory_mask = mask(text)?,
            Some(("codepage", "437") | ("iocharset", "utf8") | ("utf8", "1") | ("shortname", "mixed")) => {}
            Some(("errors", "remount-ro") | ("tz", "UTC")) => {}
            None if matches!(option, "utf8" | "flush") => {}
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// As `/proc/mounts` shows them.
    pub(super) fn show(&self) -> Vec<u8> {
        let mut text = format!(",fmask={:04o},dmask={:04o}", self.file_mask, self.directory_mask);
        for (name, id) in [(",uid=", self.uid), (",gid=", self.gid)] {
            if id != 0 {
                text.insert_str(0, &format!("{name}{id}"));
            }
        }
        text.push_str(",codepage=437,iocharset=utf8,shortname=mixed,utf8,errors=remount-ro");
        text.into_bytes()
    }
}
