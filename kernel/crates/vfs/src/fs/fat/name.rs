//! Names: what a program says, what the entries of a directory hold, and the short name that stands beside a long one.
//!
//! # 1. Two names
//!
//! Every file has a short name of 8 and 3 bytes in capitals. One whose name is not of that form has a long one as well, in UTF-16, in
//! entries before that of the short one; they carry a checksum of it, so that a long name whose file was removed by somebody who
//! knows no long names is not taken for that of the next.
//!
//! # 2. Which names are the same
//!
//! Letters of ASCII in small or capital are the same, and dots at the end do not count. Other letters differ by case, as in Linux with
//! `utf8`: folding them would take tables larger than this file system.
//!
//! # 3. What cannot be a name
//!
//! What `vfat` of Linux refuses: control characters, `"*/:<>?\|`, invalid UTF-8, more than 255 units of UTF-16. A name on the disk
//! that a program could not use (with `/`, or longer than 255 bytes in UTF-8) is shown by its short name.
//!
//! # 4. Short names
//!
//! A name that is a short one but for the case keeps it. From any other the letters that may be in one are taken, six at most, with `~1`
//! to `~4` behind them; then two letters, four digits of a hash of the name, and `~1`, as Windows does it. So few names collide, and a
//! handful of candidates is looked for in one reading of the directory.

use alloc::string::String;
use alloc::vec::Vec;

use abi::Errno;

use crate::NAME_LEN_MAX;

/// The most units of a long name.
pub(super) const UNITS_MAX: usize = 255;
/// Numbers behind the first candidates for a short name.
const NUMBERED: u32 = 4;
/// The candidates for a short name that are looked for in one reading.
pub(super) const CANDIDATES: u32 = 12;
/// Bits of the entry that say that the name, or its extension, is shown in small letters.
pub(super) const SMALL_BASE: u8 = 0x08;
pub(super) const SMALL_EXTENSION: u8 = 0x10;

/// The upper half of code page 437.
const UPPER_HALF: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// A short name as it is stored: eight bytes and three, filled with blanks.
pub(super) type Short = [u8; 11];

/// A name without the dots at its end.
pub(super) fn trimmed(name: &[u8]) -> &[u8] {
    let len = name.iter().rposition(|byte| *byte != b'.').map_or(0, |last| last + 1);
    name.get(..len).unwrap_or_default()
}

/// Whether two names are the same, neither with dots at the end.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// The units of a name that is to be made, without dots at its end. `EINVAL` for what cannot be one.
pub(super) fn units(name: &[u8]) -> Result<Vec<u16>, Errno> {
    let text = core::str::from_utf8(trimmed(name)).map_err(|_| Errno::EINVAL)?;
    let is_bad = |letter: char| letter < ' ' || "\"*/:<>?\\|".contains(letter);
    if text.is_empty() || text.chars().any(is_bad) || text.ends_with(' ') {
        return Err(Errno::EINVAL);
    }
    let units: Vec<u16> = text.encode_utf16().collect();
    if units.len() > UNITS_MAX { Err(Errno::ENAMETOOLONG) } else { Ok(units) }
}

/// The name that units mean; None for one that no program can use.
pub(super) fn text_of_units(units: &[u16]) -> Option<Vec<u8>> {
    let decoded = char::decode_utf16(units.iter().copied()).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
    usable(decoded.collect::<String>().into_bytes())
}

/// A name, if a program can use it.
fn usable(name: Vec<u8>) -> Option<Vec<u8>> {
    let is_wrong = name.is_empty()
        || name.len() > NAME_LEN_MAX
        || matches!(&*name, b"." | b"..")
        || name.iter().any(|byte| matches!(byte, 0 | b'/'));
    (!is_wrong).then_some(name)
}

/// How a short name is shown; None for one that no program can use.
pub(super) fn text_of_short(short: &Short, small: u8) -> Option<Vec<u8>> {
    let mut text = String::new();
    let mut part = |bytes: &[u8], is_small: bool, first: bool| {
        let len = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
        if !first && len > 0 {
            text.push('.');
        }
        for (index, byte) in bytes.iter().take(len).enumerate() {
            // The first byte of a removed entry has a meaning; where the name has it, another stands for it.
            let byte = if first && index == 0 && *byte == 0x05 { 0xe5 } else { *byte };
            let letter = match byte.checked_sub(0x80) {
                Some(upper) => UPPER_HALF.chars().nth(usize::from(upper)).unwrap_or('_'),
                None if is_small => char::from(byte.to_ascii_lowercase()),
                None => char::from(byte),
            };
            text.push(letter);
        }
    };
    let (base, extension) = short.split_at(8);
    part(base, small & SMALL_BASE != 0, true);
    part(extension, small & SMALL_EXTENSION != 0, false);
    usable(text.into_bytes())
}

/// The checksum of a short name that the entries of its long one carry.
pub(super) fn checksum(short: &Short) -> u8 {
    short.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// Whether a byte may be in a short name, as it is.
fn is_short_letter(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"$%'-_@~`!(){}^#&".contains(&byte)
}

/// Fills a part of a short name; whether all of it went in as it is.
fn fill(part: &mut [u8], text: impl Iterator<Item = u8>) -> (usize, bool) {
    let (mut len, mut is_whole) = (0, true);
    for byte in text {
        if matches!(byte, b' ' | b'.') {
            is_whole = false;
            continue;
        }
        let Some(slot) = part.get_mut(len) else { return (len, false) };
        let upper = byte.to_ascii_uppercase();
        let is_letter = is_short_letter(upper);
        *slot = if is_letter { upper } else { b'_' };
        is_whole &= is_letter;
        len += 1;
    }
    (len, is_whole)
}

/// The short names that a file with this name may get.
pub(super) struct ShortNames {
    basis: Short,
    base_len: usize,
    /// The basis says all of the name but the case of letters.
    is_whole: bool,
    /// The basis is the name.
    is_exact: bool,
    hash: u32,
}

impl ShortNames {
    /// Those for a name without dots at its end.
    pub(super) fn of(name: &[u8]) -> Self {
        let lead = name.iter().position(|byte| *byte != b'.').unwrap_or(0);
        let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > lead);
        let (base, extension) = match dot {
            Some(dot) => (&name[..dot], &name[dot + 1..]),
            None => (name, &[][..]),
        };
        let mut basis = [b' '; 11];
        // Each letter beyond ASCII counts once.
        let letters = |text: &'_ [u8]| text.iter().copied().filter(|byte| byte & 0xc0 != 0x80).collect::<Vec<u8>>();
        let (base_part, extension_part) = basis.split_at_mut(8);
        let (base_len, base_is_whole) = fill(base_part, letters(base).into_iter());
        let (_, extension_is_whole) = fill(extension_part, letters(extension).into_iter());
        let is_whole = base_is_whole && extension_is_whole && base_len > 0 && lead == 0;
        let has_small = name.iter().any(u8::is_ascii_lowercase);
        let hash = name.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
        });
        Self { basis, base_len, is_whole, is_exact: is_whole && !has_small, hash }
    }

    /// Whether the short name is all there is to say.
    pub(super) fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// The candidate with this number, in the order in which they are wanted. A whole name has itself first.
    pub(super) fn candidate(&self, number: u32) -> Short {
        if self.is_whole && number == 0 {
            return self.basis;
        }
        let number = if self.is_whole { number } else { number + 1 };
        let mut short = self.basis;
        let mut tail = Vec::new();
        let kept = if number <= NUMBERED {
            self.base_len.min(6)
        } else {
            let digits = self.hash.wrapping_add(number - NUMBERED) & 0xffff;
            tail.extend((0..4).rev().filter_map(|place| char::from_digit(digits >> (place * 4) & 0xf, 16)));
            self.base_len.min(2)
        };
        let digit = if number <= NUMBERED { number } else { 1 };
        tail.push('~');
        tail.extend(char::from_digit(digit, 10));
        let (base, _) = short.split_at_mut(8);
        if let Some(rest) = base.get_mut(kept..) {
            rest.fill(b' ');
            for (slot, letter) in rest.iter_mut().zip(tail) {
                *slot = u8::try_from(letter.to_ascii_uppercase()).unwrap_or(b'_');
            }
        }
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(name: &str) -> Vec<String> {
        let names = ShortNames::of(name.as_bytes());
        (0..6).map(|number| String::from_utf8(names.candidate(number).to_vec()).expect("ASCII")).collect()
    }

    #[test]
    fn short_names_are_made_as_elsewhere() {
        assert!(ShortNames::of(b"README.TXT").is_exact());
        assert!(!ShortNames::of(b"readme.txt").is_exact());
        assert_eq!(candidates("readme.txt")[..2], ["README  TXT", "README~1TXT"]);
        assert_eq!(candidates("long name.text")[..2], ["LONGNA~1TEX", "LONGNA~2TEX"]);
        assert_eq!(candidates(".profile")[0], "PROFIL~1   ");
        assert_eq!(candidates("a.b.c")[0], "AB~1    C  ");
        assert_eq!(candidates("été+1")[0], "_T__1~1    ");
        assert!(candidates("long name.text")[4].starts_with("LO"));
        assert_eq!(&candidates("long name.text")[4][6..8], "~1");
        assert_eq!(candidates("......x")[0], "X~1        ");
    }

    #[test]
    fn short_names_are_shown() {
        assert_eq!(text_of_short(b"README  TXT", 0).as_deref(), Some(&b"README.TXT"[..]));
        assert_eq!(text_of_short(b"README  TXT", SMALL_BASE | SMALL_EXTENSION).as_deref(), Some(&b"readme.txt"[..]));
        assert_eq!(text_of_short(b"\x05\x80         ", 0).as_deref(), Some("σÇ".as_bytes()));
        assert_eq!(text_of_short(b"A/B        ", 0), None);
        assert_eq!(text_of_short(b"           ", 0), None);
    }

    #[test]
    fn what_cannot_be_a_name() {
        for name in ["", "...", "a:b", "a?", "\u{1}", "x "] {
            assert_eq!(units(name.as_bytes()), Err(Errno::EINVAL), "{name}");
        }
        assert_eq!(units(b"\xff"), Err(Errno::EINVAL));
        assert_eq!(units("ü".repeat(256).as_bytes()), Err(Errno::ENAMETOOLONG));
        assert_eq!(units(b"a..").map(|units| units.len()), Ok(1));
        assert_eq!(text_of_units(&[0xd800]), Some("\u{fffd}".as_bytes().to_vec()));
        assert_eq!(text_of_units(&[b'a'.into(), b'/'.into()]), None);
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        // Of the entry for "The quick brown.fox" in Microsoft's description of long names.
        assert_eq!(checksum(b"THEQUI~1FOX"), 0x07);
    }

    #[test]
    fn the_code_page_is_whole() {
        assert_eq!(UPPER_HALF.chars().count(), 128);
    }
}
