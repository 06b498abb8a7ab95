//! What `TRACE=` and `PROFILE=` of `make run` show of a program.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use image_builder::build::Request;

use crate::apps::App;
use crate::process::{self, Input, shown};
use crate::schedule::{Failure, Test, Verdict};
use crate::tools::{Boot, Tools};

const TIMEOUT: Duration = Duration::from_secs(60);
/// The calls of tests/qemu/traced.c, but those of its start and end whose arguments differ.
const TRACED: &str = "openat,read,write,close,fstat,pipe2,fcntl,epoll_create1,epoll_ctl,epoll_wait,lseek,nanosleep,mmap,\
                      mprotect,madvise,munmap,socketpair,shutdown,eventfd2,rt_sigprocmask,exit_group";
/// Numbers from here on are addresses, which differ from run to run.
const ADDRESS_DIGITS_MIN: usize = 6;
/// How long a profile is taken.
const PROFILE_SECONDS: &[u8] = b"2";

/// All tests of this part.
pub(crate) fn tests(tools: &Tools) -> Vec<Test> {
    let test = |name: &str, run: fn(&Observation) -> Result<Verdict, Failure>| {
        let observation = Observation { tools: tools.clone(), work: tools.work.join("observe").join(name) };
        Test::new(format!("qemu/{name}"), move || {
            let failed = |error: std::io::Error| format!("{}: {error}", observation.work.display());
            let _ = fs::remove_dir_all(&observation.work);
            fs::create_dir_all(&observation.work).map_err(failed)?;
            let verdict = run(&observation)?;
            fs::remove_dir_all(&observation.work).map_err(failed)?;
            Ok(verdict)
        })
    };
    vec![
        test("trace", Observation::trace),
        test("trace-like-strace", Observation::trace_like_strace),
        test("trace-clone", Observation::trace_clone),
        test("trace-count", Observation::trace_count),
        test("trace-count-go", Observation::trace_count_go),
        test("profile", Observation::profile),
    ]
}

struct Observation {
    tools: Tools,
    work: PathBuf,
}

impl Observation {
    fn trace(&self) -> Result<Verdict, Failure> {
        let expected = self.tools.root.join("tests/qemu/traced.txt");
        let expected = fs::read_to_string(&expected).map_err(|error| format!("{}: {error}", expected.display()))?;
        self.compare(&expected)
    }

    /// Where strace works, it is the judge.
    fn trace_like_strace(&self) -> Result<Verdict, Failure> {
        let output = self.work.join("strace");
        let program = self.program("tests/qemu/traced.c")?;
        let mut command = Command::new("strace");
        command.arg("-e").arg(format!("trace={TRACED}")).args(["-e", "signal=none", "-q", "-o"]).arg(&output);
        match process::run(command.arg(&program), &Input::Empty, TIMEOUT) {
            Ok(result) if result.status == 3 => {}
            Ok(result) => return Ok(Verdict::Skipped(format!("strace does not work here: {}", shown(&result.stderr)))),
            Err(failure) => return Ok(Verdict::Skipped(failure)),
        }
        let expected = fs::read_to_string(&output).map_err(|error| error.to_string())?;
        let expected: String =
            expected.lines().filter(|line| !line.starts_with('+')).map(|l| format!("{l}\n")).collect();
        self.compare(&expected)
    }

    fn compare(&self, expected: &str) -> Result<Verdict, Failure> {
        let image = self.image("tests/qemu/traced.c", |_| {})?;
        let lines = self.work.join("lines");
        let mut command = self.tools.boot_command(&image, &Boot::default());
        command.env("TRACE", TRACED).env("TRACE_OUT", &lines);
        let output = process::run(&mut command, &Input::Empty, TIMEOUT)?;
        let ours = fs::read_to_string(&lines).map_err(|error| error.to_string())?;
        let (ours, expected) = (without_addresses(&ours), without_addresses(expected));
        if output.status != 3 || !output.stdout.is_empty() || !output.stderr.is_empty() {
            return Err(format!("status {}: {}{}", output.status, shown(&output.stdout), shown(&output.stderr)));
        }
        let mut pairs = ours.lines().zip(expected.lines());
        match pairs.find(|(ours, expected)| ours != expected) {
            Some((ours, expected)) => Err(format!("{ours}\ninstead of\n{expected}")),
            None if ours.lines().count() != expected.lines().count() => Err(format!("{ours}instead of\n{expected}")),
            None => Ok(Verdict::Passed),
        }
    }

    /// The answers of calls that make threads are those that the program sees.
    fn trace_clone(&self) -> Result<Verdict, Failure> {
        let image = self.image("tests/qemu/threads_made.c", |_| {})?;
        let lines = self.work.join("clone-lines");
        let mut command = self.tools.boot_command(&image, &Boot::default());
        command.env("TRACE", "clone").env("TRACE_OUT", &lines);
        let output = process::run(&mut command, &Input::Empty, TIMEOUT)?;
        let traced = fs::read_to_string(&lines).map_err(|error| error.to_string())?;
        let answers: String = traced
            .lines()
            .filter_map(|line| line.rsplit_once(" = "))
            .map(|(_, answer)| format!("{answer}\n"))
            .collect();
        if output.status == 0 && answers.as_bytes() == output.stdout {
            Ok(Verdict::Passed)
        } else {
            Err(format!("status {}: {}\n{traced}", output.status, shown(&output.stdout)))
        }
    }

    /// The sums come at the end, and while the program runs they can be read.
    fn trace_count(&self) -> Result<Verdict, Failure> {
        let image = self.image("tests/qemu/counters.c", |_| {})?;
        let mut command = self.tools.boot_command(&image, &Boot::default());
        let output = process::run(command.env("TRACE", "count"), &Input::Empty, TIMEOUT)?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // The file says what was done before it was opened.
        let has_opened = stdout.lines().any(|line| line.starts_with("open 1 0 ") || line.starts_with("openat 1 0 "));
        let total = stderr.lines().last().unwrap_or_default();
        if output.status == 0
            && stdout.starts_with("call calls errors taken_us\n")
            && has_opened
            && total.ends_with(" total")
        {
            Ok(Verdict::Passed)
        } else {
            Err(format!("status {}:\n{stdout}\n{stderr}", output.status))
        }
    }

    /// Go's run time finds the vDSO by itself: however often it asks for the time, no call is made.
    fn trace_count_go(&self) -> Result<Verdict, Failure> {
        let app = App::new(self.tools.root.join("tests/apps/vdso-go"));
        if let Err(result) = app.build() {
            return result;
        }
        let program = self.tools.app("vdso-go").join("clock");
        let native = process::run(&mut Command::new(&program), &Input::Empty, TIMEOUT)?;
        let image = self.work.join("image");
        self.tools.image(&image, |request| request.app = program)?;
        let mut command = self.tools.boot_command(&image, &Boot { cpus: 2, ..Boot::default() });
        let output = process::run(command.env("TRACE", "count"), &Input::Empty, TIMEOUT)?;
        let counts = String::from_utf8_lossy(&output.stderr).into_owned();
        let names: Vec<_> = counts.lines().filter_map(|line| line.split_whitespace().last()).collect();
        let is_counted = names.contains(&"mmap") && names.last() == Some(&"total");
        let asks = ["clock_gettime", "gettimeofday", "time"].iter().find(|name| names.contains(name));
        let is_same = output.status == 0 && native.status == 0 && output.stdout == native.stdout;
        if is_same && is_counted && asks.is_none() {
            Ok(Verdict::Passed)
        } else {
            Err(format!("status {}: {}\n{counts}", output.status, shown(&output.stdout)))
        }
    }

    fn profile(&self) -> Result<Verdict, Failure> {
        let program = self.work.join("hot");
        let flags = [b"-fno-omit-frame-pointer".to_vec()];
        self.tools.compile(&self.tools.root.join("tests/qemu/hot.c"), &program, false, &flags)?;
        let image = self.work.join("image");
        self.tools.image(&image, |request| {
            request.app = program;
            request.arguments = vec![PROFILE_SECONDS.to_vec()];
        })?;
        let graph = self.work.join("graph.svg");
        let mut command = self.tools.boot_command(&image, &Boot::default());
        let output = process::run(command.env("PROFILE", &graph), &Input::Empty, TIMEOUT)?;
        let said = shown(&output.stderr);
        if output.status != 0 || !output.stdout.is_empty() || !said.starts_with("nacre: profile: ") {
            return Err(format!("status {}: {}{said}", output.status, shown(&output.stdout)));
        }
        let graph = fs::read_to_string(&graph).map_err(|error| error.to_string())?;
        for wanted in ["<title>/hot (", "<title>caller_of_hot_function (", "<title>main ("] {
            if !graph.contains(wanted) {
                return Err(format!("{wanted} is not in the graph; {said}"));
            }
        }
        // Of what the program did, more than half was this.
        let percent = percent(&graph, "hot_function").unwrap_or(0.0);
        let all = percent_of_program(&graph);
        if percent * 2.0 > all { Ok(Verdict::Passed) } else { Err(format!("{percent}% of {all}%; {said}")) }
    }

    fn program(&self, source: &str) -> Result<PathBuf, Failure> {
        let program = self.work.join("program");
        self.tools.compile(&self.tools.root.join(source), &program, false, &[])?;
        Ok(program)
    }

    fn image(&self, source: &str, change: impl FnOnce(&mut Request)) -> Result<PathBuf, Failure> {
        let (program, image) = (self.program(source)?, self.work.join("image"));
        self.tools.image(&image, |request| {
            request.app = program;
            change(request);
        })?;
        Ok(image)
    }
}

/// The share of a function in a flame graph.
fn percent(graph: &str, name: &str) -> Option<f64> {
    let (_, rest) = graph.split_once(&format!("<title>{name} ("))?;
    let (_, rest) = rest.split_once(", ")?;
    rest.split_once('%')?.0.parse().ok()
}

fn percent_of_program(graph: &str) -> f64 {
    percent(graph, "/hot").unwrap_or(100.0)
}

/// The lines with all long hexadecimal numbers replaced.
fn without_addresses(text: &str) -> String {
    let mut parts = text.split("0x");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        if digits >= ADDRESS_DIGITS_MIN {
            result.push_str("ADDRESS");
            result.push_str(&part[digits..]);
        } else {
            result.push_str("0x");
            result.push_str(part);
        }
    }
    result
}
