//! The image's files: packed ones, and how little many of them cost when the machine starts.

use std::fs;
use std::path::Path;
use std::process::Command;

use image_builder::disk_root;

use super::{Bench, SCRIPT_TIMEOUT, check};
use crate::case::describe;
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Boot;

/// Files of the large archive.
const FILES: usize = 10_000;
/// Instructions that they may cost at the start: those of a millisecond on a slow processor.
const INSTRUCTIONS_MAX: u64 = 1_000_000;

impl Bench {
    /// A program whose own file is packed runs, with its instructions changed where they must be.
    pub(super) fn packed(&self) -> Result<(), Failure> {
        let mut sizes = Vec::new();
        for is_packed in [false, true] {
            let image = self.image("tests/binaries/hello.c", |request| request.is_packed = is_packed)?;
            sizes.push(fs::metadata(&image).map_err(|error| error.to_string())?.len());
            let output = self.boot(&image, "microvm", &Input::Empty)?;
            check(&output, b"hello, world\n", b"", 0)?;
        }
        if sizes[1] < sizes[0] { Ok(()) } else { Err(format!("packing changed {} bytes to {}", sizes[0], sizes[1])) }
    }

    /// Counts the instructions from the start to the end of a program with few files beside it, and with many.
    pub(super) fn many_files(&self) -> Result<(), Failure> {
        let few = self.count_instructions(0)?;
        let many = self.count_instructions(FILES)?;
        let more = many.saturating_sub(few);
        if more <= INSTRUCTIONS_MAX {
            Ok(())
        } else {
            Err(format!("{FILES} files cost {more} instructions at the start"))
        }
    }

    /// A root on a disk: it has the files, what is written stays, and the host finds it sound afterwards.
    pub(super) fn root_disk(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/root.c", |request| request.root = Some("ext4".to_owned()))?;
        for run in 1..=2 {
            let output = self.boot(&image, "microvm", &Input::Empty)?;
            let expected = format!("type ef53, owner 0, mode 755\nrun {run} of 1\nrefused\n");
            check(&output, expected.as_bytes(), b"", 0)?;
        }
        let mut command = Command::new("e2fsck");
        command.args(["-f", "-n"]).arg(disk_root::path_of(&image)).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        if output.status == 0 { Ok(()) } else { Err(format!("the disk is not sound: {}", describe(&output))) }
    }

    fn count_instructions(&self, files: usize) -> Result<u64, Failure> {
        let directory = self.work.join(format!("files-{files}"));
        make_files(&directory, files).map_err(|error| format!("{}: {error}", directory.display()))?;
        let image = self.image("tests/binaries/hello.c", |request| request.files = Some(directory.clone()))?;
        let mut command = self.tools.boot_command(&image, &Boot::default());
        // One instruction a nanosecond, so the times in the log count them.
        command.env("QEMU_ARGS", "-icount shift=0,sleep=off").env("ACCEL", "tcg").env("LOG", "info");
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = log.lines().find(|line| line.contains("the program ended"));
        let time = last.and_then(|line| line.trim_start_matches('[').split(']').next());
        let digits: String = time.unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
        // Microseconds.
        digits.parse::<u64>().map(|time| time * 1000).map_err(|_| describe(&output))
    }
}

/// Makes files of a few bytes in a hundred directories.
fn make_files(root: &Path, count: usize) -> std::io::Result<()> {
    fs::create_dir(root)?;
    for number in 0..count {
        let directory = root.join((number % 100).to_string());
        if number < 100 {
            fs::create_dir(&directory)?;
        }
        fs::write(directory.join(format!("a-file-with-a-name-{number}")), number.to_string())?;
    }
    Ok(())
}
