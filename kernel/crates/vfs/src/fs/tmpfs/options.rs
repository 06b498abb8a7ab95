//! The options of `mount` for a tmpfs: `size`, `nr_blocks`, `nr_inodes`, `mode`, `uid`, `gid`.
//!
//! Numbers are written as everywhere in Linux's options (`memparse`): decimal, octal behind `0`, hexadecimal behind
//! `0x`, with `k`, `m`, `g` and so on behind them; a size may be a share of memory in per cent. `huge=never`,
//! `inode32`, `inode64` and `noswap` ask for what is so anyway. Any other `huge=`, and `mpol=`, are refused as by a
//! Linux without huge pages and without nodes of memory.

use abi::Errno;
use mm::PAGE_SIZE;

use super::TmpfsOptions;

impl TmpfsOptions {
    /// Reads options; `EINVAL` for what is unknown or wrong.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Errno> {
        Self::default().with(text)
    }

    /// These options, changed by those in a text.
    pub(super) fn with(mut self, text: &[u8]) -> Result<Self, Errno> {
        for option in text.split(|byte| *byte == b',').filter(|option| !option.is_empty()) {
            let (key, value) = match option.iter().position(|byte| *byte == b'=') {
                Some(at) => (&option[..at], Some(&option[at + 1..])),
                None => (option, None),
            };
            self.set(key, value)?;
        }
        Ok(self)
    }

    fn set(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
        let text = value.ok_or(Errno::EINVAL);
        let number = || text.and_then(parse_scaled);
        let id = || number().and_then(|number| u32::try_from(number).map_err(|_| Errno::EINVAL));
        match (key, value) {
            (b"size", _) => self.size_max = Some(parse_size(text?)?),
            (b"nr_blocks", _) => {
                self.size_max = Some(number()?.checked_mul(PAGE_SIZE as u64).ok_or(Errno::EINVAL)?);
            }
            (b"nr_inodes", _) => self.inodes_max = Some(number()?),
            (b"mode", _) => {
                let digits = core::str::from_utf8(text?).map_err(|_| Errno::EINVAL)?;
                self.mode = u32::from_str_radix(digits, 8).map_err(|_| Errno::EINVAL)? & 0o7777;
            }
            (b"uid", _) => self.uid = id()?,
            (b"gid", _) => self.gid = id()?,
            (b"huge", Some(b"never")) | (b"inode32" | b"inode64" | b"noswap", None) => {}
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }
}

/// Bytes, or a share of memory.
fn parse_size(text: &[u8]) -> Result<u64, Errno> {
    match text.strip_suffix(b"%") {
        Some(share) => {
            let share = parse_scaled(share)?;
            let pages = mm::frame::total().checked_mul(share).ok_or(Errno::EINVAL)? / 100;
            pages.checked_mul(PAGE_SIZE as u64).ok_or(Errno::EINVAL)
        }
        None => parse_scaled(text),
    }
}

/// A number with a unit behind it.
fn parse_scaled(text: &[u8]) -> Result<u64, Errno> {
    let (digits, shift) = match text.split_last() {
        Some((unit, digits)) => match unit.to_ascii_lowercase() {
            b'k' => (digits, 10),
            b'm' => (digits, 20),
            b'g' => (digits, 30),
            b't' => (digits, 40),
            b'p' => (digits, 50),
            _ => (text, 0),
        },
        None => return Err(Errno::EINVAL),
    };
    let (digits, radix) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (rest, 16),
        [b'0', rest @ ..] if !rest.is_empty() => (rest, 8),
        _ => (digits, 10),
    };
    let digits = core::str::from_utf8(digits).map_err(|_| Errno::EINVAL)?;
    if digits.starts_with('+') {
        return Err(Errno::EINVAL);
    }
    let number = u64::from_str_radix(digits, radix).map_err(|_| Errno::EINVAL)?;
    number.checked_mul(1 << shift).ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_by_linux() {
        let options = TmpfsOptions::parse(b"size=1m,nr_inodes=1k,mode=0750,uid=7,gid=010,,huge=never").expect("valid");
        assert_eq!((options.size_max, options.inodes_max), (Some(1 << 20), Some(1024)));
        assert_eq!((options.mode, options.uid, options.gid), (0o750, 7, 8));
        assert_eq!(TmpfsOptions::parse(b"nr_blocks=0x10").expect("valid").size_max, Some(16 * 4096));
        assert_eq!(TmpfsOptions::parse(b"").expect("valid").mode, 0o1777);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for text in [
            "size",
            "size=",
            "size=x",
            "size=1kk",
            "mode=9",
            "uid=-1",
            "color=red",
            "huge=always",
            "mpol=local",
            "size=+1",
        ] {
            assert_eq!(TmpfsOptions::parse(text.as_bytes()).err(), Some(Errno::EINVAL), "{text}");
        }
    }
}
