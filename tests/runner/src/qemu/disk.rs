//! Disks: what a program finds on them, and what the host finds in their files.

use std::fs;

use super::{Bench, SCRIPT_TIMEOUT, check};
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Boot;

impl Bench {
    /// Disks by their raw names: what the program says of them, and what is in the files afterwards.
    pub(super) fn disk(&self, machine: &'static str) -> Result<(), Failure> {
        const MIB: usize = 1 << 20;
        let image = self.image("tests/qemu/disk.c", |_| {})?;
        let mut bytes = vec![0; 12 * MIB];
        // A primary partition of 1 MiB, one with one sector too many, and a logical one.
        for (at, kind, first, sectors) in
            [(446, 0x83_u8, 20_480_u32, 2048_u32), (462, 0x83, 22_528, 2049), (478, 0x05, 22_528, 2048)]
        {
            bytes[at + 4] = kind;
            bytes[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
            bytes[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        }
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        let (disk, small) = (self.file("disk.img", &bytes)?, self.file("small.img", &vec![7; 3 * 512])?);
        for cpus in [1, 2] {
            let mut command = self.tools.boot_command(&image, &Boot { machine, cpus, ..Boot::default() });
            command.env("DISK", format!("{} {},ro", disk.display(), small.display()));
            let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
            let expected = fs::read(self.tools.root.join("tests/qemu/disk.txt")).map_err(|error| error.to_string())?;
            check(&output, &expected, b"", 0)?;
            let found = fs::read(&disk).map_err(|error| error.to_string())?;
            let chunk = |number: usize, offset: usize| u8::try_from((number * 31 + offset / 512) % 256);
            let is_right = (4096..8 * MIB).step_by(64).all(|at| Ok(found[MIB + at]) == chunk(at >> 16, at & 0xffff));
            let has_words =
                found[10 * MIB..].starts_with(b"first\0") && found[10 * MIB + 100..].starts_with(b"second\0");
            if !is_right || !has_words || !found.ends_with(b"end") || found.len() != bytes.len() {
                return Err(format!("{machine}, {cpus} CPUs: the disk holds something else"));
            }
            fs::write(&disk, &bytes).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
