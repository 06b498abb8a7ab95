//! Rewritten programs behave as the original ones: random functions full of system calls run on the host as they are and
//! rewritten, with everything destroyed that was found dead.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its input has failed")]

#[path = "rewriting/generator.rs"]
mod generator;
#[path = "rewriting/host_patch.rs"]
mod host_patch;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use generator::Random;
use goblin::elf::Elf;
use host_patch::Garbage;
use image_builder::analysis::analyse;
use image_builder::analysis::rewrite::Reason;
use image_format::SiteKind;

/// NACRE_SEED and NACRE_ROUNDS say otherwise.
const SEED: u64 = 0x6e61_6372_6535;
const ROUNDS: u64 = 60;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Held while a program is written and while a process is started: a process that starts meanwhile has the file open for writing until
/// it executes something, and nothing that is open for writing can be executed.
static STARTING: Mutex<()> = Mutex::new(());

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nacre-rewriting-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn run(&self, program: &[u8]) -> Output {
        let path = self.0.join("program");
        let mut command = Command::new(&path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let starting = STARTING.lock();
        fs::write(&path, program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let process = command.spawn().unwrap();
        drop(starting);
        process.wait_with_output().unwrap()
    }
}

impl Scratch {
    /// Compiles a program of tests/binaries, which keeps its symbols.
    fn compile(&self, name: &str) -> PathBuf {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/binaries");
        let program = self.0.join(name);
        let source = sources.join(name).with_extension("c");
        let mut compiler = Command::new("musl-gcc");
        compiler.args(["-static", "-O2", "-pthread", "-I"]).arg(&sources).arg("-o").arg(&program).arg(source);
        let starting = STARTING.lock();
        let mut process = compiler.spawn().unwrap();
        drop(starting);
        assert!(process.wait().unwrap().success(), "{name} does not compile");
        program
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn random_functions_behave_as_before() {
    let seed = setting("NACRE_SEED", SEED);
    println!("seed {seed}");
    let scratch = Scratch::new("random");
    let (mut rewritten, mut left) = (0, 0);
    for round in 0..setting("NACRE_ROUNDS", ROUNDS) {
        let program = generator::program(&mut Random(seed.wrapping_add(round)));
        let analysis = analyse(&program);
        rewritten += analysis.rewritten_count();
        left += analysis.left.len();
        let expected = scratch.run(&program);
        assert!(expected.status.success(), "round {round}: the program itself ends with {}", expected.status);
        for garbage in [Garbage::Equal, Garbage::Below] {
            let output = scratch.run(&host_patch::rewrite(&program, &analysis.sites, garbage));
            assert_eq!(output.status, expected.status, "round {round}, {garbage:?}");
            let difference = output.stdout.iter().zip(&expected.stdout).position(|(left, right)| left != right);
            assert_eq!(difference, None, "round {round}, {garbage:?}: where the output differs");
            assert_eq!(output.stdout.len(), expected.stdout.len());
        }
    }
    println!("{rewritten} rewritten, {left} left");
    assert!(rewritten > 20 * left / 100, "hardly anything was rewritten");
}

/// Programs of tests/binaries whose output depends on nothing but themselves, and not on where a signal interrupts them: on the
/// host nobody maps the address in a stub to the one in the program.
const PROGRAMS: [&str; 4] = ["setjmp", "signal_nested", "pipe", "pthread_mutex"];

#[test]
fn compiled_programs_behave_as_before() {
    let scratch = Scratch::new("compiled");
    let mut programs: Vec<PathBuf> = PROGRAMS.iter().map(|name| scratch.compile(name)).collect();
    // For those who work on the analysis: any others.
    let others = std::env::var("NACRE_PROGRAMS").unwrap_or_default();
    programs.extend(others.split_terminator(':').map(PathBuf::from));
    for path in programs {
        let program = fs::read(&path).unwrap();
        let sites = analyse(&program).sites;
        // Some look at their name.
        let expected = scratch.run(&program);
        let output = scratch.run(&host_patch::rewrite(&program, &sites, Garbage::Below));
        assert_eq!(output.status, expected.status, "{}", path.display());
        assert_eq!(String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&expected.stdout));
    }
}

#[test]
fn cancellation_and_signal_return_keep_their_addresses() {
    let scratch = Scratch::new("labels");
    let program = fs::read(scratch.compile("pthread_cancel")).unwrap();
    let elf = Elf::parse(&program).unwrap();
    let address = |name: &str| {
        let symbol = elf.syms.iter().find(|symbol| elf.strtab.get_at(symbol.st_name) == Some(name));
        symbol.unwrap_or_else(|| panic!("the program has {name}")).st_value
    };
    let code = elf.program_headers.iter().find(|header| header.is_executable()).unwrap();
    let offset = |address: u64| address - code.p_vaddr + code.p_offset;
    let analysis = analyse(&program);

    // musl asks whether a signal came between these labels; the system call is the last instruction there.
    let (begin, end) = (offset(address("__cp_begin")), offset(address("__cp_end")));
    let inside = analysis.sites.iter().find_map(|site| match &site.kind {
        SiteKind::Syscall(patch) if (begin..end).contains(&site.file_offset) => Some((site.file_offset, *patch)),
        _ => None,
    });
    let (start, patch) = inside.expect("the call of cancellation points is rewritten");
    assert_eq!(start + u64::from(patch.resume_at()), end);
    assert_eq!(patch.syscall_at, patch.length, "the system call stays where the labels say");
    assert!(begin <= start);

    let restore = offset(address("__restore_rt"));
    let left = analysis.left.iter().find(|left| (restore..restore + 16).contains(&left.file_offset));
    assert_eq!(left.map(|left| left.reason), Some(Reason::SignalReturn));
}
