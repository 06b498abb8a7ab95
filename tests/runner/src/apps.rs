//! The real programs of `tests/apps`; its README says what their manifests mean.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::case::{Case, Trapped};
use crate::notation::{self, Expected};
use crate::process::{self, Input};
use crate::schedule::{Failure, Selection, Test, Verdict, say};
use crate::tools::{Boot, Tools};

/// Building the largest one takes some minutes on two processors.
const BUILD_TIMEOUT: Duration = Duration::from_secs(1800);
/// The status of a build that this machine cannot do.
const STATUS_SKIPPED: i32 = 77;

/// The build of a program, done when the first of its cases needs it.
pub(crate) struct App {
    directory: PathBuf,
    result: OnceLock<Result<Verdict, Failure>>,
}

impl App {
    /// The program of a folder in `tests/apps`.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, result: OnceLock::new() }
    }

    /// Builds it, or answers how all of its tests end.
    pub(crate) fn build(&self) -> Result<(), Result<Verdict, Failure>> {
        let result = self.result.get_or_init(|| {
            let script = self.directory.join("build.sh");
            say(&format!("{} builds its program unless that is up to date", script.display()));
            let mut command = Command::new("bash");
            command.arg(script);
            let output = process::run(&mut command, &Input::Empty, BUILD_TIMEOUT)?;
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status {
                0 => Ok(Verdict::Passed),
                STATUS_SKIPPED => {
                    Ok(Verdict::Skipped(complaint.lines().last().unwrap_or("it cannot be built here").to_owned()))
                }
                status => Err(format!("the build fails with status {status}\n{complaint}")),
            }
        });
        match result {
            Ok(Verdict::Passed) => Ok(()),
            Ok(Verdict::Skipped(reason)) => Err(Ok(Verdict::Skipped(reason.clone()))),
            Err(failure) => Err(Err(failure.clone())),
        }
    }
}

/// A test for every case of every program.
pub(crate) fn tests(tools: &Tools, selection: &Selection) -> Vec<Test> {
    if !selection.may_want("apps") {
        return Vec::new();
    }
    let directory = tools.root.join("tests/apps");
    let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
    let mut manifests: Vec<_> =
        entries.map(|entry| entry.path().join("manifest")).filter(|path| path.exists()).collect();
    manifests.sort();
    manifests.iter().flat_map(|manifest| tests_of(tools, manifest)).collect()
}

fn tests_of(tools: &Tools, manifest: &Path) -> Vec<Test> {
    let directory = manifest.parent().unwrap_or(manifest);
    let app = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let built = tools.app(&app);
    let text = fs::read_to_string(manifest).map_err(|error| error.to_string());
    let cases = match text.and_then(|text| parse(&text, &app, &built)) {
        Ok(cases) => cases,
        Err(error) => return vec![Test::plain(format!("apps/{app}"), move || Err(error))],
    };
    let app = Arc::new(App::new(directory.to_owned()));
    let tests = |case: Case| {
        let app = Arc::clone(&app);
        case.tests(tools, move || app.build())
    };
    cases.into_iter().flat_map(tests).collect()
}

fn parse(text: &str, app: &str, built: &Path) -> Result<Vec<Case>, Failure> {
    let mut default = Case {
        name: String::new(),
        program: PathBuf::new(),
        files: None,
        has_files_on_host: true,
        path_in_image: String::new(),
        arguments: Vec::new(),
        environment: Vec::new(),
        input: Input::Empty,
        expected: Expected::Status(0),
        compares_stderr: false,
        sorts_lines: false,
        cpus: vec![1],
        trapped: Trapped::Second,
        boot: Boot { memory_mib: 256, timeout: Duration::from_secs(60), ..Boot::default() },
    };
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once(':').ok_or_else(|| format!("not a key and a value: {line}"))?;
        let value = value.strip_prefix(' ').unwrap_or(value);
        if key == "case" {
            cases.push(Case { name: format!("apps/{app}/{value}"), ..default.clone() });
        } else {
            set(cases.last_mut().unwrap_or(&mut default), key, value, built)?;
        }
    }
    if cases.iter().any(|case| case.program.as_os_str().is_empty()) {
        return Err("a case has no program".to_owned());
    }
    if let Some(first) = cases.first_mut() {
        first.trapped = Trapped::OneMore;
    }
    Ok(cases)
}

fn set(case: &mut Case, key: &str, value: &str, built: &Path) -> Result<(), Failure> {
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("not a number: {text}"));
    match (key, value) {
        ("program", _) => {
            case.program = built.join(value);
            let name = Path::new(value).file_name().unwrap_or_default();
            case.path_in_image = format!("/{}", name.to_string_lossy());
        }
        ("files", _) => case.files = Some(built.join(value)),
        ("run", _) => case.arguments = notation::words(value)?,
        ("stdin", _) => case.input = Input::Bytes(notation::text(value)?),
        ("stdin-file", _) => case.input = Input::File(built.join(value)),
        ("env", _) => case.environment = notation::words(value)?,
        ("status", _) => case.expected = Expected::parse(value)?,
        ("compare", "exact") => case.sorts_lines = false,
        ("compare", "sorted-lines") => case.sorts_lines = true,
        ("stderr", "compare") => case.compares_stderr = true,
        ("cpus", _) => case.cpus = notation::cpus(value)?,
        ("timeout", _) => case.boot.timeout = Duration::from_secs(number(value)?.into()),
        ("memory", _) => case.boot.memory_mib = number(value)?,
        _ => return Err(format!("unknown line: {key}: {value}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_read() {
        let text = "# comment\nprogram: bin/tool\nfiles: root\n\ncase: one\nrun: -a 'b c'\ncase: two\nstatus: 3\ncpus: 2 4\ncompare: sorted-lines\n";
        let cases = parse(text, "tool", Path::new("/built")).unwrap();
        assert_eq!(cases.len(), 2);
        assert_eq!((cases[0].name.as_str(), cases[0].path_in_image.as_str()), ("apps/tool/one", "/tool"));
        assert_eq!(cases[0].arguments, [b"-a".to_vec(), b"b c".to_vec()]);
        assert_eq!(cases[1].program, Path::new("/built/bin/tool"));
        assert_eq!((cases[1].expected, cases[1].sorts_lines), (Expected::Status(3), true));
        assert_eq!((&cases[0].cpus[..], &cases[1].cpus[..]), (&[1][..], &[2, 4][..]));
        assert!(parse("case: x\n", "tool", Path::new("/")).is_err());
        assert!(parse("wat: x\n", "tool", Path::new("/")).is_err());
    }
}
