//! A program in the machine at a terminal: what a person types and sees.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::process::{shell_status, wait};
use crate::schedule::Failure;

/// Everything that is waited for comes within this time.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// A program at a terminal.
pub(crate) struct Session {
    child: Child,
    keyboard: File,
    /// Kept open, to look at its settings.
    terminal: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// How much of the screen has been looked at.
    seen: usize,
}

impl Session {
    /// Starts a command at a new terminal of this size.
    pub(crate) fn start(command: &mut Command, rows: u16, columns: u16) -> Result<Self, Failure> {
        let failed = |error: rustix::io::Errno| format!("the terminal: {error}");
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(failed)?;
        grantpt(&master).map_err(failed)?;
        unlockpt(&master).map_err(failed)?;
        let name = ptsname(&master, Vec::new()).map_err(failed)?;
        let path = name.to_string_lossy().into_owned();
        let open = || {
            let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap_or_default();
            let mut options = OpenOptions::new();
            std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true).write(true), flags)
                .open(&path)
                .map_err(|error| format!("{path}: {error}"))
        };
        let terminal = open()?;
        set_size(&terminal, rows, columns)?;
        command.stdin(Stdio::from(open()?)).stdout(Stdio::from(open()?)).stderr(Stdio::from(open()?));
        let child = command.process_group(0).spawn().map_err(|error| format!("the runner: {error}"))?;
        let keyboard = File::from(master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let mut display = keyboard.try_clone().map_err(|error| error.to_string())?;
        let shared = Arc::clone(&screen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(size @ 1..) = display.read(&mut buffer) {
                let text = buffer.get(..size).unwrap_or_default();
                shared.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text);
            }
        });
        Ok(Self { child, keyboard, terminal, screen, seen: 0 })
    }

    /// Types.
    pub(crate) fn type_keys(&mut self, keys: &[u8]) -> Result<(), Failure> {
        self.keyboard.write_all(keys).map_err(|error| format!("the terminal: {error}"))
    }

    /// Waits until exactly this text comes next on the screen.
    pub(crate) fn expect(&mut self, text: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
            let new = screen.get(self.seen..).unwrap_or_default();
            if new.starts_with(text.as_bytes()) {
                self.seen += text.len();
                return Ok(());
            }
            if !text.as_bytes().starts_with(new) || Instant::now() > deadline {
                return Err(format!("{text:?} was expected, on the screen is {:?}", String::from_utf8_lossy(new)));
            }
            drop(screen);
            thread::sleep(POLL);
        }
    }

    /// Gives the terminal another size, and tells the program as a terminal emulator's kernel would.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<(), Failure> {
        set_size(&self.terminal, rows, columns)?;
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let process = process.ok_or("no process")?;
        kill_process(process, Signal::WINCH).map_err(|error| error.to_string())
    }

    /// Waits for the program's end. Then the terminal must be as it was before.
    pub(crate) fn finish(mut self, expected_status: i32) -> Result<(), Failure> {
        let status = wait(&mut self.child, PATIENCE).ok_or("no end")?;
        let status = shell_status(status);
        if status != expected_status {
            return Err(format!("status {status} instead of {expected_status}"));
        }
        let settings = tcgetattr(&self.terminal).map_err(|error| error.to_string())?;
        if settings.local_modes.contains(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO) {
            Ok(())
        } else {
            Err("the terminal was left in raw mode".to_owned())
        }
    }
}

fn set_size(terminal: &File, rows: u16, columns: u16) -> Result<(), Failure> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).map_err(|error| format!("the terminal: {error}"))
}
