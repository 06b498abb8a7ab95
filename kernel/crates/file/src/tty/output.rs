//! What a terminal does to bytes on their way out (`OPOST`), and the column it keeps count of.

use alloc::vec::Vec;

use abi::Termios;
use abi::tty::{IUTF8, OCRNL, OLCUC, ONLCR, ONLRET, ONOCR, OPOST, TABDLY, XTABS};

use super::termios::{TermiosFlags, is_control, to_upper};

/// The most bytes one byte becomes: a tab as spaces.
pub(crate) const EXPANSION_MAX: usize = 8;

/// Where the cursor is, as far as the line discipline knows.
#[derive(Clone, Copy, Default)]
pub(crate) struct Output {
    pub(crate) column: usize,
    /// The column of the first byte of the line being edited.
    pub(crate) canon_column: usize,
}

impl Output {
    /// Appends what the terminal is sent for `byte`.
    pub(crate) fn put(&mut self, byte: u8, termios: &Termios, out: &mut Vec<u8>) {
        if !termios.output(OPOST) {
            out.push(byte);
            return;
        }
        let mut byte = byte;
        match byte {
            b'\n' => {
                if termios.output(ONLRET) {
                    self.column = 0;
                }
                if termios.output(ONLCR) {
                    self.column = 0;
                    out.push(b'\r');
                }
                self.canon_column = self.column;
            }
            b'\r' => {
                if termios.output(ONOCR) && self.column == 0 {
                    return;
                }
                if !termios.output(OCRNL) {
                    self.column = 0;
                    self.canon_column = 0;
                } else {
                    byte = b'\n';
                    if termios.output(ONLRET) {
                        self.column = 0;
                        self.canon_column = 0;
                    }
                }
            }
            b'\t' => {
                let spaces = 8 - self.column % 8;
                self.column += spaces;
                if termios.c_oflag & TABDLY == XTABS {
                    out.extend_from_slice(&[b' '; EXPANSION_MAX][..spaces]);
                    return;
                }
            }
            0x08 => self.column = self.column.saturating_sub(1),
            _ if is_control(byte) => {}
            _ => {
                if termios.output(OLCUC) {
                    byte = to_upper(byte);
                }
                if !is_continuation(byte, termios) {
                    self.column += 1;
                }
            }
        }
        out.push(byte);
    }
}

/// Whether `byte` continues a character of several bytes, where the terminal knows of such.
pub(crate) fn is_continuation(byte: u8, termios: &Termios) -> bool {
    termios.input(IUTF8) && byte & 0xc0 == 0x80
}
