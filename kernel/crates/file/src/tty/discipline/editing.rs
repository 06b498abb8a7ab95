//! Editing of the current line, and its echo.
//!
//! The column the cursor is in is kept along with the echo, so that an erased tab goes back as far as it went forth.

use core::mem;

use abi::tty::{
    ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHONL, ECHOPRT, IEXTEN, PARMRK, VEOF, VEOL, VEOL2, VERASE, VKILL, VLNEXT,
    VREPRINT, VWERASE,
};

use super::{BACKSPACE, ECHO_LEN_MAX, Effects, LineDiscipline};
use crate::tty::output::is_continuation;
use crate::tty::termios::{DISABLED, TermiosFlags, is_alphanumeric, is_control};

impl LineDiscipline {
    // ---- Editing ----------------------------------------------------------------------------------------------------

    /// Does what an editing character does; false when `byte` is none.
    pub(super) fn edit(&mut self, byte: u8, effects: &mut Effects) -> bool {
        let termios = self.termios;
        let is_extended = termios.local(IEXTEN);
        let is = |slot: usize| byte == termios.character(slot);
        if is(VERASE) || is(VKILL) || (is(VWERASE) && is_extended) {
            self.erase(byte);
        } else if is(VLNEXT) && is_extended {
            self.is_literal_next = true;
            if termios.local(ECHO) {
                self.finish_erasing();
                if termios.local(ECHOCTL) {
                    self.echo_raw(b'^');
                    self.echo_raw(BACKSPACE);
                }
            }
        } else if is(VREPRINT) && termios.local(ECHO) && is_extended {
            self.finish_erasing();
            self.echo_shown(byte);
            self.echo_raw(b'\n');
            for position in self.canon..self.head {
                self.echo_shown(self.byte_at(position));
            }
        } else if byte == b'\n' {
            if termios.local(ECHO | ECHONL) {
                self.echo_raw(b'\n');
            }
            self.end_line(byte, effects);
        } else if is(VEOF) {
            self.end_line(DISABLED, effects);
        } else if is(VEOL) || (is(VEOL2) && is_extended) {
            if termios.local(ECHO) {
                self.note_line_column();
                self.echo_shown(byte);
            }
            if byte == 0xff && termios.input(PARMRK) {
                self.queue(byte);
            }
            self.end_line(byte, effects);
        } else {
            return false;
        }
        true
    }

    fn end_line(&mut self, byte: u8, effects: &mut Effects) {
        self.set_line_end(self.head, true);
        self.queue(byte);
        self.canon = self.head;
        effects.has_input = true;
    }

    /// Erases a character, a word or the line, and shows it.
    fn erase(&mut self, byte: u8) {
        let termios = self.termios;
        if self.head == self.canon {
            return;
        }
        let is_one = byte == termios.character(VERASE);
        let is_word = !is_one && byte == termios.character(VWERASE);
        if !is_one && !is_word && !self.shows_each_killed_byte() {
            self.head = self.canon;
            if termios.local(ECHO) {
                self.finish_erasing();
                self.echo_shown(termios.character(VKILL));
                if termios.local(ECHOK) {
                    self.echo_raw(b'\n');
                }
            }
            return;
        }
        let mut has_seen_word = false;
        while self.head != self.canon {
            let mut start = self.head - 1;
            while is_continuation(self.byte_at(start), &termios) && start != self.canon {
                start -= 1;
            }
            let first = self.byte_at(start);
            if is_continuation(first, &termios) {
                break;
            }
            if is_word {
                if is_alphanumeric(first) || first == b'_' {
                    has_seen_word = true;
                } else if has_seen_word {
                    break;
                }
            }
            let end = mem::replace(&mut self.head, start);
            if termios.local(ECHO) {
                self.show_erased(start, end, is_one);
            }
            if is_one {
                break;
            }
        }
        if self.head == self.canon && termios.local(ECHO) {
            self.finish_erasing();
        }
    }

    /// Whether killing a line rubs its bytes out one by one.
    fn shows_each_killed_byte(&self) -> bool {
        [ECHO, ECHOK, ECHOKE, ECHOE].into_iter().all(|flag| self.termios.local(flag))
    }

    /// Echoes that the character at `start..end` was erased.
    fn show_erased(&mut self, start: usize, end: usize, is_one: bool) {
        let termios = self.termios;
        let byte = self.byte_at(start);
        if termios.local(ECHOPRT) {
            if !mem::replace(&mut self.is_erasing, true) {
                self.echo_raw(b'\\');
            }
            self.echo_shown(byte);
            for position in start + 1..end {
                self.echo_raw(self.byte_at(position));
                self.output.column = self.output.column.saturating_sub(1);
            }
        } else if is_one && !termios.local(ECHOE) {
            self.echo_shown(termios.character(VERASE));
        } else if byte == b'\t' {
            self.show_erased_tab();
        } else {
            let width = match (is_control(byte), termios.local(ECHOCTL)) {
                (true, true) => 2,
                (true, false) => 0,
                (false, _) => 1,
            };
            for _ in 0..width {
                self.echo_raw(BACKSPACE);
                self.echo_raw(b' ');
                self.echo_raw(BACKSPACE);
            }
        }
    }

    /// Goes back over a tab: to the column after what stands before it, which counts from the tab before that or from the
    /// column where the line began.
    fn show_erased_tab(&mut self) {
        let mut columns = 0;
        let mut is_after_tab = false;
        for position in (self.canon..self.head).rev() {
            match self.byte_at(position) {
                b'\t' => {
                    is_after_tab = true;
                    break;
                }
                byte if is_control(byte) => columns += if self.termios.local(ECHOCTL) { 2 } else { 0 },
                byte if is_continuation(byte, &self.termios) => {}
                _ => columns += 1,
            }
        }
        if !is_after_tab {
            columns += self.output.canon_column;
        }
        for _ in 0..8 - columns % 8 {
            self.push_echo(BACKSPACE);
            self.output.column = self.output.column.saturating_sub(1);
        }
    }

    /// Closes the display of erased bytes.
    pub(super) fn finish_erasing(&mut self) {
        if mem::take(&mut self.is_erasing) {
            self.echo_raw(b'/');
        }
    }

    // ---- Echo -------------------------------------------------------------------------------------------------------

    /// Remembers the column of the first byte of a line.
    pub(super) fn note_line_column(&mut self) {
        if self.canon == self.head {
            self.output.canon_column = self.output.column;
        }
    }

    fn has_echo_room(&self) -> bool {
        // What nobody can see is not kept: the output has been stopped for very long.
        self.echo.len() < ECHO_LEN_MAX
    }

    /// Echoes a byte past output processing.
    fn push_echo(&mut self, byte: u8) {
        if self.has_echo_room() {
            self.echo.push(byte);
        }
    }

    /// Echoes a byte as it is.
    pub(super) fn echo_raw(&mut self, byte: u8) {
        // Linux uses this value for marks in its echo buffer, and so it misses output processing.
        if byte == 0xff {
            self.push_echo(byte);
            self.output.column += 1;
        } else if self.has_echo_room() {
            self.output.put(byte, &self.termios, &mut self.echo);
        }
    }

    /// Echoes a byte, a control character as `^X`.
    pub(super) fn echo_shown(&mut self, byte: u8) {
        if self.termios.local(ECHOCTL) && is_control(byte) && byte != b'\t' {
            self.push_echo(b'^');
            self.push_echo(byte ^ 0x40);
            self.output.column += 2;
        } else {
            self.echo_raw(byte);
        }
    }
}
