//! Disks: what a program finds on them, and what the host finds in their files.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Bench, SCRIPT_TIMEOUT, check, describe};
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Boot;

/// How long it may take to make and to check as many files as anybody asks for.
const MILLION_TIMEOUT: Duration = Duration::from_secs(3600);

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

    /// A FAT volume of the host that `MOUNT=` has mounted: what the program does there, and what the host's programs find.
    pub(super) fn disk_fat(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| error.to_string();
        let image = self.image("tests/qemu/disk_fat.c", |_| {})?;
        let (disk, hello) = (self.work.join("fat.img"), self.file("hello", b"hello from the host")?);
        let run = |program: &str, arguments: &[&OsStr]| {
            let mut command = Command::new(program);
            process::run(command.args(arguments), &Input::Empty, SCRIPT_TIMEOUT)
        };
        let word = OsStr::new;
        run("mkfs.fat", &[word("-F"), word("16"), word("-s"), word("1"), word("-C"), disk.as_os_str(), word("8192")])?;
        let copied = run("mcopy", &[word("-i"), disk.as_os_str(), hello.as_os_str(), word("::hello.txt")])?;
        check(&copied, b"", b"", 0)?;
        let mut command = self.tools.boot_command(&image, &Boot { cpus: 2, ..Boot::default() });
        command.env("DISK", &disk).env("MOUNT", "/dev/vda:/data none:/mnt:tmpfs:size=64k");
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        let expected = fs::read(self.tools.root.join("tests/qemu/disk_fat.txt")).map_err(failed)?;
        check(&output, &expected, b"", 0)?;
        let checked = run("fsck.fat", &[word("-n"), disk.as_os_str()])?;
        if checked.status != 0 {
            return Err(format!("fsck.fat: {}", String::from_utf8_lossy(&checked.stdout)));
        }
        let contents =
            |path: &str| run("mtype", &[word("-i"), disk.as_os_str(), word(path)]).map(|output| output.stdout);
        let mut wanted = vec![b'b'; 900_000];
        wanted[8096..8103].copy_from_slice(b"stored\0");
        let is_right = contents("::A new Folder/some file.text")? == wanted
            && contents("::a new folder/renamed")? == b"hello from the host"
            && contents("::last")? == b"the last words";
        if is_right { Ok(()) } else { Err("the host finds something else on the disk".to_owned()) }
    }

    /// `O_DIRECT` on ext4 and FAT: what the program says, and what the host's programs find.
    pub(super) fn disk_direct(&self) -> Result<(), Failure> {
        const SECTORS: u8 = 64;
        const ROUNDS: u8 = 40;
        let failed = |error: std::io::Error| error.to_string();
        let image = self.image("tests/qemu/direct.c", |_| {})?;
        let (ext, fat) = (self.file("ext.img", &vec![0; 8 << 20])?, self.file("fat.img", &vec![0; 8 << 20])?);
        let run = |program: &str, arguments: &[&str], disk: &Path, file: &str| {
            let mut command = Command::new(program);
            command.args(arguments).arg(disk).args((!file.is_empty()).then_some(file));
            process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)
        };
        run("mke2fs", &["-q", "-F", "-t", "ext4"], &ext, "")?;
        run("mkfs.fat", &["-F", "16", "-s", "1"], &fat, "")?;
        let mut command = self.tools.boot_command(&image, &Boot { cpus: 2, ..Boot::default() });
        command.env("DISK", format!("{} {}", ext.display(), fat.display()));
        command.env("MOUNT", "/dev/vda:/ext:ext4 /dev/vdb:/fat:vfat");
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        let expected = fs::read(self.tools.root.join("tests/qemu/direct.txt")).map_err(failed)?;
        check(&output, &expected, b"", 0)?;
        for (program, arguments, disk) in [("e2fsck", &["-f", "-n"][..], &ext), ("fsck.fat", &["-n"], &fat)] {
            let checked = run(program, arguments, disk, "")?;
            if checked.status != 0 {
                return Err(format!("{program}: {}", String::from_utf8_lossy(&checked.stdout)));
            }
        }
        // Who wrote each sector of this file last, and in which round, is in its byte.
        let letter = |sector: u8| if sector.is_multiple_of(2) { b'a' } else { b'A' } + (ROUNDS - 1 + sector) % 26;
        let wanted: Vec<u8> = (0..SECTORS).flat_map(|sector| [letter(sector); 512]).collect();
        let is_right = run("debugfs", &["-R", "cat both"], &ext, "")?.stdout == wanted
            && run("mtype", &["-i"], &fat, "::both")?.stdout == wanted;
        if is_right { Ok(()) } else { Err("the host finds something else on the disks".to_owned()) }
    }

    /// `FITRIM` on ext4 and FAT: what the program says, and what the host's programs find.
    pub(super) fn disk_trim(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/trim.c", |_| {})?;
        let (ext, fat) = (self.file("ext.img", &vec![0; 24 << 20])?, self.file("fat.img", &vec![0; 24 << 20])?);
        let run = |program: &str, arguments: &[&str], disk: &Path| {
            let mut command = Command::new(program);
            let output = process::run(command.args(arguments).arg(disk), &Input::Empty, SCRIPT_TIMEOUT)?;
            if output.status == 0 { Ok(()) } else { Err(format!("{program}: {}", describe(&output))) }
        };
        run("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "1024"], &ext)?;
        run("mkfs.fat", &["-F", "16", "-s", "1"], &fat)?;
        let mut command = self.tools.boot_command(&image, &Boot { cpus: 2, ..Boot::default() });
        command.env("DISK", format!("{} {}", ext.display(), fat.display()));
        command.env("MOUNT", "/dev/vda:/ext:ext4 /dev/vdb:/fat:vfat");
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        let expected = fs::read(self.tools.root.join("tests/qemu/trim.txt")).map_err(|error| error.to_string())?;
        check(&output, &expected, b"", 0)?;
        run("e2fsck", &["-f", "-n"], &ext)?;
        run("fsck.fat", &["-n"], &fat)
    }

    /// Many files in one directory of a disk, in little memory. `EXT_FILES` says how many; with it the time is told, there is more
    /// memory, as names lie in all blocks of the directory in turn, and the disk has blocks and a journal as a large one has.
    pub(super) fn disk_many_files(&self) -> Result<(), Failure> {
        const FILES: u64 = 12_000;
        let wanted = std::env::var("EXT_FILES").ok();
        let files = wanted.as_deref().and_then(|value| value.parse().ok()).unwrap_or(FILES);
        let image = self.image("tests/qemu/many.c", |request| {
            request.arguments = vec![files.to_string().into_bytes()];
            request.arguments.extend(wanted.clone().map(String::into_bytes));
        })?;
        let disk = self.file("many.img", b"")?;
        // An inode takes 256 bytes, and a name some 40 in blocks that are half full; a journal of 64 MiB comes on top.
        let file = fs::OpenOptions::new().write(true).open(&disk).map_err(|error| error.to_string())?;
        file.set_len((128 << 20) + files * 450).map_err(|error| error.to_string())?;
        let inodes = (files + files / 500 + 100).to_string();
        let mut command = Command::new("mke2fs");
        command.args(["-q", "-F", "-t", "ext4", "-m", "0", "-N", &inodes]);
        command.args(if wanted.is_some() { &["-b", "4096", "-J", "size=64"][..] } else { &["-b", "1024"] }).arg(&disk);
        check(&process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?, b"", b"", 0)?;
        let memory_mib = if wanted.is_some() { 512 } else { 32 };
        let mut command = self.tools.boot_command(&image, &Boot { memory_mib, cpus: 2, ..Boot::default() });
        command.env("DISK", &disk).env("MOUNT", "/dev/vda:/data:ext4");
        let output =
            process::run(&mut command, &Input::Empty, if wanted.is_some() { MILLION_TIMEOUT } else { SCRIPT_TIMEOUT })?;
        let expected = b"mkdir 0\nall made 1\nall listed 1\nfound 2000\nfound that are not there 0\nmade twice -1\n\
            some removed 1\nthe others listed 1\nall removed 1\nrmdir 0\n";
        if wanted.is_some() {
            println!("{}", String::from_utf8_lossy(&output.stderr));
        }
        if output.stdout != expected || output.status != 0 {
            return Err(describe(&output));
        }
        let mut command = Command::new("e2fsck");
        let checked = process::run(command.args(["-f", "-n"]).arg(&disk), &Input::Empty, MILLION_TIMEOUT)?;
        if checked.status == 0 { Ok(()) } else { Err(format!("e2fsck: {}", String::from_utf8_lossy(&checked.stdout))) }
    }

    /// Programs that end in the middle of things: disks are unmounted, with nothing on them that has no name.
    pub(super) fn disk_unnamed(&self) -> Result<(), Failure> {
        let run = |program: &str, arguments: &[&str], disk: &Path, file: &str| {
            let mut command = Command::new(program);
            command.args(arguments).arg(disk).args((!file.is_empty()).then_some(file));
            process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)
        };
        for (way, status) in [("exit", 0), ("fault", 128 + 11), ("memory", 128 + 9)] {
            let image = self.image("tests/qemu/unnamed.c", |request| request.arguments = vec![way.into()])?;
            let (ext, fat) = (self.file("ext.img", &vec![0; 8 << 20])?, self.file("fat.img", &vec![0; 8 << 20])?);
            run("mke2fs", &["-q", "-F", "-t", "ext4"], &ext, "")?;
            run("mkfs.fat", &["-F", "16", "-s", "1"], &fat, "")?;
            let boot = Boot { memory_mib: 32, cpus: 2, ..Boot::default() };
            let mut command = self.tools.boot_command(&image, &boot);
            command.env("DISK", format!("{} {}", ext.display(), fat.display()));
            command.env("MOUNT", "/dev/vda:/ext:ext4 /dev/vdb:/fat:vfat");
            let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
            let said = String::from_utf8_lossy(&output.stderr);
            if output.stdout != b"ready\n" || output.status != status || said.contains("unmounting failed") {
                return Err(format!("{way}: {}", describe(&output)));
            }
            for (program, arguments, disk) in [("e2fsck", &["-f", "-n"][..], &ext), ("fsck.fat", &["-n"], &fat)] {
                let checked = run(program, arguments, disk, "")?;
                if checked.status != 0 {
                    return Err(format!("{way}, {program}: {}", String::from_utf8_lossy(&checked.stdout)));
                }
            }
            let wanted = vec![b'k'; 5 * 4096];
            let is_kept = run("debugfs", &["-R", "cat kept"], &ext, "")?.stdout == wanted
                && run("mtype", &["-i"], &fat, "::kept")?.stdout == wanted;
            if !is_kept {
                return Err(format!("{way}: what was stored in a mapping is not on the disks"));
            }
        }
        Ok(())
    }

    /// A mapped file of four times the memory, on ext4 and FAT: what the program finds in it, and what the host says of the disks.
    pub(super) fn disk_mapped(&self) -> Result<(), Failure> {
        const FILE_MIB: u64 = 48;
        const MEMORY_MIB: u32 = 12;
        let failed = |error: std::io::Error| error.to_string();
        let image =
            self.image("tests/qemu/mapped.c", |request| request.arguments = vec![FILE_MIB.to_string().into_bytes()])?;
        let (ext, fat) = (self.file("ext.img", b"")?, self.file("fat.img", b"")?);
        let run = |program: &str, arguments: &[&str], disk: &Path| {
            let mut command = Command::new(program);
            let output = process::run(command.args(arguments).arg(disk), &Input::Empty, SCRIPT_TIMEOUT)?;
            if output.status == 0 { Ok(()) } else { Err(format!("{program}: {}", describe(&output))) }
        };
        for disk in [&ext, &fat] {
            let file = fs::File::options().write(true).open(disk);
            file.and_then(|file| file.set_len((FILE_MIB + 16) << 20)).map_err(failed)?;
        }
        run("mke2fs", &["-q", "-F", "-t", "ext4"], &ext)?;
        run("mkfs.fat", &["-F", "16", "-s", "8"], &fat)?;
        let boot = Boot { memory_mib: MEMORY_MIB, cpus: 2, timeout: SCRIPT_TIMEOUT, ..Boot::default() };
        let mut command = self.tools.boot_command(&image, &boot);
        command.env("DISK", format!("{} {}", ext.display(), fat.display()));
        command.env("MOUNT", "/dev/vda:/ext:ext4 /dev/vdb:/fat:vfat");
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        let expected = fs::read(self.tools.root.join("tests/qemu/mapped.txt")).map_err(failed)?;
        check(&output, &expected, b"", 0)?;
        run("e2fsck", &["-f", "-n"], &ext)?;
        run("fsck.fat", &["-n"], &fat)
    }

    /// What cannot be mounted ends the machine with a message.
    pub(super) fn mount_refused(&self) -> Result<(), Failure> {
        let image = self.image("tests/binaries/hello.c", |_| {})?;
        let disk = self.file("disk.img", &vec![0; 1 << 20])?;
        for (mount, reason) in [
            ("/dev/vda:/data", "cannot mount /dev/vda on /data: it holds no file system that is known"),
            ("/dev/vda:/data:vfat", "cannot mount /dev/vda on /data: EINVAL"),
            ("/dev/vdb:/data:vfat", "cannot mount /dev/vdb on /data: ENOENT"),
            ("none:/data:color", "cannot mount none on /data: no type color"),
        ] {
            let mut command = self.tools.boot_command(&image, &Boot::default());
            command.env("DISK", &disk).env("MOUNT", mount);
            let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status != 125 || !said.contains(reason) || !output.stdout.is_empty() {
                return Err(format!("{mount}: status {}, {said}", output.status));
            }
        }
        Ok(())
    }
}
