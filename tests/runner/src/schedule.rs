//! Runs tests side by side and keeps the score.

use std::collections::VecDeque;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Why a test did not pass, in full.
pub(crate) type Failure = String;

/// One test.
pub(crate) struct Test {
    name: String,
    run: Box<dyn FnOnce() -> Result<Verdict, Failure> + Send>,
}

/// What a test that did not fail says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is well.
    Passed,
    /// This machine cannot run it, for this reason.
    Skipped(String),
}

impl Test {
    pub(crate) fn new(
        name: impl Into<String>,
        run: impl FnOnce() -> Result<Verdict, Failure> + Send + 'static,
    ) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }

    /// A test that cannot be skipped.
    pub(crate) fn plain(name: impl Into<String>, run: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> Self {
        Self::new(name, || run().map(|()| Verdict::Passed))
    }
}

/// Which tests the user wants.
#[derive(Debug)]
pub(crate) struct Selection {
    only: String,
}

impl Selection {
    pub(crate) fn from_environment() -> Self {
        Self { only: std::env::var("ONLY").unwrap_or_default() }
    }

    /// Whether a stage of cargo's tests is wanted.
    pub(crate) fn wants_stage(&self, stage: &str) -> bool {
        self.only.is_empty() || self.only.starts_with(stage)
    }

    /// Whether any test in a stage may be wanted, as far as its name goes.
    pub(crate) fn may_want(&self, stage: &str) -> bool {
        match self.only.split_once('/') {
            Some((asked, _)) => asked == stage,
            None => !self.is_cargo_only(),
        }
    }

    /// What is behind the stage's name.
    pub(crate) fn within(&self, stage: &str) -> Option<&str> {
        self.only.strip_prefix(stage)?.strip_prefix('/')
    }

    pub(crate) fn needs_machine(&self) -> bool {
        !self.is_cargo_only()
    }

    fn is_cargo_only(&self) -> bool {
        let stage = self.only.split('/').next().unwrap_or_default();
        matches!(stage, "check" | "host" | "loom")
    }

    fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }
}

/// The score.
#[derive(Debug)]
pub(crate) struct Report {
    start: Instant,
    passed: usize,
    skipped: usize,
    failures: Vec<(String, Failure)>,
}

impl Report {
    /// Begins a score of nothing, at this moment.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), passed: 0, skipped: 0, failures: Vec::new() }
    }

    /// Runs one stage and says how long it took, if it did anything.
    pub(crate) fn stage(&mut self, name: &str, run: impl FnOnce(&mut Self)) {
        let start = Instant::now();
        run(self);
        say_time(name, start);
    }

    /// Notes the result of a test and tells the user.
    pub(crate) fn note(&mut self, name: &str, result: Result<Verdict, Failure>, time: Duration) {
        let seconds = time.as_secs_f64();
        match result {
            Ok(Verdict::Passed) => {
                self.passed += 1;
                say(&format!("ok     {name} ({seconds:.2} s)"));
            }
            Ok(Verdict::Skipped(reason)) => {
                self.skipped += 1;
                say(&format!("skip   {name}: {reason}"));
            }
            Err(failure) => {
                say(&format!("FAILED {name} ({seconds:.2} s)\n{}", indented(&failure)));
                self.failures.push((name.to_owned(), failure));
            }
        }
    }

    /// Notes tests that somebody else has run and reported.
    pub(crate) fn add(&mut self, passed: usize, skipped: usize) {
        self.passed += passed;
        self.skipped += skipped;
    }

    /// Notes a failure.
    pub(crate) fn fail(&mut self, name: &str, failure: &str) {
        self.note(name, Err(failure.to_owned()), Duration::ZERO);
    }

    /// Says how it went.
    pub(crate) fn finish(self) -> ExitCode {
        if !self.failures.is_empty() {
            say("\nFailed:");
            for (name, failure) in &self.failures {
                say(&format!("  {name}: {}", failure.lines().next().unwrap_or_default()));
            }
        }
        say_time("\nall", self.start);
        let skipped = if self.skipped > 0 { format!(", {} skipped", self.skipped) } else { String::new() };
        say(&format!("{} passed, {} failed{skipped}", self.passed, self.failures.len()));
        if self.failures.is_empty() && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Runs the selected tests, as many at a time as there are processors.
pub(crate) fn run(tests: Vec<Test>, selection: &Selection, report: &mut Report) {
    let wanted: VecDeque<_> = tests.into_iter().filter(|test| selection.wants(&test.name)).collect();
    let queue = Mutex::new(wanted);
    let report = Mutex::new(report);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(Test { name, run }) = take(&queue) {
                    let start = Instant::now();
                    let result = run();
                    report.lock().unwrap_or_else(std::sync::PoisonError::into_inner).note(
                        &name,
                        result,
                        start.elapsed(),
                    );
                }
            });
        }
    });
}

fn take(queue: &Mutex<VecDeque<Test>>) -> Option<Test> {
    queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front()
}

/// Prints at once, whatever standard output is.
pub(crate) fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    // If nobody reads, nobody misses it.
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

fn say_time(what: &str, start: Instant) {
    let seconds = start.elapsed().as_secs();
    if seconds > 0 {
        say(&format!("{what}: {} min {} s", seconds / 60, seconds % 60));
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect::<String>().trim_end().to_owned()
}
