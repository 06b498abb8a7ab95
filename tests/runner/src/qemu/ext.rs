//! File systems of the ext family on disks: what a program does to them, and what `e2fsck` says of them afterwards.

use std::fs;
use std::process::Command;

use super::{Bench, MACHINES, SCRIPT_TIMEOUT, check};
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Boot;

/// How often the power is cut.
const CUTS: u32 = 4;
/// Bytes of a disk.
const LEN: usize = 32 << 20;

impl Bench {
    /// An ext2 and an ext4 with journal, used by one program.
    pub(super) fn ext(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/ext.c", |_| {})?;
        let expected = fs::read(self.tools.root.join("tests/qemu/ext.txt")).map_err(|error| error.to_string())?;
        let kinds = [("one.img", ["-t", "ext2", "-b", "1024"]), ("two.img", ["-t", "ext4", "-b", "4096"])];
        let mut disks = Vec::new();
        for (name, options) in kinds {
            let disk = self.file(name, &vec![0; LEN])?;
            run(Command::new("mke2fs").args(["-q", "-F"]).args(options).arg(&disk))?;
            disks.push(disk);
        }
        let mut command = self.tools.boot_command(&image, &Boot { cpus: 2, ..Boot::default() });
        command.env("DISK", format!("{} {}", disks[0].display(), disks[1].display()));
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        check(&output, &expected, b"", 0)?;
        disks.iter().try_for_each(|disk| run(Command::new("e2fsck").args(["-f", "-n"]).arg(disk)))
    }

    /// The emulator takes the disk away while the program writes to it.
    pub(super) fn ext_removed(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/removed.c", |_| {})?;
        let disk = self.file("removed.img", &vec![0; LEN])?;
        let expected = fs::read(self.tools.root.join("tests/qemu/removed.txt")).map_err(|error| error.to_string())?;
        for machine in MACHINES {
            run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&disk))?;
            let mut emulator = self.tools.boot_command(&image, &Boot { machine, ..Boot::default() });
            emulator.env("DISK", &disk).env("MOUNT", "/dev/vda:/data:ext4");
            let ended = self.command_to(emulator, b"drive_del disk0\n")?;
            if ended.stdout != expected || ended.status.code() != Some(0) {
                let said = String::from_utf8_lossy(&ended.stdout).into_owned();
                return Err(format!("{machine}: {:?}, {said}", ended.status));
            }
        }
        Ok(())
    }

    /// The emulator ends in the middle of writes, several times: the program finds what it synchronized.
    pub(super) fn ext_power_cut(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/ext_cut.c", |_| {})?;
        let disk = self.file("cut.img", &vec![0; LEN])?;
        run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-b", "1024"]).arg(&disk))?;
        let mut told = 0;
        for round in 0..CUTS {
            let boot = Boot { cpus: 1 + round % 2, ..Boot::default() };
            let mut emulator = self.tools.boot_command(&image, &boot);
            emulator.env("DISK", &disk);
            let ended = self.command_to(emulator, b"quit\n")?;
            let text = String::from_utf8_lossy(&ended.stdout);
            // The last line may have been cut as well.
            let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
            let mut counts = complete.lines().map_while(|line| line.parse::<u32>().ok());
            let found = counts.next().ok_or_else(|| format!("it said {text:?}"))?;
            if found < told {
                return Err(format!("{told} records were synchronized, and {found} are there"));
            }
            told = counts.last().unwrap_or(found);
        }
        // Status 1: something was done, which is the replaying.
        let replayed =
            Command::new("e2fsck").args(["-f", "-y"]).arg(&disk).output().map_err(|error| error.to_string())?;
        if !matches!(replayed.status.code(), Some(0 | 1)) || told == 0 {
            return Err(format!("{told} records, e2fsck:\n{}", String::from_utf8_lossy(&replayed.stdout)));
        }
        run(Command::new("e2fsck").args(["-f", "-n"]).arg(&disk))
    }
}

/// Runs a program of the host, which must succeed.
fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}:\n{}", String::from_utf8_lossy(&text)))
}
