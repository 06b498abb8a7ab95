//! Terminals: [`LineDiscipline`], and [`TtyFile`], which puts it between the ports of the machine and a program.
//!
//! The machine calls [`TtyFile::service`] whenever something happened on a port of the terminal, from an interrupt or from a
//! thread: it moves input through the line discipline and output to the device, so that `^C` works while nobody reads.
//!
//! Locks: the state is under an interrupt-safe spinlock of rank [`rank::TERMINALS`], held for a chunk at a time and never
//! across a copy from or to program memory. Writers take turns under a sleeping lock of rank [`rank::TERMINAL`], so that the
//! bytes of two of them do not mix within a call. Signals and wakes are sent after the spinlock is dropped.
//!
//! Job control (may this group read?) is a question of processes and asked by the layer above, which finds the foreground
//! group and session here.

mod discipline;
mod output;
mod termios;

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::stat::{S_IFCHR, make_device};
use abi::tty::{TCIFLUSH, TCIOFF, TCIOFLUSH, TCION, TCOFLUSH, TCOOFF, TCOON};
use abi::{Errno, PollEvents, Signal, Termios, Termios2, Winsize, ioctl};
use mm::user::{UserReader, UserWriter, read_user_struct, write_user_struct};
use sync::{IrqSpinLock, Mutex, WaitQueue, rank};

pub use discipline::{Effects, INPUT_LEN_MAX, LineDiscipline, Taken};

use crate::{Attributes, File, IoResult, OpenFile, Port, Progress};

/// Bytes moved under one hold of the lock.
const CHUNK_LEN: usize = 256;
/// Processed output that waits for the device.
const OUTPUT_LEN_MAX: usize = 4096;

/// Receives the signals a terminal raises, possibly from an interrupt: it takes no sleeping lock.
pub trait SignalSink: Send + Sync {
    /// Sends `signal` to the process group `group`, or to the session's leader when the terminal has no foreground group.
    fn raise(&self, group: Option<i32>, signal: Signal);
}

/// What the spinlock protects.
struct State {
    discipline: LineDiscipline,
    /// Processed output that the device has not taken yet; never beyond its capacity.
    pending: Vec<u8>,
    window: Winsize,
    foreground: Option<i32>,
    session: Option<i32>,
    /// Input is stopped by `TCIOFF`: nothing is taken from the device.
    is_input_stopped: bool,
}

/// A terminal.
pub struct TtyFile {
    input: Arc<dyn Port>,
    output: Arc<dyn Port>,
    state: IrqSpinLock<State>,
    /// The bytes of the writer whose turn it is.
    staging: Mutex<Vec<u8>>,
    queue: WaitQueue,
    sink: Arc<dyn SignalSink>,
    attributes: Attributes,
}

/// Which part of a read remains to be done.
enum Turn {
    Again(usize),
    Over(usize),
    Nothing,
}

impl TtyFile {
    /// A terminal that reads from one port and writes to another (or the same). `number` is the device's major and minor.
    pub fn new(
        input: Arc<dyn Port>,
        output: Arc<dyn Port>,
        sink: Arc<dyn SignalSink>,
        window: Winsize,
        number: (u32, u32),
    ) -> Arc<Self> {
        let (major, minor) = number;
        let represents = make_device(major, minor);
        let state = State {
            discipline: LineDiscipline::new(),
            pending: Vec::with_capacity(OUTPUT_LEN_MAX),
            window,
            foreground: None,
            session: None,
            is_input_stopped: false,
        };
        Arc::new(Self {
            input,
            output,
            state: IrqSpinLock::new(rank::TERMINALS, state),
            staging: Mutex::new(rank::TERMINAL, Vec::new()),
            queue: WaitQueue::new(),
            sink,
            attributes: Attributes {
                represents,
                block_size: 1024,
                ..Attributes::anonymous(represents, S_IFCHR | 0o620)
            },
        })
    }

    /// Moves bytes between the ports and the line discipline. The machine calls it after every event of a port.
    pub fn service(&self) {
        loop {
            let mut effects = Effects::default();
            let mut state = self.state.lock();
            let is_busy = self.take_input(&mut state, &mut effects);
            self.flush(&mut state);
            let has_room = state.pending.is_empty();
            let foreground = state.foreground;
            drop(state);
            self.apply(effects, foreground, has_room);
            if !is_busy {
                return;
            }
        }
    }

    /// Moves one chunk of input through the line discipline; true when there may be more.
    fn take_input(&self, state: &mut State, effects: &mut Effects) -> bool {
        let room = state.discipline.room().min(CHUNK_LEN);
        if room == 0 || state.is_input_stopped {
            return false;
        }
        let mut bytes = [0; CHUNK_LEN];
        let received = self.input.receive(&mut bytes[..room]);
        // The room shrinks by one byte for each, or stays at the one that a line too long rewrites.
        for byte in &bytes[..received] {
            state.discipline.receive(*byte, effects);
        }
        received > 0
    }

    /// Sends what waits for the device, as far as it takes it.
    fn flush(&self, state: &mut State) {
        if state.discipline.is_stopped() {
            return;
        }
        send(&*self.output, &mut state.pending);
        if state.pending.is_empty() {
            send(&*self.output, state.discipline.echo());
        }
    }

    /// Sends signals and wakes, outside the lock.
    fn apply(&self, effects: Effects, foreground: Option<i32>, has_room: bool) {
        for signal in effects.signals() {
            self.sink.raise(foreground, signal);
        }
        let mut events = PollEvents::empty();
        if effects.has_input || self.input.is_at_end() {
            events |= PollEvents::READABLE;
        }
        if has_room || effects.has_started {
            events |= PollEvents::WRITABLE;
        }
        if self.queue.has_waiters() && !events.is_empty() {
            self.queue.wake(events.bits());
        }
    }

    /// Sends what it can, and says whether all output has gone to the device.
    pub fn is_drained(&self) -> bool {
        let mut state = self.state.lock();
        self.flush(&mut state);
        state.pending.is_empty()
    }

    /// The process group that gets signals and may read.
    pub fn foreground_group(&self) -> Option<i32> {
        self.state.lock().foreground
    }

    /// Sets the foreground group (`TIOCSPGRP`; the caller has checked that it may).
    pub fn set_foreground_group(&self, group: Option<i32>) {
        self.state.lock().foreground = group;
    }

    /// The session whose controlling terminal this is.
    pub fn session(&self) -> Option<i32> {
        self.state.lock().session
    }

    /// Makes it the controlling terminal of a session, or of none.
    pub fn set_session(&self, session: Option<i32>) {
        self.state.lock().session = session;
    }

    /// Whether background groups are stopped when they write (`TOSTOP`).
    pub fn stops_background_output(&self) -> bool {
        self.state.lock().discipline.termios().c_lflag & abi::tty::TOSTOP != 0
    }

    /// Changes the window size and raises `SIGWINCH` if it did change.
    pub fn set_window(&self, window: Winsize) {
        let mut state = self.state.lock();
        let has_changed = state.window != window;
        state.window = window;
        let foreground = state.foreground;
        drop(state);
        if has_changed {
            self.sink.raise(foreground, Signal::SIGWINCH);
        }
    }

    fn set_termios(&self, termios: Termios, drop_input: bool) {
        let mut state = self.state.lock();
        if drop_input {
            state.discipline.flush_input();
        }
        let effects = state.discipline.set_termios(termios);
        drop(state);
        self.apply(effects, None, true);
        self.service();
    }

    /// The old settings with the part that `struct termios` has replaced by what is at `argument`.
    fn termios_at(argument: usize) -> Result<Termios, Errno> {
        read_user_struct(argument)
    }

    fn termios2_at(argument: usize) -> Result<Termios, Errno> {
        let termios: Termios2 = read_user_struct(argument)?;
        let Termios2 { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc, .. } = termios;
        Ok(Termios { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc })
    }

    fn write_termios2(&self, argument: usize) -> Result<(), Errno> {
        /// The speed of `B38400`, which every new terminal of Linux has.
        const SPEED: u32 = 38_400;
        let Termios { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc } = *self.state.lock().discipline.termios();
        let termios = Termios2 { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc, c_ispeed: SPEED, c_ospeed: SPEED };
        write_user_struct(argument, &termios)
    }

    /// `TCFLSH`.
    fn discard(&self, which: usize) -> Result<(), Errno> {
        let which = u32::try_from(which).map_err(|_| Errno::EINVAL)?;
        if !matches!(which, TCIFLUSH | TCOFLUSH | TCIOFLUSH) {
            return Err(Errno::EINVAL);
        }
        let mut state = self.state.lock();
        if which != TCOFLUSH {
            state.discipline.flush_input();
        }
        if which != TCIFLUSH {
            state.pending.clear();
        }
        drop(state);
        self.service();
        Ok(())
    }

    /// `TCXONC`.
    fn control_flow(&self, what: usize) -> Result<(), Errno> {
        let mut state = self.state.lock();
        match u32::try_from(what).map_err(|_| Errno::EINVAL)? {
            TCOOFF => state.discipline.set_stopped(true),
            TCOON => state.discipline.set_stopped(false),
            TCIOFF => state.is_input_stopped = true,
            TCION => state.is_input_stopped = false,
            _ => return Err(Errno::EINVAL),
        }
        drop(state);
        self.service();
        Ok(())
    }

    /// Takes one chunk of a read from the line discipline into `bytes`.
    fn take(&self, bytes: &mut [u8], room: usize, is_final: bool) -> Turn {
        let mut state = self.state.lock();
        match state.discipline.read(bytes, room, is_final) {
            Taken::Nothing => Turn::Nothing,
            Taken::Done(len) => Turn::Over(len),
            Taken::More(len) if len < room => Turn::Again(len),
            Taken::More(len) => {
                state.discipline.skip_end_of_file();
                Turn::Over(len)
            }
        }
    }

    fn read_input(&self, to: &mut UserWriter<'_>, is_final: bool, is_nonblocking: bool) -> IoResult {
        if to.is_full() {
            return Ok(Progress::Done(0));
        }
        // Asked before the bytes: what came before the end is not taken for the end.
        let is_at_end = self.input.is_at_end();
        self.service();
        let mut done = 0;
        loop {
            let mut bytes = [0; CHUNK_LEN];
            let room = to.remaining();
            let part = room.min(CHUNK_LEN);
            let (len, is_over) = match self.take(&mut bytes[..part], room, is_final || is_nonblocking || done > 0) {
                Turn::Nothing if done > 0 || is_at_end || (is_final && !is_nonblocking) => (0, true),
                Turn::Nothing => return Ok(Progress::WouldBlock),
                Turn::Over(len) => (len, true),
                Turn::Again(len) => (len, false),
            };
            match to.write_all(&bytes[..len]) {
                Ok(()) => done += len,
                Err(_) if done > 0 => return Ok(Progress::Done(done)),
                Err(errno) => return Err(errno),
            }
            if is_over {
                // There is room again for what the device holds back.
                self.service();
                return Ok(Progress::Done(done));
            }
        }
    }

    /// Processes staged bytes and sends them; answers how many were taken.
    fn emit(&self, bytes: &[u8]) -> usize {
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut taken = 0;
        loop {
            self.flush(state);
            if state.discipline.is_stopped() || !state.discipline.echo().is_empty() || taken == bytes.len() {
                return taken;
            }
            match state.discipline.process_output(&bytes[taken..], &mut state.pending) {
                0 => return taken,
                processed => taken += processed,
            }
        }
    }
}

/// Sends the front of `bytes` and removes it.
fn send(port: &dyn Port, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    match port.transmit(bytes) {
        sent if sent == bytes.len() => bytes.clear(),
        0 => {}
        sent => {
            bytes.drain(..sent);
        }
    }
}

impl File for TtyFile {
    fn read(&self, open: &OpenFile, to: &mut UserWriter<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        self.read_input(to, false, open.is_nonblocking())
    }

    fn waits_its_own_way(&self) -> bool {
        true
    }

    fn read_timeout_ns(&self) -> Option<u64> {
        self.state.lock().discipline.read_timeout_ns()
    }

    fn read_after_timeout(&self, _open: &OpenFile, to: &mut UserWriter<'_>) -> IoResult {
        self.read_input(to, true, false)
    }

    fn write(&self, _open: &OpenFile, from: &mut UserReader<'_>, position: Option<u64>) -> IoResult {
        if position.is_some() {
            return Err(Errno::ESPIPE);
        }
        let mut staging = self.staging.lock();
        if self.output.is_hung_up() {
            return Err(Errno::EIO);
        }
        let mut done = 0;
        while !from.is_empty() {
            let len = from.remaining().min(OUTPUT_LEN_MAX);
            if staging.len() < len {
                staging.resize(len, 0);
            }
            // The terminal may take less than was copied; the program's bytes are used up only by what it took.
            let copied = match from.clone().read(&mut staging[..len]) {
                Ok(copied) => copied,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            let taken = self.emit(&staging[..copied]);
            from.skip(taken);
            done += taken;
            if taken < copied {
                break;
            }
        }
        Ok(if done == 0 && !from.is_empty() { Progress::WouldBlock } else { Progress::Done(done) })
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn readiness(&self) -> PollEvents {
        let is_at_end = self.input.is_at_end();
        let mut events = PollEvents::empty();
        let state = self.state.lock();
        if state.discipline.has_input() {
            events |= PollEvents::READABLE;
        }
        if state.pending.is_empty() && !state.discipline.is_stopped() {
            events |= PollEvents::WRITABLE;
        }
        if is_at_end {
            events |= PollEvents::READABLE | PollEvents::HUP;
        }
        events
    }

    fn signal_queue(&self) -> Option<&WaitQueue> {
        self.wait_queue()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(self.attributes)
    }

    fn ioctl(&self, _open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        match command {
            ioctl::TCGETS => {
                let termios = *self.state.lock().discipline.termios();
                write_user_struct(argument, &termios)?;
            }
            ioctl::TCGETS2 => self.write_termios2(argument)?,
            ioctl::TCSETS | ioctl::TCSETSW => self.set_termios(Self::termios_at(argument)?, false),
            ioctl::TCSETSF => self.set_termios(Self::termios_at(argument)?, true),
            ioctl::TCSETS2 | ioctl::TCSETSW2 => self.set_termios(Self::termios2_at(argument)?, false),
            ioctl::TCSETSF2 => self.set_termios(Self::termios2_at(argument)?, true),
            ioctl::TIOCGWINSZ => {
                let window = self.state.lock().window;
                write_user_struct(argument, &window)?;
            }
            ioctl::TIOCSWINSZ => self.set_window(read_user_struct(argument)?),
            ioctl::FIONREAD => {
                let len = self.state.lock().discipline.input_len();
                write_user_struct(argument, &i32::try_from(len).unwrap_or(i32::MAX))?;
            }
            ioctl::TIOCOUTQ => {
                let len = self.state.lock().pending.len();
                write_user_struct(argument, &i32::try_from(len).unwrap_or(i32::MAX))?;
            }
            ioctl::TIOCGPGRP => {
                let group = self.state.lock().foreground.unwrap_or(0);
                write_user_struct(argument, &group)?;
            }
            ioctl::TIOCGSID => {
                let session = self.session().ok_or(Errno::ENOTTY)?;
                write_user_struct(argument, &session)?;
            }
            ioctl::TCFLSH => self.discard(argument)?,
            ioctl::TCXONC => self.control_flow(argument)?,
            ioctl::TIOCGETD => write_user_struct(argument, &0_i32)?,
            ioctl::TIOCSETD => match read_user_struct::<i32>(argument)? {
                0 => {}
                _ => return Err(Errno::EINVAL),
            },
            // Breaks and exclusive mode have no meaning on this line; output goes to the device as it is written.
            ioctl::TCSBRK | ioctl::TCSBRKP | ioctl::TIOCEXCL | ioctl::TIOCNXCL => {}
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }
}
