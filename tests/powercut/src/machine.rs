//! [`Machine`]: the disk, the program and the run that is recorded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::disk::Image;

use crate::scenario::Scenario;

const SECTOR_LEN: u64 = 512;
const MIB_SECTORS: u64 = (1 << 20) / SECTOR_LEN;

/// Seconds that a machine may run.
const TIMEOUT: &str = "500";

/// Whether Linux runs the programs, to test these tests.
fn is_linux() -> bool {
    std::env::var_os("SYSTEM").is_some_and(|system| system == "linux")
}

/// How the disk is divided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The first sector of the file system.
    first: u64,
    /// How many sectors it has.
    sectors: u64,
    /// The sector of the raw partition behind it, on which promises are made.
    pub(crate) marker_sector: u64,
    /// Sectors of the whole disk.
    disk_sectors: u64,
}

impl Default for Layout {
    fn default() -> Self {
        let (first, sectors) = (MIB_SECTORS, 20 * MIB_SECTORS);
        Self { first, sectors, marker_sector: first + sectors, disk_sectors: first + sectors + MIB_SECTORS }
    }
}

impl Layout {
    /// The bytes of the file system.
    pub(crate) fn file_system_of(&self, disk: &Image) -> Vec<u8> {
        (self.first..self.first + self.sectors).flat_map(|sector| disk.get(sector)).collect()
    }

    /// The first of the two sectors that a superblock of ext has, 1 KiB from its beginning.
    pub(crate) fn superblock_sector(&self) -> u64 {
        self.first + 2
    }

    /// A partition table: the file system, and the raw partition.
    fn table(&self) -> Vec<u8> {
        let mut sector = vec![0; 512];
        for (at, first, sectors) in
            [(446, self.first, self.sectors), (462, self.marker_sector, self.disk_sectors - self.marker_sector)]
        {
            let word = |number: u64| u32::try_from(number).unwrap_or(0).to_le_bytes();
            sector[at + 4] = 0x83;
            sector[at + 8..at + 12].copy_from_slice(&word(first));
            sector[at + 12..at + 16].copy_from_slice(&word(sectors));
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }
}

/// Where the files of a scenario are.
pub(crate) struct Machine<'a> {
    scenario: &'a Scenario,
    root: PathBuf,
    /// The folder of everything made here.
    pub(crate) work: PathBuf,
    /// The program, which runs on the host too.
    pub(crate) program: PathBuf,
}

impl<'a> Machine<'a> {
    /// Finds the program, or builds it.
    ///
    /// # Errors
    /// Says what could not be built.
    pub(crate) fn new(scenario: &'a Scenario) -> Result<Self, String> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let work = target.join("powercut").join(scenario.name);
        // What an earlier run left.
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        let work = fs::canonicalize(&work).map_err(|error| error.to_string())?;
        let source = root.join("tests/powercut/program");
        let program = if scenario.uses_sqlite {
            succeed(Command::new("bash").arg(root.join("tests/apps/sqlite/build.sh")))?;
            std::env::var_os("APPS_DIR").map_or_else(|| target.join("apps"), PathBuf::from).join("sqlite/commits")
        } else {
            let program = work.join("appends");
            let flags = ["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o"];
            succeed(Command::new("musl-gcc").args(flags).arg(&program).arg(source.join("appends.c")))?;
            program
        };
        let program = fs::canonicalize(&program).map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self { scenario, root, work, program })
    }

    /// A folder of its own, empty.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// Makes the disk; its bytes.
    ///
    /// # Errors
    /// Says what went wrong.
    pub(crate) fn format(&self) -> Result<Vec<u8>, String> {
        let layout = Layout::default();
        let path = self.disk();
        let mut bytes = layout.table();
        bytes.resize(usize::try_from(layout.disk_sectors * SECTOR_LEN).map_err(|_| "the disk is too large")?, 0);
        fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let offset = format!("offset={},root_owner=0:0,lazy_itable_init=0", layout.first * SECTOR_LEN);
        let size = format!("{}k", layout.sectors / 2);
        let mut command = Command::new("mke2fs");
        command.args(["-q", "-F", "-E", &offset]).args(self.scenario.format).arg(&path).arg(size);
        succeed(&mut command)?;
        fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Runs the program in a machine with that disk; the recording.
    ///
    /// # Errors
    /// Says what went wrong.
    pub(crate) fn record(&self) -> Result<Vec<u8>, String> {
        let (image, log) = (self.work.join("image.elf"), self.work.join("log"));
        fs::write(&log, b"").map_err(|error| format!("{}: {error}", log.display()))?;
        let scenario = self.scenario;
        let arguments = ["run", "/data", "/dev/vda2", scenario.count, scenario.variant];
        let recorded = format!(
            "-blockdev driver=blklogwrites,node-name=recorded,file.driver=file,file.filename={},\
             log.driver=file,log.filename={}",
            self.disk().display(),
            log.display()
        );
        let mut run = if is_linux() {
            let mut run = Command::new(self.root.join("scripts/run-linux.sh"));
            run.env("APP", &self.program)
                .env("ARGS", arguments.join("\n"))
                .env("MOUNT", "/dev/vda1:/data:ext4")
                .env("QEMU_ARGS", format!("{recorded} -device virtio-blk-pci,drive=recorded,write-cache=on"));
            run
        } else {
            let mut build = Command::new(self.root.join("scripts/build-image.sh"));
            build.env("APP", &self.program).env("ARGS", arguments.join(" ")).env("OUT", &image);
            succeed(&mut build)?;
            let mut run = Command::new(self.root.join("scripts/run-qemu.sh"));
            run.env("IMAGE", &image)
                .env("MACHINE", "microvm")
                .env("MOUNT", "/dev/vda1:/data:ext4")
                .env("TIMEOUT", TIMEOUT)
                .env("QEMU_ARGS", format!("{recorded} -device virtio-blk-device,drive=recorded,write-cache=on"));
            run
        };
        succeed(run.env("CPUS", "2").env_remove("DISK"))?;
        fs::read(&log).map_err(|error| format!("{}: {error}", log.display()))
    }

    fn disk(&self) -> PathBuf {
        self.work.join("disk.img")
    }

    /// Removes what was made.
    pub(crate) fn remove(&self) {
        // Nothing depends on it.
        let _ = fs::remove_dir_all(&self.work);
    }
}

/// Runs a command that must succeed; what it says on the way is shown when it does not.
///
/// # Errors
/// What it said.
pub(crate) fn succeed(command: &mut Command) -> Result<String, String> {
    run(command, &[0])
}

/// As [`succeed`], for a command with other good ends.
///
/// # Errors
/// What it said.
pub(crate) fn run(command: &mut Command, good: &[i32]) -> Result<String, String> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.code().is_some_and(|code| good.contains(&code)) {
        return Ok(text(&output.stdout));
    }
    Err(format!("{name} ({}): {}{}", output.status, text(&output.stdout), text(&output.stderr)))
}
