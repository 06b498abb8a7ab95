//! Bad input: every refusal names the cause, and nothing is run.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Bench, SCRIPT_TIMEOUT, check, without_progress};
use crate::process::{self, Input};
use crate::schedule::Failure;

impl Bench {
    /// Whatever is given for a program, one line says what is wrong with it, and no image is made.
    pub(super) fn bad_programs(&self) -> Result<(), Failure> {
        let program = self.work.join("program");
        self.tools.compile(&self.tools.root.join("tests/binaries/hello.c"), &program, false, &[])?;
        let good = fs::read(&program).map_err(|error| error.to_string())?;
        let changed = |position: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[position] = value;
            bytes
        };
        let cases = [
            ("empty", Vec::new(), "the file is empty"),
            ("text", b"hello\n".to_vec(), "not an ELF file"),
            ("script", b"#!/bin/sh\n".to_vec(), "a script, not an ELF program: give /bin/sh as the program"),
            ("class", changed(4, 1), "a 32-bit ELF file, only 64-bit programs can run"),
            ("machine", changed(18, 0xb7), "built for AARCH64, only x86-64 programs can run"),
            ("object", changed(16, 1), "an object file, not a linked program"),
            ("header", good[..40].to_vec(), "truncated: the ELF header lies beyond the end of the file"),
            ("headers", good[..100].to_vec(), "truncated: the program header table lies beyond the end of the file"),
            ("segments", good[..5000].to_vec(), "truncated: a segment lies beyond the end of the file"),
        ];
        for (name, bytes, expected) in cases {
            let path = self.file(name, &bytes)?;
            self.refused(&path, &format!("image: {}: {expected}\n", path.display()))?;
        }
        let missing = self.work.join("missing");
        self.refused(&missing, &format!("image: {}: no such file or directory\n", missing.display()))?;
        let dynamic = self.work.join("dynamic");
        let mut command = Command::new("cc");
        command.arg("-o").arg(&dynamic).arg(self.tools.root.join("tests/binaries/hello.c"));
        check(&process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?, b"", b"", 0)?;
        let words = "dynamically linked (interpreter /lib64/ld-linux-x86-64.so.2), which is not supported yet";
        self.refused(&dynamic, &format!("image: {}: {words}: link it with -static\n", dynamic.display()))
    }

    fn refused(&self, app: &Path, message: &str) -> Result<(), Failure> {
        let image = self.work.join("image");
        let mut command = self.script("build-image.sh");
        command.env("APP", app).env("OUT", &image).env("KERNEL", self.tools.kernel());
        let output = without_progress(process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?);
        check(&output, b"", message.as_bytes(), 1)?;
        if image.exists() { Err("there is an image all the same".to_owned()) } else { Ok(()) }
    }

    pub(super) fn bad_settings(&self) -> Result<(), Failure> {
        let image = self.image("tests/binaries/hello.c", |_| {})?;
        let no_image = self.file("no-image", b"hello")?;
        for (name, value, expected) in [
            ("MACHINE", "isapc", "nacre: MACHINE=isapc: it should be microvm, q35 or pc\n".to_owned()),
            ("MEM", "much", "nacre: MEM=much: it should be a size like 256M\n".to_owned()),
            ("IMAGE", "/nowhere", "nacre: /nowhere: no such file or directory\n".to_owned()),
            (
                "IMAGE",
                &no_image.to_string_lossy(),
                format!("nacre: {}: not an image: make one with make image APP=program\n", no_image.display()),
            ),
            ("QEMU", "/nowhere/qemu", "nacre: /nowhere/qemu is not installed: run make setup\n".to_owned()),
            ("QEMU_ARGS", "-wrong", "nacre: qemu-system-x86_64: -wrong: invalid option\n".to_owned()),
        ] {
            let mut command = self.script("run-qemu.sh");
            command.env("IMAGE", &image).env(name, value);
            let output = without_progress(process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?);
            check(&output, b"", expected.as_bytes(), 125).map_err(|error| format!("{name}={value}: {error}"))?;
        }
        Ok(())
    }
}
