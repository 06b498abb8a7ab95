//! `SHARE=`: what a program finds in directories of the host, and what the host finds there afterwards.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::{Bench, SCRIPT_TIMEOUT, check};
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Boot;

/// Bytes of the file that the program writes.
const WRITTEN_LEN: usize = 1536 << 10;

impl Bench {
    /// A directory to be written, deep in the machine's tree, and one that is only read, where it is by default.
    pub(super) fn share(&self, machine: &'static str) -> Result<(), Failure> {
        let failed = |error: std::io::Error| error.to_string();
        let image = self.image("tests/qemu/share.c", |_| {})?;
        let (data, other) = (self.work.join("data"), self.work.join("other"));
        for directory in [&data, &other] {
            fs::create_dir(directory).map_err(failed)?;
        }
        let files = [
            ("data/from-host", "hello from the host"),
            ("data/to-be-removed", ""),
            ("data/appended", "some"),
            ("other/file", ""),
        ];
        for (name, contents) in files {
            fs::write(self.work.join(name), contents).map_err(failed)?;
            fs::set_permissions(self.work.join(name), Permissions::from_mode(0o644)).map_err(failed)?;
        }
        let mut command = self.tools.boot_command(&image, &Boot { machine, cpus: 2, ..Boot::default() });
        command.env("SHARE", format!("{}:/mnt/deep/data {},ro", data.display(), other.display()));
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        let expected = fs::read(self.tools.root.join("tests/qemu/share.txt")).map_err(failed)?;
        check(&output, &expected, b"", 0)?;

        let written = fs::read(data.join("link")).map_err(failed)?;
        let mut wanted: Vec<u8> = (0..WRITTEN_LEN).map(|at| (at / 7).to_le_bytes()[0]).collect();
        for (at, text) in [(4096, &b"stored\0"[..]), (4200, b"at the end\0")] {
            wanted[at..at + text.len()].copy_from_slice(text);
        }
        let attributes = fs::metadata(data.join("directory/renamed")).map_err(failed)?;
        let is_right = written == wanted
            && attributes.mode() == 0o100_604
            && fs::read(data.join("appended")).map_err(failed)? == b"some and more"
            && fs::metadata(data.join("from-host")).map_err(failed)?.nlink() == 2
            && !data.join("to-be-removed").exists();
        if is_right { Ok(()) } else { Err(format!("{machine}: the host finds something else in its directory")) }
    }
}
