//! Boots an image in QEMU so that it behaves like the program in it.
//!
//! The program's standard streams are virtio-serial ports, each connected by a socket to a thread here that copies
//! bytes to or from the caller's descriptor ([`relay`]). So any kind of descriptor works, QEMU changes none of the
//! caller's, a port closes when its reader goes away, and end of file arrives after the last byte. A fourth port carries
//! records ([`control`]): the exit status comes from them and from nothing else.
//!
//! The main thread waits for events only; it owns QEMU, which dies with it ([`emulator`]).

pub mod accelerator;
pub mod control;
pub mod disk;
pub mod emulator;
mod events;
pub mod mount;
pub mod network;
mod observer;
pub mod relay;
pub mod settings;
pub mod share;
mod terminal;
pub mod vsock;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::kernel_file::{self, ImageMemory};
use crate::{Failure, Result, disk_root};
use control::{Outcome, Record};
use emulator::{Emulator, Ports};
use events::Event;
use observer::Observer;
use relay::{Activity, Relays};
use settings::Settings;
use terminal::{RawMode, TerminalSize};

/// The status when the program's own is not known.
pub const STATUS_UNKNOWN: u8 = 125;
/// The status after `TIMEOUT` seconds.
const STATUS_TIMED_OUT: u8 = 124;
/// The status when the user insisted.
const STATUS_KILLED: u8 = 137;
/// A machine that is still there so long after the program's end, with nothing left to print, is switched off.
const POWER_OFF_GRACE: Duration = Duration::from_secs(5);
/// So many requests to end are passed on to the program; the next one ends the machine.
const TERMINATIONS_PASSED_ON: u32 = 2;
/// What the kernel needs beside image and program: the first MiB, where its tables, heap and stacks are, less what it
/// leaves free there.
const KERNEL_MEMORY: u64 = 1000 << 10;

/// Boots the image and returns the status to exit with.
///
/// # Errors
/// What keeps the machine from starting.
pub fn run(settings: &Settings) -> Result<u8> {
    let settings = &check_image(settings)?;
    disk::check(&settings.disks)?;
    share::check(&settings.shares)?;
    vsock::check(settings.vsock.as_ref())?;
    let accelerator = accelerator::choose(settings)?;
    let (ports, host) = Ports::new(settings.observes())?;
    let observer = Observer::start(settings, host.observer)?;
    let (sender, events) = channel();
    // From here on no signal ends this process, so the terminal is always restored.
    events::watch_signals(&sender)?;
    watch_control(&host.control, &sender)?;
    let mut emulator = Emulator::start(settings, accelerator, TerminalSize::current(), ports)?;
    let raw_mode = Arc::new(RawMode::enter());
    let activity = Arc::new(Activity::default());
    let relays = Relays::start(host.streams, &raw_mode, &activity).inspect_err(|_| raw_mode.leave())?;
    let session = Session { settings, control: host.control, activity, raw_mode: &raw_mode };
    let outcome = session.wait(&mut emulator, &events);
    let complaint = emulator.wait();
    // Whatever the program wrote before its end still has to reach the caller.
    relays.finish();
    raw_mode.leave();
    if let Some(message) = observer.and_then(Observer::finish) {
        session.say(&message);
    }
    Ok(session.report(outcome, &complaint))
}

/// Refuses what cannot boot, before it is tried; answers the settings with what the image itself asks for, the disk of its root.
fn check_image(settings: &Settings) -> Result<Settings> {
    let path = &settings.image;
    let named = |failure: Failure| Failure::new(format!("{}: {failure}", path.display()));
    let mut file = File::open(path).map_err(|error| Failure::io(path, &error))?;
    let ImageMemory { loaded, end, program, root_kind } = kernel_file::read_memory(&mut file).map_err(named)?;
    let needed = loaded.saturating_add(program).saturating_add(KERNEL_MEMORY).max(end);
    if settings.memory < needed {
        let needed_mib = needed.div_ceil(1 << 20);
        let given_mib = settings.memory >> 20;
        return Err(named(Failure::new(format!("needs MEM={needed_mib}M at least, and has {given_mib}M"))));
    }
    let mut settings = settings.clone();
    if !root_kind.is_empty() {
        settings.root_disk = Some(settings.disks.len());
        settings.disks.push(disk::DiskFile { path: disk_root::path_of(path), is_read_only: false });
    }
    Ok(settings)
}

/// Turns what the kernel says on the control port into events.
fn watch_control(control: &UnixStream, sender: &Sender<Event>) -> Result<()> {
    let stream = control.try_clone().map_err(|error| Failure::new(format!("the control port: {error}")))?;
    let sender = sender.clone();
    std::thread::spawn(move || {
        control::read_records(stream, |record| sender.send(Event::Record(record)).is_ok());
        // Nobody listens any more only if the main thread has ended.
        let _ = sender.send(Event::ControlClosed);
    });
    Ok(())
}

/// How the wait for the machine ended.
struct Ending {
    outcome: Option<Outcome>,
    forced: Option<Forced>,
}

/// Why the machine was switched off from here.
#[derive(Clone, Copy)]
enum Forced {
    TimedOut,
    Killed,
}

struct Session<'a> {
    settings: &'a Settings,
    control: UnixStream,
    activity: Arc<Activity>,
    raw_mode: &'a RawMode,
}

impl Session<'_> {
    /// Passes signals to the program and waits until QEMU is gone or has to go.
    fn wait(&self, emulator: &mut Emulator, events: &Receiver<Event>) -> Ending {
        let deadline = self.settings.timeout.map(|timeout| Instant::now() + timeout);
        let mut ending = Ending { outcome: None, forced: None };
        let mut terminations = 0;
        loop {
            match self.next_event(events, deadline, ending.outcome.is_some()) {
                Wait::Event(Event::Record(record)) => self.note(record, &mut ending.outcome),
                Wait::Event(Event::ControlClosed) => return ending,
                Wait::Event(Event::Terminate) if terminations < TERMINATIONS_PASSED_ON => {
                    terminations += 1;
                    self.send(&format!("signal {}\n", Signal::TERM.as_raw()));
                }
                Wait::Event(Event::Terminate) => {
                    ending.forced = Some(Forced::Killed);
                    break;
                }
                Wait::Event(Event::Signal(number)) => self.send(&format!("signal {number}\n")),
                Wait::Event(Event::Resized) => {
                    if let Some(TerminalSize { rows, columns }) = TerminalSize::current() {
                        self.send(&format!("winsize {rows} {columns}\n"));
                    }
                }
                Wait::TimedOut => {
                    ending.forced = Some(Forced::TimedOut);
                    break;
                }
                Wait::Quiet => break,
            }
        }
        emulator.kill();
        ending
    }

    /// Waits for an event, for the time-out, or, once the program has ended, for the machine to be of no more use.
    fn next_event(&self, events: &Receiver<Event>, deadline: Option<Instant>, has_ended: bool) -> Wait {
        loop {
            let until_deadline = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let seen = self.activity.count();
            let wait = match (until_deadline, has_ended) {
                (Some(left), true) => left.min(POWER_OFF_GRACE),
                (Some(left), false) => left,
                (None, true) => POWER_OFF_GRACE,
                (None, false) => Duration::MAX,
            };
            match events.recv_timeout(wait) {
                Ok(event) => return Wait::Event(event),
                Err(RecvTimeoutError::Disconnected) => return Wait::Event(Event::ControlClosed),
                Err(RecvTimeoutError::Timeout) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return Wait::TimedOut;
                }
                Err(RecvTimeoutError::Timeout) if has_ended && self.activity.is_quiet_since(seen) => {
                    return Wait::Quiet;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn note(&self, record: Record, outcome: &mut Option<Outcome>) {
        match record {
            Record::Ended(ended) => *outcome = Some(ended),
            Record::Error(message) => {
                self.say(&message);
                outcome.get_or_insert(Outcome::Error);
            }
        }
    }

    /// Says something to the kernel. It may be gone already, and then it does not matter.
    fn send(&self, line: &str) {
        let _ = rustix::net::send(self.control.as_fd(), line.as_bytes(), rustix::net::SendFlags::NOSIGNAL);
    }

    /// Says something to the user.
    fn say(&self, message: &str) {
        let end = if self.raw_mode.is_active() { "\r\n" } else { "\n" };
        eprint!("nacre: {message}{end}");
    }

    /// The status to exit with, after telling the user what he could not know otherwise.
    fn report(&self, ending: Ending, complaint: &str) -> u8 {
        if let Some(forced) = ending.forced
            && ending.outcome.is_none()
        {
            return match forced {
                Forced::TimedOut => {
                    let seconds = self.settings.timeout.unwrap_or_default().as_secs_f64();
                    self.say(&format!("time-out after {seconds} s"));
                    STATUS_TIMED_OUT
                }
                Forced::Killed => {
                    self.say("killed");
                    STATUS_KILLED
                }
            };
        }
        match ending.outcome {
            Some(Outcome::Exited(status)) => status,
            Some(Outcome::Signalled(signal)) => 128_u8.saturating_add(signal),
            Some(Outcome::Error) => STATUS_UNKNOWN,
            Some(Outcome::Panicked) => {
                self.say("kernel died");
                STATUS_UNKNOWN
            }
            None => {
                if complaint.is_empty() {
                    self.say("kernel died");
                } else {
                    self.say(complaint);
                }
                STATUS_UNKNOWN
            }
        }
    }
}

enum Wait {
    Event(Event),
    TimedOut,
    Quiet,
}
