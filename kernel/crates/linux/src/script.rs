//! The first line of a script: `#!interpreter argument`.
//!
//! As in Linux, only the first [`HEAD_LEN`] bytes of the file count, everything between the interpreter and the end of the line
//! is one argument, and an interpreter that may be cut off is none.

use abi::Errno;

/// The bytes of a file that say how it is executed.
pub(crate) const HEAD_LEN: usize = 256;
/// The most scripts that may be each other's interpreters.
pub(crate) const SCRIPTS_MAX: usize = 5;

/// What a script's first line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line<'a> {
    pub interpreter: &'a [u8],
    pub argument: Option<&'a [u8]>,
}

fn is_blank(byte: &u8) -> bool {
    matches!(*byte, b' ' | b'\t')
}

/// What ends the name of the interpreter.
fn is_terminator(byte: &u8) -> bool {
    is_blank(byte) || *byte == 0
}

fn without_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// Reads the first line of a file, of which `head` is the beginning, with zeroes after the end of a short one. None: it is
/// no script. `ENOEXEC`: it names no interpreter.
pub(crate) fn read_line(head: &[u8; HEAD_LEN]) -> Result<Option<Line<'_>>, Errno> {
    let Some(text) = head.strip_prefix(b"#!") else { return Ok(None) };
    let line = match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => text.get(..end).unwrap_or_default(),
        None => {
            // The last byte is not looked at: without a line's end the name has to end before it.
            let text = text.get(..text.len() - 1).unwrap_or_default();
            let name = text.iter().position(|byte| !is_blank(byte)).ok_or(Errno::ENOEXEC)?;
            text.iter().skip(name).position(is_terminator).ok_or(Errno::ENOEXEC)?;
            text
        }
    };
    let line = without_blanks(line);
    let (interpreter, rest) = line.split_at(line.iter().position(is_terminator).unwrap_or(line.len()));
    if interpreter.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    // A zero ends everything.
    let rest = if rest.first() == Some(&0) { &[][..] } else { rest };
    let rest = without_blanks(rest).split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Some(Line { interpreter, argument: (!rest.is_empty()).then_some(rest) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &[u8]) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[..text.len()].copy_from_slice(text);
        head
    }

    fn check(text: &[u8], interpreter: &[u8], argument: Option<&[u8]>) {
        assert_eq!(read_line(&head(text)), Ok(Some(Line { interpreter, argument })), "{}", text.escape_ascii());
    }

    #[test]
    fn lines_are_read_as_on_linux() {
        check(b"#!/bin/sh\necho", b"/bin/sh", None);
        check(b"#! \t/bin/sh \t\n", b"/bin/sh", None);
        check(b"#!/usr/bin/env -S  a b \nx", b"/usr/bin/env", Some(b"-S  a b"));
        check(b"#!/bin/sh", b"/bin/sh", None);
        check(b"#!/bin/sh -e", b"/bin/sh", Some(b"-e"));
        check(b"#!/bin/sh\0-e\n", b"/bin/sh", None);
    }

    #[test]
    fn some_lines_name_nothing() {
        assert_eq!(read_line(&head(b"\x7fELF")), Ok(None));
        assert_eq!(read_line(&head(b"#!\n/bin/sh")), Err(Errno::ENOEXEC));
        assert_eq!(read_line(&head(b"#!  \t\n")), Err(Errno::ENOEXEC));
        let mut cut = [b'a'; HEAD_LEN];
        cut[..2].copy_from_slice(b"#!");
        assert_eq!(read_line(&cut), Err(Errno::ENOEXEC));
        cut = [b' '; HEAD_LEN];
        cut[..2].copy_from_slice(b"#!");
        assert_eq!(read_line(&cut), Err(Errno::ENOEXEC));
    }
}
