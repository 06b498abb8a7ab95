//! One run of a program on the host's Linux and one in each virtual machine, with one processor or several: the same must
//! come out of all.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use image_builder::build::complete_environment;

use crate::notation::Expected;
use crate::process::{self, Input, Output, shown};
use crate::schedule::{Failure, Test, Verdict};
use crate::tools::{Boot, Tools};

/// A program on the host gets this long.
const NATIVE_TIMEOUT: Duration = Duration::from_secs(120);

/// In which machines of a case no system call is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trapped {
    /// In the second, if there are several: this much of everything is tested without rewriting, at no cost.
    Second,
    /// The same, and where there is only one machine, in one more.
    OneMore,
    /// In one more for each.
    EachToo,
}

impl Trapped {
    /// The machines for these numbers of processors.
    fn machines(self, counts: &[u32]) -> Vec<Machine> {
        let one = |cpus, is_rewriting| Machine { cpus, is_rewriting };
        match (self, counts) {
            (Self::EachToo, _) => {
                [true, false].into_iter().flat_map(|is_on| counts.iter().map(move |&cpus| one(cpus, is_on))).collect()
            }
            (Self::OneMore, &[cpus]) => vec![one(cpus, true), one(cpus, false)],
            _ => counts.iter().enumerate().map(|(index, &cpus)| one(cpus, index != 1)).collect(),
        }
    }
}

/// One of the machines of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Machine {
    cpus: u32,
    is_rewriting: bool,
}

/// A program, and how to run it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The name of the test, also that of its files.
    pub(crate) name: String,
    /// The program on the host.
    pub(crate) program: PathBuf,
    /// What becomes the root directory.
    pub(crate) files: Option<PathBuf>,
    /// Whether the program on the host starts in a copy of the files, or else in an empty directory.
    pub(crate) has_files_on_host: bool,
    /// The path of the program in the machine, its name on the host.
    pub(crate) path_in_image: String,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) environment: Vec<Vec<u8>>,
    pub(crate) input: Input,
    pub(crate) expected: Expected,
    pub(crate) compares_stderr: bool,
    pub(crate) sorts_lines: bool,
    /// The numbers of processors of the machines it runs in.
    pub(crate) cpus: Vec<u32>,
    pub(crate) trapped: Trapped,
    pub(crate) boot: Boot,
}

/// What all machines of a case have in common.
struct Prepared {
    /// What came out on Linux.
    native: Output,
    image: PathBuf,
}

/// A case, prepared when the first of its machines needs it.
struct Shared<Build> {
    case: Case,
    tools: Tools,
    /// Builds the program, or says why that cannot be.
    build: Build,
    prepared: OnceLock<Result<Prepared, Result<Verdict, Failure>>>,
    /// So many machines have not given the right output so far.
    left: AtomicUsize,
}

impl<Build: Fn() -> Result<(), Result<Verdict, Failure>>> Shared<Build> {
    fn run(&self, machine: Machine) -> Result<Verdict, Failure> {
        let prepared = self.prepared.get_or_init(|| {
            (self.build)()?;
            self.case.prepare(&self.tools).map_err(Err)
        });
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(result) => return result.clone(),
        };
        let Machine { cpus, is_rewriting } = machine;
        let boot = Boot { cpus, is_rewriting, ..self.case.boot.clone() };
        let ours = self.tools.boot(&prepared.image, &boot, &self.case.input)?;
        self.case.compare(&prepared.native, &ours)?;
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let work = self.case.work(&self.tools);
            fs::remove_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        }
        Ok(Verdict::Passed)
    }
}

impl Case {
    /// A test for each machine; `build` makes the program or gives the result of the tests.
    pub(crate) fn tests<Build>(self, tools: &Tools, build: Build) -> Vec<Test>
    where
        Build: Fn() -> Result<(), Result<Verdict, Failure>> + Send + Sync + 'static,
    {
        let (name, has_one_count) = (self.name.clone(), self.cpus.len() == 1);
        let machines = self.trapped.machines(&self.cpus);
        let left = AtomicUsize::new(machines.len());
        let shared = Arc::new(Shared { case: self, tools: tools.clone(), build, prepared: OnceLock::new(), left });
        let title = |machine: Machine| {
            let count = if has_one_count { String::new() } else { format!("-cpus-{}", machine.cpus) };
            let trapped = if machine.is_rewriting { "" } else { "-trapped" };
            format!("{name}{count}{trapped}")
        };
        let test = |&machine: &Machine| {
            let shared = Arc::clone(&shared);
            Test::new(title(machine), move || shared.run(machine))
        };
        machines.iter().map(test).collect()
    }

    fn work(&self, tools: &Tools) -> PathBuf {
        tools.work.join("cases").join(self.name.replace('/', "-").replace(' ', "_"))
    }

    /// Runs the program on Linux and makes the image.
    fn prepare(&self, tools: &Tools) -> Result<Prepared, Failure> {
        let work = self.work(tools);
        let failed = |error: std::io::Error| format!("{}: {error}", work.display());
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work).map_err(failed)?;
        let environment = self.environment()?;
        let native = self.run_native(&work, &environment)?;
        if !self.expected.allows(native.status) {
            return Err(format!(
                "on Linux the status is {}, the test says {:?}\n{}",
                native.status,
                self.expected,
                describe(&native)
            ));
        }
        let image = work.join("image");
        tools.image(&image, |request| {
            request.app.clone_from(&self.program);
            request.files.clone_from(&self.files);
            request.arguments.clone_from(&self.arguments);
            request.environment = environment;
        })?;
        Ok(Prepared { native, image })
    }

    /// The environment on both sides, in the order in which the standard library passes it on.
    fn environment(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let mut environment = complete_environment(&self.environment).map_err(|error| error.to_string())?;
        environment.sort_by(|left, right| split_setting(left).0.cmp(split_setting(right).0));
        Ok(environment)
    }

    fn run_native(&self, work: &Path, environment: &[Vec<u8>]) -> Result<Output, Failure> {
        let directory = work.join("host");
        self.prepare_directory(&directory)?;
        let mut command = Command::new(&self.program);
        command.arg0(&self.path_in_image).current_dir(&directory).env_clear();
        command.args(self.arguments.iter().map(|argument| OsStr::from_bytes(argument)));
        for setting in environment {
            let (name, value) = split_setting(setting);
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
        }
        // A file would be seen as one on the host; in the machine every standard stream is like a pipe.
        let input = match &self.input {
            Input::File(path) => Input::Bytes(fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?),
            other => other.clone(),
        };
        process::run(&mut command, &input, NATIVE_TIMEOUT)
    }

    fn prepare_directory(&self, directory: &Path) -> Result<(), Failure> {
        match self.files.as_ref().filter(|_| self.has_files_on_host) {
            // cp keeps times, links and permissions.
            Some(files) => {
                let copied = Command::new("cp").arg("-a").arg(files).arg(directory).status();
                if !copied.is_ok_and(|status| status.success()) {
                    return Err(format!("{} could not be copied", files.display()));
                }
                fs::create_dir_all(directory.join("tmp"))
            }
            None => fs::create_dir_all(directory),
        }
        .map_err(|error| format!("{}: {error}", directory.display()))
    }

    fn compare(&self, native: &Output, ours: &Output) -> Result<(), Failure> {
        let mut differences = Vec::new();
        if native.status != ours.status {
            differences.push(format!("status {} instead of {}", ours.status, native.status));
        }
        if self.in_order(&native.stdout) != self.in_order(&ours.stdout) {
            differences.push(format!("standard output differs {}", first_difference(&native.stdout, &ours.stdout)));
        }
        if self.compares_stderr && native.stderr != ours.stderr {
            differences.push(format!("standard error differs {}", first_difference(&native.stderr, &ours.stderr)));
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(format!("{}\n--- Linux\n{}\n--- Nacre\n{}", differences.join("; "), describe(native), describe(ours)))
    }

    fn in_order<'a>(&self, output: &'a [u8]) -> Vec<&'a [u8]> {
        let mut lines: Vec<_> = output.split(|&byte| byte == b'\n').collect();
        if self.sorts_lines {
            lines.sort_unstable();
        }
        lines
    }
}

fn split_setting(setting: &[u8]) -> (&[u8], &[u8]) {
    let position = setting.iter().position(|&byte| byte == b'=').unwrap_or(setting.len());
    (setting.get(..position).unwrap_or_default(), setting.get(position + 1..).unwrap_or_default())
}

fn first_difference(left: &[u8], right: &[u8]) -> String {
    let at = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let line = left.iter().take(at).filter(|&&byte| byte == b'\n').count() + 1;
    format!("in line {line} ({} and {} bytes)", left.len(), right.len())
}

/// The outputs of a program for a person.
pub(crate) fn describe(output: &Output) -> String {
    let mut text = shown(&output.stdout);
    if !output.stderr.is_empty() {
        text.push_str("\n[stderr] ");
        text.push_str(&shown(&output.stderr));
    }
    format!("{}\n[status {}]", text.trim_end(), output.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_machines_do_not_rewrite() {
        let shown = |trapped: Trapped, counts: &[u32]| {
            let shown = |machine: &Machine| format!("{}{}", machine.cpus, if machine.is_rewriting { "" } else { "t" });
            trapped.machines(counts).iter().map(shown).collect::<Vec<_>>().join(" ")
        };
        assert_eq!([shown(Trapped::Second, &[1]), shown(Trapped::Second, &[1, 2, 4])], ["1", "1 2t 4"]);
        assert_eq!([shown(Trapped::OneMore, &[2]), shown(Trapped::OneMore, &[1, 4])], ["2 2t", "1 4t"]);
        assert_eq!(shown(Trapped::EachToo, &[1, 2]), "1 2 1t 2t");
    }
}
