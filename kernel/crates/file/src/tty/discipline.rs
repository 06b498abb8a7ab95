//! [`LineDiscipline`]: what Linux's `n_tty` makes of the bytes of a terminal, as a pure state machine.
//!
//! Input bytes go in by [`LineDiscipline::receive`]. They are translated, edit the current line, raise signals (reported in
//! [`Effects`]), are echoed (the echo is collected for [`LineDiscipline::take_echo`]) and queue up for
//! [`LineDiscipline::read`]. Output bytes go through [`LineDiscipline::process_output`].
//!
//! # The input queue
//!
//! A ring of [`INPUT_LEN_MAX`] bytes with three counters that only grow: `tail <= canon <= head`. In canonical mode a program
//! reads `tail..canon`, whole lines only, and `canon..head` is the line being edited. Bytes that end a line have a bit in
//! `line_ends`; end of file is such a byte with the value 0, which readers never see. In the other mode all of `tail..head` can
//! be read.
//!
//! A line may have 4095 bytes; after that each further byte takes the place of the last one, so that the end of the line still
//! gets in.

mod editing;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use abi::tty::{
    ECHO, EXTPROC, ICANON, ICRNL, IEXTEN, IGNCR, INLCR, ISIG, ISTRIP, IUCLC, IXANY, IXON, NOFLSH, PARMRK, VEOF, VEOL,
    VEOL2, VERASE, VINTR, VKILL, VLNEXT, VMIN, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP, VTIME, VWERASE,
};
use abi::{Signal, Termios};

use super::output::{EXPANSION_MAX, Output};
use super::termios::{DISABLED, TermiosFlags, default_termios, to_lower};

/// Bytes of the input queue.
pub const INPUT_LEN_MAX: usize = 4096;
/// Echo that waits for the output is cut off here.
const ECHO_LEN_MAX: usize = 4096;
const WORD_BITS: usize = u64::BITS as usize;
/// What [`Termios`] counts time-outs in.
const TENTH_NS: u64 = 100_000_000;
const BACKSPACE: u8 = 0x08;

/// What received bytes bring about besides input and echo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Raise `SIGINT` in the foreground group.
    pub interrupt: bool,
    /// Raise `SIGQUIT`.
    pub quit: bool,
    /// Raise `SIGTSTP`.
    pub suspend: bool,
    /// Output that was stopped goes on.
    pub has_started: bool,
    /// A reader may find something now.
    pub has_input: bool,
}

impl Effects {
    /// The signals to raise.
    pub fn signals(&self) -> impl Iterator<Item = Signal> + use<> {
        let all = [(self.interrupt, Signal::SIGINT), (self.quit, Signal::SIGQUIT), (self.suspend, Signal::SIGTSTP)];
        all.into_iter().filter_map(|(is_raised, signal)| is_raised.then_some(signal))
    }
}

/// How far a read came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nothing to read yet.
    Nothing,
    /// So many bytes, and the read is over: a line's end was met (0 is end of file), or there is no more.
    Done(usize),
    /// So many bytes filled the buffer and the same line goes on; a caller with more room asks again.
    More(usize),
}

/// The state of one terminal between its device and its readers and writers.
pub struct LineDiscipline {
    termios: Termios,
    /// Bytes that need more than to be queued and echoed.
    special: [bool; 256],
    buffer: Box<[u8; INPUT_LEN_MAX]>,
    line_ends: [u64; INPUT_LEN_MAX / WORD_BITS],
    tail: usize,
    canon: usize,
    head: usize,
    /// The next byte is taken literally (after `^V`).
    is_literal_next: bool,
    /// Erased bytes are being shown between `\` and `/`.
    is_erasing: bool,
    /// Canonical mode began with bytes queued, which became a line without an end.
    is_pushed: bool,
    /// Output is stopped (`^S`).
    is_stopped: bool,
    output: Output,
    echo: Vec<u8>,
    /// Where the cursor was before the echo that is still to be sent.
    output_before_echo: Output,
}

impl Default for LineDiscipline {
    fn default() -> Self {
        Self::new()
    }
}

impl LineDiscipline {
    /// A terminal as Linux sets up a new one.
    #[must_use]
    pub fn new() -> Self {
        let mut discipline = Self {
            termios: default_termios(),
            special: [false; 256],
            buffer: Box::new([0; INPUT_LEN_MAX]),
            line_ends: [0; INPUT_LEN_MAX / WORD_BITS],
            tail: 0,
            canon: 0,
            head: 0,
            is_literal_next: false,
            is_erasing: false,
            is_pushed: false,
            is_stopped: false,
            output: Output::default(),
            output_before_echo: Output::default(),
            echo: Vec::with_capacity(ECHO_LEN_MAX + EXPANSION_MAX),
        };
        discipline.find_special();
        discipline
    }

    // ---- Settings ---------------------------------------------------------------------------------------------------

    /// The settings.
    #[must_use]
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings. Answers whether output that was stopped goes on, and whether readers may find something now.
    pub fn set_termios(&mut self, termios: Termios) -> Effects {
        let old = mem::replace(&mut self.termios, termios);
        if (old.c_lflag ^ termios.c_lflag) & (ICANON | EXTPROC) != 0 {
            self.line_ends = [0; INPUT_LEN_MAX / WORD_BITS];
            if termios.local(ICANON) && self.head != self.tail {
                self.set_line_end(self.head - 1, true);
                self.canon = self.head;
                self.is_pushed = true;
            } else {
                self.canon = self.tail;
                self.is_pushed = false;
            }
            self.is_erasing = false;
            self.is_literal_next = false;
        }
        self.find_special();
        let has_started = !termios.input(IXON) && old.input(IXON) && mem::take(&mut self.is_stopped);
        Effects { has_started, has_input: true, ..Effects::default() }
    }

    fn find_special(&mut self) {
        let termios = self.termios;
        self.special = [false; 256];
        let mut mark = |byte: u8| self.special[usize::from(byte)] = true;
        let mut mark_slots = |slots: &[usize]| slots.iter().for_each(|slot| mark(termios.character(*slot)));
        if termios.local(ICANON) {
            mark_slots(&[VERASE, VKILL, VEOF, VEOL]);
            if termios.local(IEXTEN) {
                mark_slots(&[VWERASE, VLNEXT, VEOL2]);
                if termios.local(ECHO) {
                    mark_slots(&[VREPRINT]);
                }
            }
        }
        if termios.input(IXON) {
            mark_slots(&[VSTART, VSTOP]);
        }
        if termios.local(ISIG) {
            mark_slots(&[VINTR, VQUIT, VSUSP]);
        }
        if termios.input(IGNCR | ICRNL) {
            mark(b'\r');
        }
        if termios.input(INLCR) || termios.local(ICANON) {
            mark(b'\n');
        }
        self.special[usize::from(DISABLED)] = false;
    }

    /// Whether lines are edited and read whole.
    fn is_canonical(&self) -> bool {
        self.termios.local(ICANON)
    }

    /// Whether lines can be read; with `EXTPROC` the other side edits them.
    fn is_canonical_read(&self) -> bool {
        self.is_canonical() && !self.termios.local(EXTPROC)
    }

    /// Whether the output is stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Stops the output (`TCOOFF`) or lets it go on (`TCOON`).
    pub fn set_stopped(&mut self, is_stopped: bool) {
        self.is_stopped = is_stopped;
    }

    // ---- The queue --------------------------------------------------------------------------------------------------

    fn byte_at(&self, position: usize) -> u8 {
        self.buffer[position % INPUT_LEN_MAX]
    }

    fn is_line_end(&self, position: usize) -> bool {
        let index = position % INPUT_LEN_MAX;
        self.line_ends[index / WORD_BITS] & (1 << (index % WORD_BITS)) != 0
    }

    fn set_line_end(&mut self, position: usize, value: bool) {
        let index = position % INPUT_LEN_MAX;
        let bit = 1 << (index % WORD_BITS);
        let word = &mut self.line_ends[index / WORD_BITS];
        if value { *word |= bit } else { *word &= !bit }
    }

    fn queue(&mut self, byte: u8) {
        self.buffer[self.head % INPUT_LEN_MAX] = byte;
        self.head += 1;
    }

    /// Forgets all input, as a signal character and `TCIFLUSH` do.
    pub fn flush_input(&mut self) {
        self.tail = 0;
        self.canon = 0;
        self.head = 0;
        self.is_erasing = false;
        self.is_pushed = false;
        self.line_ends = [0; INPUT_LEN_MAX / WORD_BITS];
    }

    /// How many more bytes [`LineDiscipline::receive`] would take now. What it would not take stays with the device.
    #[must_use]
    pub fn room(&self) -> usize {
        let free = INPUT_LEN_MAX - (self.head - self.tail);
        let needed_each = if self.termios.input(PARMRK) { 3 } else { 1 };
        match free.div_ceil(needed_each).saturating_sub(1) {
            // A line that is too long goes on in place, or it would never end.
            0 if self.is_canonical() && self.canon == self.tail => 1,
            room => room,
        }
    }

    /// Takes one byte from the device. The caller has asked for [`LineDiscipline::room`].
    pub fn receive(&mut self, byte: u8, effects: &mut Effects) {
        let free = INPUT_LEN_MAX - (self.head - self.tail);
        if free == 0 {
            if !(self.is_canonical() && self.canon == self.tail) {
                debug_assert!(false, "the caller asks for room first");
                return;
            }
            self.head -= 1;
        }
        if self.echo.is_empty() {
            self.output_before_echo = self.output;
        }
        self.process(byte, effects);
        effects.has_input |= !self.is_canonical_read() && self.head != self.tail;
    }

    fn process(&mut self, byte: u8, effects: &mut Effects) {
        let mut byte = byte;
        if self.termios.input(ISTRIP) {
            byte &= 0x7f;
        }
        if self.termios.input(IUCLC) && self.termios.local(IEXTEN) {
            byte = to_lower(byte);
        }
        if self.termios.local(EXTPROC) {
            self.queue(byte);
        } else if mem::take(&mut self.is_literal_next) {
            self.take_plain(byte, effects);
        } else if self.special[usize::from(byte)] {
            self.take_special(byte, effects);
        } else {
            self.take_plain(byte, effects);
        }
    }

    /// Lets stopped output go on.
    fn start(&mut self, effects: &mut Effects) {
        effects.has_started |= mem::take(&mut self.is_stopped);
    }

    /// With `IXANY` any byte lets the output go on.
    fn start_by_any(&mut self, effects: &mut Effects) {
        if self.termios.input(IXON) && self.termios.input(IXANY) {
            self.start(effects);
        }
    }

    fn take_plain(&mut self, byte: u8, effects: &mut Effects) {
        self.start_by_any(effects);
        if self.termios.local(ECHO) {
            self.finish_erasing();
            self.note_line_column();
            self.echo_shown(byte);
        }
        self.queue_marked(byte);
    }

    fn take_special(&mut self, byte: u8, effects: &mut Effects) {
        let termios = self.termios;
        if termios.input(IXON) {
            if byte == termios.character(VSTART) {
                return self.start(effects);
            }
            if byte == termios.character(VSTOP) {
                self.is_stopped = true;
                return;
            }
        }
        if termios.local(ISIG) {
            let is = |slot: usize| byte == termios.character(slot);
            let raised = match () {
                () if is(VINTR) => Some(&mut effects.interrupt),
                () if is(VQUIT) => Some(&mut effects.quit),
                () if is(VSUSP) => Some(&mut effects.suspend),
                () => None,
            };
            if let Some(raised) = raised {
                *raised = true;
                return self.take_signal_character(byte, effects);
            }
        }
        self.start_by_any(effects);
        let mut byte = byte;
        if byte == b'\r' {
            if termios.input(IGNCR) {
                return;
            }
            if termios.input(ICRNL) {
                byte = b'\n';
            }
        } else if byte == b'\n' && termios.input(INLCR) {
            byte = b'\r';
        }
        if self.is_canonical() && self.edit(byte, effects) {
            return;
        }
        if termios.local(ECHO) {
            self.finish_erasing();
            if byte == b'\n' {
                self.echo_raw(b'\n');
            } else {
                self.note_line_column();
                self.echo_shown(byte);
            }
        }
        self.queue_marked(byte);
    }

    fn take_signal_character(&mut self, byte: u8, effects: &mut Effects) {
        if !self.termios.local(NOFLSH) {
            if !self.echo.is_empty() {
                self.echo.clear();
                self.output = self.output_before_echo;
            }
            self.flush_input();
        }
        if self.termios.input(IXON) {
            self.start(effects);
        }
        if self.termios.local(ECHO) {
            self.echo_shown(byte);
        }
    }

    /// Queues a byte, doubled where `PARMRK` wants it.
    fn queue_marked(&mut self, byte: u8) {
        if byte == 0xff && self.termios.input(PARMRK) {
            self.queue(byte);
        }
        self.queue(byte);
    }

    /// The echo to send, unless the output is stopped. The caller removes what it sent.
    pub fn echo(&mut self) -> &mut Vec<u8> {
        &mut self.echo
    }

    // ---- Output -----------------------------------------------------------------------------------------------------

    /// Appends what the terminal is sent for bytes a program writes, while `out` stays within its capacity. Answers how many
    /// bytes were taken.
    pub fn process_output(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let mut taken = 0;
        for byte in bytes {
            if out.capacity() - out.len() < EXPANSION_MAX {
                break;
            }
            self.output.put(*byte, &self.termios, out);
            taken += 1;
        }
        taken
    }

    // ---- Reading ----------------------------------------------------------------------------------------------------

    /// The least a read in non-canonical mode waits for, at most `len` bytes.
    fn bytes_wanted(&self, len: usize) -> usize {
        usize::from(self.termios.character(VMIN)).max(1).min(len)
    }

    /// Whether `poll` says that there is something to read.
    #[must_use]
    pub fn has_input(&self) -> bool {
        if self.is_canonical_read() {
            return self.canon != self.tail;
        }
        let is_timed = self.termios.character(VTIME) != 0;
        let wanted = if is_timed { 1 } else { self.bytes_wanted(usize::MAX) };
        self.head - self.tail >= wanted
    }

    /// What `FIONREAD` says.
    #[must_use]
    pub fn input_len(&self) -> usize {
        if !self.is_canonical_read() {
            return self.head - self.tail;
        }
        let is_shown = |position: &usize| !(self.is_line_end(*position) && self.byte_at(*position) == DISABLED);
        (self.tail..self.canon).filter(is_shown).count()
    }

    /// With `VTIME`, how long a read that found [`Taken::Nothing`] waits for the next byte, from when it asked; `u64::MAX`
    /// while it waits for the first byte without a limit. None without `VTIME`.
    #[must_use]
    pub fn read_timeout_ns(&self) -> Option<u64> {
        let time_ns = u64::from(self.termios.character(VTIME)) * TENTH_NS;
        if self.is_canonical_read() || time_ns == 0 {
            return None;
        }
        let waits_for_first = self.termios.character(VMIN) > 0 && self.head == self.tail;
        Some(if waits_for_first { u64::MAX } else { time_ns })
    }

    /// Reads into `bytes`, the start of a buffer with room for `room` bytes in all. `is_final` says that the caller will not
    /// wait: what is there is all there is (`O_NONBLOCK`, or the time is up).
    pub fn read(&mut self, bytes: &mut [u8], room: usize, is_final: bool) -> Taken {
        if bytes.is_empty() {
            return Taken::Done(0);
        }
        if self.is_canonical_read() {
            return self.read_line(bytes);
        }
        let available = self.head - self.tail;
        if available == 0 {
            let never_waits = self.termios.character(VMIN) == 0 && self.termios.character(VTIME) == 0;
            return if never_waits { Taken::Done(0) } else { Taken::Nothing };
        }
        if available < self.bytes_wanted(room) && !is_final {
            return Taken::Nothing;
        }
        let len = available.min(bytes.len());
        self.copy_out(&mut bytes[..len]);
        if len == bytes.len() && len < available { Taken::More(len) } else { Taken::Done(len) }
    }

    fn copy_out(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.byte_at(self.tail);
            self.tail += 1;
        }
    }

    fn read_line(&mut self, bytes: &mut [u8]) -> Taken {
        if self.canon == self.tail {
            return Taken::Nothing;
        }
        let end = self.canon.min(self.tail + bytes.len());
        let Some(line_end) = (self.tail..end).find(|position| self.is_line_end(*position)) else {
            let len = end - self.tail;
            self.copy_out(&mut bytes[..len]);
            return if self.tail == self.canon { Taken::Done(len) } else { Taken::More(len) };
        };
        self.set_line_end(line_end, false);
        let is_end_of_file = self.byte_at(line_end) == DISABLED;
        let len = line_end - self.tail + usize::from(!is_end_of_file);
        self.copy_out(&mut bytes[..len]);
        self.tail = line_end + 1;
        self.is_pushed = false;
        Taken::Done(len)
    }

    /// Called when a read ended with [`Taken::More`] because the program's buffer is full: an end of file that comes right
    /// behind it belongs to this read, not to the next.
    pub fn skip_end_of_file(&mut self) {
        if self.is_canonical_read()
            && self.tail != self.canon
            && self.is_line_end(self.tail)
            && self.byte_at(self.tail) == DISABLED
        {
            self.set_line_end(self.tail, false);
            self.tail += 1;
        }
    }
}
