//! Questions to a [`Termios`], in words.

use abi::Termios;
use abi::tty::{
    B38400, CREAD, CS8, ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ICANON, ICRNL, IEXTEN, ISIG, IXON, NCCS, ONLCR, OPOST,
    VDISCARD, VEOF, VERASE, VINTR, VKILL, VLNEXT, VMIN, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP, VWERASE,
};

/// A control character slot that holds this stands for no character (`_POSIX_VDISABLE`).
pub(crate) const DISABLED: u8 = 0;

/// What Linux gives a new terminal.
pub(crate) fn default_termios() -> Termios {
    const fn control(letter: u8) -> u8 {
        letter & 0x1f
    }
    let mut characters = [DISABLED; NCCS];
    characters[VINTR] = control(b'C');
    characters[VQUIT] = control(b'\\');
    characters[VERASE] = 0x7f;
    characters[VKILL] = control(b'U');
    characters[VEOF] = control(b'D');
    characters[VMIN] = 1;
    characters[VSTART] = control(b'Q');
    characters[VSTOP] = control(b'S');
    characters[VSUSP] = control(b'Z');
    characters[VREPRINT] = control(b'R');
    characters[VDISCARD] = control(b'O');
    characters[VWERASE] = control(b'W');
    characters[VLNEXT] = control(b'V');
    Termios {
        c_iflag: ICRNL | IXON,
        c_oflag: OPOST | ONLCR,
        c_cflag: B38400 | CS8 | CREAD,
        c_lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        c_line: 0,
        c_cc: characters,
    }
}

/// Short names for the flags, as the line discipline asks for them.
pub(crate) trait TermiosFlags {
    /// Whether the input flag is set.
    fn input(&self, flag: u32) -> bool;
    /// Whether the output flag is set.
    fn output(&self, flag: u32) -> bool;
    /// Whether the local flag is set.
    fn local(&self, flag: u32) -> bool;
    /// The control character of the slot.
    fn character(&self, slot: usize) -> u8;
}

impl TermiosFlags for Termios {
    fn input(&self, flag: u32) -> bool {
        self.c_iflag & flag != 0
    }

    fn output(&self, flag: u32) -> bool {
        self.c_oflag & flag != 0
    }

    fn local(&self, flag: u32) -> bool {
        self.c_lflag & flag != 0
    }

    fn character(&self, slot: usize) -> u8 {
        self.c_cc.get(slot).copied().unwrap_or(DISABLED)
    }
}

/// Linux's `iscntrl`, which does not count the upper controls of Latin-1.
pub(crate) fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Linux's `isalnum`, Latin-1 letters included.
pub(crate) fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}

/// Linux's `tolower`.
pub(crate) fn to_lower(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde => byte + 0x20,
        _ => byte,
    }
}

/// Linux's `toupper`.
pub(crate) fn to_upper(byte: u8) -> u8 {
    match byte {
        // The sharp s and the y with two dots count as lower case too.
        b'a'..=b'z' | 0xdf..=0xf6 | 0xf8..=0xff => byte - 0x20,
        _ => byte,
    }
}
