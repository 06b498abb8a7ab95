//! Writing text into bytes.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use abi::Errno;
use vfs::Credentials;

/// Bytes that can be written to like a string; writing never fails.
///
/// Numbers have functions of their own: the formats of `core` cost several times as much, and files of numbers are read often.
#[derive(Default)]
pub(super) struct Text(Vec<u8>);

/// The most decimal digits of a number.
const DIGITS_MAX: usize = 20;

/// Writes the digits of a number to the end of what there is, and answers how many they are.
fn write_decimal(digits: &mut [u8; DIGITS_MAX], mut number: u64) -> usize {
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        let [value, ..] = (number % 10).to_le_bytes();
        *digit = b'0' + value;
        number /= 10;
        count += 1;
        if number == 0 {
            break;
        }
    }
    count
}

impl Text {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// With room for so many bytes: growing copies.
    pub(super) fn with_room_for(len_bytes: usize) -> Self {
        Self(Vec::with_capacity(len_bytes))
    }

    /// Appends formatted text: `text.put(format_args!(..))`.
    pub(super) fn put(&mut self, arguments: fmt::Arguments<'_>) {
        // The vector takes everything, and the formats of numbers and strings do not fail.
        let _ = self.write_fmt(arguments);
    }

    /// Appends formatted text and a newline.
    pub(super) fn line(&mut self, arguments: fmt::Arguments<'_>) {
        self.put(arguments);
        self.byte(b'\n');
    }

    /// Appends one byte.
    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Appends bytes that need be no text.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends a decimal number, with blanks in front up to `width`.
    pub(super) fn decimal(&mut self, number: u64, width: usize) {
        let mut digits = [0; DIGITS_MAX];
        let count = write_decimal(&mut digits, number);
        for _ in count..width {
            self.byte(b' ');
        }
        digits[DIGITS_MAX - count..].iter().for_each(|digit| self.byte(*digit));
    }

    /// Appends a hexadecimal number of at least `width` digits, which are not more than 16.
    pub(super) fn hexadecimal(&mut self, number: u64, width: usize) {
        let count = number.checked_ilog2().unwrap_or(0) / 4 + 1;
        let count = u32::try_from(width).unwrap_or(0).max(count);
        // Room is made once for as many as are known beforehand.
        self.0.extend((0..count).rev().map(|place| {
            let [value, ..] = number.unbounded_shr(4 * place).to_le_bytes();
            b"0123456789abcdef"[usize::from(value & 15)]
        }));
    }

    /// Appends blanks.
    pub(super) fn blanks(&mut self, count: usize) {
        const SOME: [u8; 80] = [b' '; 80];
        let mut left = count;
        while left > 0 {
            let part = left.min(SOME.len());
            self.bytes(&SOME[..part]);
            left -= part;
        }
    }

    /// Appends `name:`, blanks up to `width`, and a number of KiB to the right of its column, as `meminfo` and its like have it. A line is
    /// made in its place: to append its parts one by one takes twice as long.
    pub(super) fn kib(&mut self, name: &str, width: usize, kib: u64) {
        const UNIT: &[u8; 4] = b" kB\n";
        const NUMBER_WIDTH: usize = 8;
        let mut digits = [b' '; DIGITS_MAX];
        let number_len = write_decimal(&mut digits, kib).max(NUMBER_WIDTH);
        let label_len = width.max(name.len() + 1);
        let first = self.0.len();
        self.0.resize(first + label_len + number_len + UNIT.len(), b' ');
        let (label, number) = self.0[first..].split_at_mut(label_len);
        label[..name.len()].copy_from_slice(name.as_bytes());
        label[name.len()] = b':';
        let (number, unit) = number.split_at_mut(number_len);
        for (to, digit) in number.iter_mut().rev().zip(digits.iter().rev()) {
            *to = *digit;
        }
        unit.copy_from_slice(UNIT);
    }

    /// Appends `name:` and blanks up to `width`.
    pub(super) fn label(&mut self, name: &str, width: usize) {
        self.bytes(name.as_bytes());
        self.byte(b':');
        self.blanks(width.saturating_sub(name.len() + 1));
    }

    /// Appends bytes, those in `escaped` as `\` and three octal digits.
    pub(super) fn escaped(&mut self, bytes: &[u8], escaped: &[u8]) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| escaped.contains(byte)) {
            let (plain, [byte, behind @ ..]) = rest.split_at(at) else { break };
            self.bytes(plain);
            self.put(format_args!("\\{byte:03o}"));
            rest = behind;
        }
        self.bytes(rest);
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

    fn write_char(&mut self, character: char) -> fmt::Result {
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() => {
                self.0.push(byte);
                Ok(())
            }
            _ => self.write_str(character.encode_utf8(&mut [0; 4])),
        }
    }
}

/// Text with a newline.
pub(super) fn line(text: impl fmt::Display) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

/// What was written to a setting, as a number: blanks around it are no part of it.
pub(super) fn parse_whole<T: core::str::FromStr>(text: &[u8]) -> Result<T, Errno> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    core::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).ok_or(Errno::EINVAL)
}

/// The number that what is written to a file in `/proc/sys` begins with: after blanks, in another base when it begins
/// with `0x` or `0`, and up to a blank or the end. What follows is not looked at.
pub(super) fn parse_setting<T: TryFrom<i128>>(text: &[u8]) -> Result<T, Errno> {
    let mut words = text.split(|byte| byte.is_ascii_whitespace() || *byte == 0).filter(|word| !word.is_empty());
    let word = words.next().and_then(|word| core::str::from_utf8(word).ok()).ok_or(Errno::EINVAL)?;
    let (is_negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
    let (digits, base) = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (digits, 10),
    };
    if !digits.starts_with(|first: char| first.is_ascii_hexdigit()) {
        return Err(Errno::EINVAL);
    }
    let value = u64::from_str_radix(digits, base).map(i128::from).map_err(|_| Errno::EINVAL)?;
    T::try_from(if is_negative { -value } else { value }).map_err(|_| Errno::EINVAL)
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
    fn settings_begin_with_a_number() {
        let parse = |text: &str| parse_setting::<u32>(text.as_bytes());
        let good = [("12", 12), (" 12 \n\n", 12), ("12 words", 12), ("0x10", 16), ("010", 8), ("0", 0), ("7\0 8", 7)];
        for (text, value) in good {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
        for text in ["", "\n", "x", "12x", "+1", "-1", "0x", "09", "4294967296", "99999999999999999999", "0x-1"] {
            assert_eq!(parse(text), Err(Errno::EINVAL), "{text}");
        }
        assert_eq!(parse_setting::<i32>(b"-5"), Ok(-5));
    }

    #[test]
    fn numbers_are_as_the_formats_have_them() {
        for number in [0, 9, 10, 15, 16, 255, 12_345_678, 123_456_789, u64::MAX] {
            let mut text = Text::new();
            text.decimal(number, 8);
            text.hexadecimal(number, 4);
            text.kib("Name", 16, number);
            let expected = format!("{number:8}{number:04x}{:16}{number:8} kB\n", "Name:");
            assert_eq!(text.into_bytes(), expected.as_bytes());
        }
        let mut text = Text::new();
        text.put(format_args!("{}{:?}", 'ü', "a"));
        assert_eq!(text.into_bytes(), "ü\"a\"".as_bytes());
    }

    #[test]
    fn escapes_are_octal() {
        let mut text = Text::new();
        text.escaped(b"a b\\c\n", b" \\\n");
        assert_eq!(text.into_bytes(), b"a\\040b\\134c\\012");
    }
}
