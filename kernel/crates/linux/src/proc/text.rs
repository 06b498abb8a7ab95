//! Writing text into bytes.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use abi::Errno;
use vfs::Credentials;

/// Bytes that can be written to like a string; writing never fails.
#[derive(Default)]
pub(super) struct Text(Vec<u8>);

impl Text {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Appends formatted text: `text.put(format_args!(..))`.
    pub(super) fn put(&mut self, arguments: fmt::Arguments<'_>) {
        // The vector takes everything, and the formats of numbers and strings do not fail.
        let _ = self.write_fmt(arguments);
    }

    /// Appends formatted text and a newline.
    pub(super) fn line(&mut self, arguments: fmt::Arguments<'_>) {
        self.put(arguments);
        self.0.push(b'\n');
    }

    /// Appends bytes that need be no text.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends bytes, those in `escaped` as `\` and three octal digits.
    pub(super) fn escaped(&mut self, bytes: &[u8], escaped: &[u8]) {
        for byte in bytes {
            if escaped.contains(byte) {
                self.put(format_args!("\\{byte:03o}"));
            } else {
                self.0.push(*byte);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Text with a newline.
pub(super) fn line(text: impl fmt::Display) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

/// What was written to a setting, as a number: blanks around it are no part of it.
pub(super) fn parse_setting<T: core::str::FromStr>(text: &[u8]) -> Result<T, Errno> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    core::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).ok_or(Errno::EINVAL)
}

/// A number as decimal digits.
pub(super) fn number(number: u32) -> Vec<u8> {
    format!("{number}").into_bytes()
}

/// Where `/proc/thread-self` leads.
pub(super) fn thread_path(credentials: &Credentials) -> Vec<u8> {
    format!("{}/task/{}", credentials.process, credentials.thread).into_bytes()
}

/// Digits as a number: no sign, no leading zero.
pub(super) fn parse_number(name: &[u8]) -> Option<u32> {
    let is_canonical = name == b"0" || (name.first().is_some_and(|digit| *digit != b'0'));
    let is_digits = name.iter().all(u8::is_ascii_digit);
    if !is_canonical || !is_digits {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}

/// A text field up to its first zero.
pub(super) fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Numbers below `count` as a list of ranges, as in `0-3`, with a newline.
pub(super) fn range_list(count: u32) -> Vec<u8> {
    match count {
        0 => line(""),
        1 => line("0"),
        count => line(format_args!("0-{}", count - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_canonical() {
        assert_eq!(parse_number(b"12"), Some(12));
        assert_eq!(parse_number(b"0"), Some(0));
        for not_a_number in [&b""[..], b"012", b"+1", b"1a", b"99999999999"] {
            assert_eq!(parse_number(not_a_number), None);
        }
    }

    #[test]
    fn escapes_are_octal() {
        let mut text = Text::new();
        text.escaped(b"a b\\c\n", b" \\\n");
        assert_eq!(text.into_bytes(), b"a\\040b\\134c\\012");
    }
}
