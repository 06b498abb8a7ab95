//! File systems of the ext family on disks: what a program does to them, and what `e2fsck` says of them afterwards.

use std::fs;
use std::process::Command;

use super::{Bench, SCRIPT_TIMEOUT, check};
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Boot;

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
}

/// Runs a program of the host, which must succeed.
fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}:\n{}", String::from_utf8_lossy(&text)).into())
}
