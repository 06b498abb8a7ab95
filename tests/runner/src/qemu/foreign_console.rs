//! Virtio consoles that somebody else has ports of.

use std::process::Command;

use super::{Bench, SCRIPT_TIMEOUT};
use crate::case::describe;
use crate::process::{self, Input};
use crate::schedule::Failure;

impl Bench {
    /// A virtio console with none of the kernel's ports is soon done with, whatever ports it has, and the serial port
    /// carries the program.
    pub(super) fn foreign_console(&self) -> Result<(), Failure> {
        let image = self.image("tests/binaries/hello.c", |_| {})?;
        let ports = ["", "virtconsole,nr=0,chardev=none", "virtserialport,nr=12,chardev=none,name=another"];
        for (machine, device) in
            [("microvm,pit=on,pic=on,rtc=on", "virtio-serial-device"), ("q35", "virtio-serial-pci")]
        {
            for port in ports {
                let mut command = Command::new("qemu-system-x86_64");
                let options = "-accel tcg -cpu max -m 64 -nodefaults -display none -serial stdio -no-reboot";
                command.args(["-M", machine]).args(options.split(' ')).args(["-append", "log=warn"]);
                command.args(["-device", &format!("{device},max_ports=16"), "-chardev", "null,id=none"]);
                if !port.is_empty() {
                    command.args(["-device", port]);
                }
                let output = process::run(command.arg("-kernel").arg(&image), &Input::Empty, SCRIPT_TIMEOUT)?;
                if output.stdout != b"hello, world\r\n" && output.stdout != b"hello, world\n" {
                    return Err(format!("{machine}, {port}: {}", describe(&output)));
                }
            }
        }
        Ok(())
    }
}
