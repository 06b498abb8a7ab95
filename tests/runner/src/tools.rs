//! What the tests of the machine need: the kernel, the image builder and the runner, built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use image_builder::build::{Request, build};

use crate::process::{self, Input, Output};
use crate::schedule::{Failure, say};

/// On top of a test's own time-out: the machine's start, and a busy host.
const BOOT_TIME_MAX: Duration = Duration::from_secs(15);

/// Paths of everything.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// The project.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    target: PathBuf,
    /// For what the tests make.
    pub(crate) work: PathBuf,
}

/// How to boot an image.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    pub(crate) machine: &'static str,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) timeout: Duration,
    /// Whether `syscall` instructions are rewritten, if `REWRITE` does not forbid it.
    pub(crate) is_rewriting: bool,
}

impl Default for Boot {
    fn default() -> Self {
        Self { machine: "microvm", memory_mib: 128, cpus: 1, timeout: Duration::from_secs(30), is_rewriting: true }
    }
}

/// How the kernel is built: as users get it, unless `KERNEL_PROFILE` says otherwise.
pub(crate) fn kernel_profile() -> String {
    let set = std::env::var("KERNEL_PROFILE").ok().filter(|profile| !profile.is_empty());
    set.unwrap_or_else(|| "kernel".to_owned())
}

impl Tools {
    /// Builds the kernel and the host tools.
    pub(crate) fn build() -> Result<Self, Failure> {
        let tools = Self::existing()?;
        say("building the kernel and the tools");
        for (program, arguments) in [
            ("scripts/kernel-cargo.sh", &["build", "-p", "kernel", "--profile", &kernel_profile()][..]),
            ("cargo", &["build", "--release", "-p", "image-builder"][..]),
        ] {
            let status = Command::new(program).args(arguments).current_dir(&tools.root).status();
            if !status.is_ok_and(|status| status.success()) {
                return Err(format!("{program} {} failed", arguments.join(" ")));
            }
        }
        Ok(tools)
    }

    /// What somebody else has built.
    pub(crate) fn existing() -> Result<Self, Failure> {
        let root = project_root();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let target = std::path::absolute(&target).map_err(|error| format!("{}: {error}", target.display()))?;
        let work = target.join("test");
        fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        Ok(Self { root, target, work })
    }

    /// The kernel as the linker left it.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.target.join("x86_64-unknown-none").join(kernel_profile()).join("kernel")
    }

    /// Builds the program of `tests/netsim`.
    pub(crate) fn build_network_simulator(&self) -> Result<(), Failure> {
        let mut command = Command::new("cargo");
        command.args(["build", "--quiet", "-p", "netsim"]).current_dir(&self.root);
        let is_built = command.status().is_ok_and(|status| status.success());
        if is_built { Ok(()) } else { Err("tests/netsim does not build".to_owned()) }
    }

    /// The program of `tests/netsim`, as the tests of its crate leave it.
    pub(crate) fn network_simulator(&self) -> PathBuf {
        self.target.join("debug/bench-tcp")
    }

    /// The program behind `scripts/run-qemu.sh`.
    pub(crate) fn runner(&self) -> PathBuf {
        self.target.join("release/nacre-run")
    }

    /// Where the build script of an app in `tests/apps` puts it.
    pub(crate) fn app(&self, name: &str) -> PathBuf {
        let all = std::env::var_os("APPS_DIR").map_or_else(|| self.root.join("target/apps"), PathBuf::from);
        all.join(name)
    }

    /// Makes an image; `change` completes the request.
    pub(crate) fn image(&self, output: &Path, change: impl FnOnce(&mut Request)) -> Result<(), Failure> {
        let mut request = Request {
            kernel: self.kernel(),
            base: Some(self.root.join("rootfs/base")),
            cache: Some(self.work.join("analysis")),
            output: output.to_owned(),
            ..Request::default()
        };
        change(&mut request);
        build(&request).map(|_| ()).map_err(|error| format!("the image: {error}"))
    }

    /// A command that boots an image.
    pub(crate) fn boot_command(&self, image: &Path, boot: &Boot) -> Command {
        let mut command = Command::new(self.runner());
        // `REWRITE` is left to the user: everything can be tested without rewriting.
        for variable in [
            "ACCEL",
            "LOG",
            "NET",
            "NETCFG",
            "VSOCK",
            "QEMU_ARGS",
            "TIMEOUT",
            "TRACE",
            "TRACE_OUT",
            "PROFILE",
            "PROFILE_HZ",
            "IDLE",
        ] {
            command.env_remove(variable);
        }
        command.env("IMAGE", image).env("MACHINE", boot.machine).env("MEM", format!("{}M", boot.memory_mib));
        command.env("CPUS", boot.cpus.to_string());
        if !boot.is_rewriting {
            command.env("REWRITE", "off");
        }
        command
    }

    /// Boots an image and waits for its end.
    pub(crate) fn boot(&self, image: &Path, boot: &Boot, input: &Input) -> Result<Output, Failure> {
        process::run(&mut self.boot_command(image, boot), input, boot.timeout + BOOT_TIME_MAX)
    }

    /// Compiles a static program with musl unless it is newer than its sources.
    pub(crate) fn compile(&self, source: &Path, output: &Path, pie: bool, flags: &[Vec<u8>]) -> Result<(), Failure> {
        if is_current(source, output) {
            return Ok(());
        }
        if let Some(directory) = output.parent() {
            fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        let mut command = Command::new("musl-gcc");
        command.args(["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(output);
        if pie {
            // `musl-gcc -static-pie` links a dynamic program; so the start files are named here.
            let library = musl_library()?;
            command.args(["-fPIE", "-nostartfiles", "-Wl,-pie,--no-dynamic-linker,-z,text"]);
            command.args([library.join("rcrt1.o"), library.join("crti.o")]).arg(source).arg(library.join("crtn.o"));
        } else {
            command.arg(source);
        }
        for flag in flags {
            command.arg(String::from_utf8_lossy(flag).as_ref());
        }
        let result = process::run(&mut command, &Input::Empty, Duration::from_secs(120))?;
        if result.status == 0 {
            return Ok(());
        }
        Err(format!("{} does not compile:\n{}", source.display(), String::from_utf8_lossy(&result.stderr)))
    }
}

/// The project's directory.
pub(crate) fn project_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Whether `output` is newer than `source` and the headers beside it.
fn is_current(source: &Path, output: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let Some(made) = time(output) else { return false };
    let directory = source.parent().and_then(|directory| fs::read_dir(directory).ok());
    let headers = directory.into_iter().flatten().flatten().map(|entry| entry.path());
    let headers = headers.filter(|path| path.extension().is_some_and(|extension| extension == "h"));
    headers.chain([source.to_owned()]).all(|path| time(&path).is_some_and(|changed| changed < made))
}

/// The directory of musl's start files.
fn musl_library() -> Result<PathBuf, Failure> {
    ["/usr/lib/x86_64-linux-musl", "/usr/local/musl/lib", "/usr/lib/musl/lib"]
        .map(PathBuf::from)
        .into_iter()
        .find(|directory| directory.join("rcrt1.o").exists())
        .ok_or_else(|| "musl's rcrt1.o was not found".to_owned())
}
