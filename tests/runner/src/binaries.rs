//! The small programs of `tests/binaries`; its README says what their headers mean.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::case::{Case, Trapped};
use crate::notation::{self, Expected};
use crate::process::{self, Input};
use crate::schedule::{Failure, Test};
use crate::tools::{Boot, Tools};

/// For listing what a library holds.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// A C library has at least so many functions for threads; fewer were not found for another reason.
const FUNCTIONS_MIN: usize = 120;

/// What the header of a program says.
#[derive(Debug)]
struct Header {
    runs: Vec<Vec<Vec<u8>>>,
    expected: Expected,
    input: Input,
    environment: Vec<Vec<u8>>,
    compares_stderr: bool,
    is_pie_too: bool,
    is_trapped_too: bool,
    flags: Vec<Vec<u8>>,
    cpus: Vec<u32>,
    boot: Boot,
}

/// One compiled form of a program, made when it is first needed.
struct Variant {
    source: PathBuf,
    output: PathBuf,
    is_pie: bool,
    flags: Vec<Vec<u8>>,
    result: OnceLock<Result<(), Failure>>,
}

impl Variant {
    fn compile(&self, tools: &Tools) -> Result<(), Failure> {
        self.result.get_or_init(|| tools.compile(&self.source, &self.output, self.is_pie, &self.flags)).clone()
    }
}

/// A test for every run of every program.
pub(crate) fn tests(tools: &Tools) -> Vec<Test> {
    let directory = tools.root.join("tests/binaries");
    let mut sources: Vec<_> = fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    sources.sort();
    let mut families = BTreeSet::new();
    let mut tests: Vec<_> =
        sources.iter().flat_map(|source| tests_of(tools, source, families.insert(family(source)))).collect();
    tests.push(Test::plain("binaries/every-function-of-threads", move || mentions_every_function(&sources)));
    tests
}

/// Whether some program names each function that the C library has for threads and semaphores.
fn mentions_every_function(sources: &[PathBuf]) -> Result<(), Failure> {
    // The linker alone knows which of several libraries it takes.
    let mut trace = Command::new("musl-gcc");
    trace.args(["-static", "-Wl,--trace", "-x", "c", "-", "-o", "/dev/null"]);
    let trace = process::run(&mut trace, &Input::Bytes(b"int main(void) { return 0; }".to_vec()), LIST_TIMEOUT)?;
    let trace = String::from_utf8_lossy(&trace.stdout).into_owned();
    let library = trace.lines().find_map(|line| line.split(['(', ')']).find(|word| word.ends_with("/libc.a")));
    let library = library.ok_or_else(|| format!("the linker names no libc.a:\n{trace}"))?;
    let symbols =
        process::run(Command::new("nm").args(["-g", "--defined-only", library]), &Input::Empty, LIST_TIMEOUT)?;
    let symbols = String::from_utf8_lossy(&symbols.stdout).into_owned();
    let functions: BTreeSet<_> = symbols.split_whitespace().filter(|name| is_of_threads(name)).collect();
    if functions.len() < FUNCTIONS_MIN {
        return Err(format!("only {} functions were found in {library}", functions.len()));
    }
    let texts: Vec<_> = sources.iter().filter_map(|source| fs::read_to_string(source).ok()).collect();
    let words: BTreeSet<_> =
        texts.iter().flat_map(|text| text.split(|letter: char| letter != '_' && !letter.is_alphanumeric())).collect();
    let missing: Vec<_> = functions.difference(&words).copied().collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("no program uses {}", missing.join(", "))) }
}

fn is_of_threads(name: &str) -> bool {
    // What has a point is an object file's name.
    name == "call_once"
        || !name.contains('.')
            && ["pthread_", "sem_", "thrd_", "mtx_", "cnd_", "tss_"].iter().any(|start| name.starts_with(start))
}

/// Programs of one subject have the first word of their names in common.
fn family(source: &Path) -> String {
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    stem.split('_').next().unwrap_or_default().to_owned()
}

/// The tests of one program. What stands for its family is run without rewriting as well, in its first form.
fn tests_of(tools: &Tools, source: &Path, stands_for_family: bool) -> Vec<Test> {
    let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let header = fs::read_to_string(source).map_err(|error| error.to_string()).and_then(|text| parse(&text));
    let header = match header {
        Ok(header) => header,
        Err(error) => return vec![Test::plain(format!("binaries/{stem}"), move || Err(error))],
    };
    let mut tests = Vec::new();
    for is_pie in [false, true].into_iter().take(if header.is_pie_too { 2 } else { 1 }) {
        let title = if is_pie { format!("{stem}-pie") } else { stem.clone() };
        let files = tools.work.join("binaries").join(&title);
        let variant = Arc::new(Variant {
            source: source.to_owned(),
            output: files.join("app").join(&stem),
            is_pie,
            flags: header.flags.clone(),
            result: OnceLock::new(),
        });
        for (number, arguments) in (1..).zip(&header.runs) {
            let name = match header.runs.len() {
                1 => format!("binaries/{title}"),
                _ => format!("binaries/{title}-{number}"),
            };
            let case = Case {
                name,
                program: variant.output.clone(),
                files: Some(files.clone()),
                has_files_on_host: false,
                path_in_image: format!("/app/{stem}"),
                arguments: arguments.clone(),
                environment: header.environment.clone(),
                input: header.input.clone(),
                expected: header.expected,
                compares_stderr: header.compares_stderr,
                sorts_lines: false,
                cpus: header.cpus.clone(),
                trapped: match (header.is_trapped_too, number) {
                    (true, _) => Trapped::EachToo,
                    (false, 1) if stands_for_family && !is_pie => Trapped::OneMore,
                    _ => Trapped::Second,
                },
                boot: header.boot.clone(),
            };
            let (compiler, variant) = (tools.clone(), Arc::clone(&variant));
            tests.extend(case.tests(tools, move || variant.compile(&compiler).map_err(Err)));
        }
    }
    tests
}

fn parse(source: &str) -> Result<Header, Failure> {
    let mut header = Header {
        runs: Vec::new(),
        expected: Expected::Status(0),
        input: Input::Empty,
        environment: Vec::new(),
        compares_stderr: false,
        is_pie_too: false,
        is_trapped_too: false,
        flags: Vec::new(),
        cpus: vec![1],
        boot: Boot::default(),
    };
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("not a number: {text}"));
    let mut lines = source.lines();
    for line in lines.by_ref() {
        let Some(directive) = line.strip_prefix("//@") else { break };
        let (key, value) = directive.split_once(':').unwrap_or((directive, ""));
        // Only the one blank behind the colon does not belong to a text.
        let value = value.strip_prefix(' ').unwrap_or(value);
        match key.trim() {
            "run" => header.runs.push(notation::words(value)?),
            "status" => header.expected = Expected::parse(value.trim())?,
            "stdin" => header.input = Input::Bytes(notation::text(value)?),
            "env" => header.environment = notation::words(value)?,
            "stderr" if value.trim() == "compare" => header.compares_stderr = true,
            "static-pie" => header.is_pie_too = true,
            "trapped" => header.is_trapped_too = true,
            "cpus" => header.cpus = notation::cpus(value)?,
            "cflags" => header.flags = notation::words(value)?,
            "timeout" => header.boot.timeout = Duration::from_secs(number(value.trim())?.into()),
            "memory" => header.boot.memory_mib = number(value.trim())?,
            _ => return Err(format!("unknown directive: {line}")),
        }
    }
    if let Some(late) = lines.find(|line| line.starts_with("//@")) {
        return Err(format!("a directive after other lines: {late}"));
    }
    if header.runs.is_empty() {
        header.runs.push(Vec::new());
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let header = parse(
            "//@ run: a 'b c'\n//@ run:\n//@ status: SIGSEGV\n//@ stdin: x\\n \n//@ static-pie\n//@ memory: 64\n// end\nint z;\n",
        )
        .unwrap();
        assert_eq!(header.runs, [vec![b"a".to_vec(), b"b c".to_vec()], vec![]]);
        assert_eq!((header.expected, header.is_pie_too), (Expected::Status(139), true));
        assert!(matches!(header.input, Input::Bytes(bytes) if bytes == b"x\n "));
        assert_eq!(header.boot.memory_mib, 64);
        assert_eq!((header.cpus, parse("//@ cpus: 1 2 4\n").unwrap().cpus), (vec![1], vec![1, 2, 4]));
        assert!(parse("//@ wat: 1\n").is_err());
        assert!(parse("//@ cpus: 1 2\n// What it does.\n//@ run: z\n").is_err());
        assert_eq!(parse("int main;").unwrap().runs.len(), 1);
    }
}
