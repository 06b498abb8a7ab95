//! [`Scenario`]: a program on a file system.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use testkit::disk::Image;

use crate::cut::Cuts;
use crate::judge::Judge;
use crate::machine::{Layout, Machine};
use crate::recording::Recording;

/// How many cuts are looked at side by side.
const JUDGES: usize = 2;
/// How often a long run says how far it is, in points.
const PROGRESS_EVERY: usize = 250;

/// A program on a file system.
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether the program is `commits`, and not `appends`.
    pub(crate) uses_sqlite: bool,
    /// How often it makes a promise.
    pub(crate) count: &'static str,
    /// The last argument of the program.
    pub(crate) variant: &'static str,
    /// What mke2fs is told.
    pub(crate) format: &'static [&'static str],
}

/// All of them.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "appends",
        uses_sqlite: false,
        count: "300",
        variant: "1",
        format: &["-t", "ext4", "-b", "1024", "-J", "size=1"],
    },
    Scenario {
        name: "appends-ext3",
        uses_sqlite: false,
        count: "200",
        variant: "2",
        format: &["-t", "ext3", "-b", "4096", "-J", "size=4"],
    },
    Scenario {
        name: "sqlite-delete",
        uses_sqlite: true,
        count: "250",
        variant: "delete",
        format: &["-t", "ext4", "-b", "4096", "-J", "size=4"],
    },
    Scenario {
        name: "sqlite-wal",
        uses_sqlite: true,
        count: "250",
        variant: "wal",
        format: &["-t", "ext4", "-b", "4096", "-J", "size=4"],
    },
];

impl Scenario {
    /// Runs the program, and cuts the power at so many points.
    ///
    /// # Errors
    /// Says what was lost, and at which point.
    pub(crate) fn run(&self, points: usize, seed: u64) -> Result<(), String> {
        let machine = Machine::new(self)?;
        let layout = Layout::default();
        eprintln!("{}: the machine runs", self.name);
        let before = machine.format()?;
        let recorded = machine.record()?;
        let recording = Recording::parse(&recorded)?;
        let cuts = Cuts::new(&recording, &layout, points, seed);
        let promised = cuts.promised_at(recording.steps.len());
        if promised.to_string() != self.count {
            return Err(format!("the recording ends with promise {promised} of {}", self.count));
        }
        eprintln!("{}: {} writes and flushes, {} points", self.name, recording.steps.len(), cuts.points().len());
        judge_all(self, &machine, &recording, &cuts, &Image::from_bytes(&before))?;
        machine.remove();
        Ok(())
    }
}

/// Judges every cut, several at once.
fn judge_all(
    scenario: &Scenario,
    machine: &Machine,
    recording: &Recording,
    cuts: &Cuts,
    before: &Image,
) -> Result<(), String> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    thread::scope(|scope| {
        for worker in 0..JUDGES {
            let (next, failure) = (&next, &failure);
            let folder = machine.folder(&format!("judge{worker}"));
            scope.spawn(move || {
                while let Some(point) = cuts.points().get(next.fetch_add(1, Relaxed)) {
                    if failure.lock().is_ok_and(|failure| failure.is_some()) {
                        break;
                    }
                    let disk = cuts.disk(recording, before, *point);
                    let judged = judge_one(machine, &folder, &disk, cuts.promised_at(point.steps));
                    if let Err(text) = judged
                        && let Ok(mut failure) = failure.lock()
                    {
                        let kept = keep(machine, &disk, point.steps);
                        *failure = Some(format!("cut after {} of the steps: {text}{kept}", point.steps));
                    }
                    let number = next.load(Relaxed);
                    if number.is_multiple_of(PROGRESS_EVERY) {
                        eprintln!("{}: {number} of {} points", scenario.name, cuts.points().len());
                    }
                }
            });
        }
    });
    failure.into_inner().ok().flatten().map_or(Ok(()), Err)
}

fn judge_one(machine: &Machine, folder: &Path, disk: &Image, promised: u32) -> Result<(), String> {
    let judge = Judge { program: &machine.program, folder, promised };
    let partition = Layout::default().file_system_of(disk);
    judge.by_linux(&partition).map_err(|text| format!("by Linux's tools: {text}"))?;
    judge.by_nacre(&partition).map_err(|text| format!("by Nacre: {text}"))
}

/// Leaves the disk that was judged spoilt for somebody to look at.
fn keep(machine: &Machine, disk: &Image, steps: usize) -> String {
    let path = machine.work.join(format!("cut-{steps}.img"));
    let bytes = Layout::default().file_system_of(disk);
    match fs::write(&path, bytes) {
        Ok(()) => format!("\n  the partition is {}", path.display()),
        Err(_) => String::new(),
    }
}
