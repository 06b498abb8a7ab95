//! `VSOCK=`: sockets of a machine with itself and with its host.

use std::fs;

use super::{Bench, SCRIPT_TIMEOUT, check};
use crate::process::{self, Input};
use crate::schedule::Failure;
use crate::tools::Boot;
use crate::vsock;

impl Bench {
    /// The host is played by `crate::vsock`, through vhost-user: few machines may load the kernel's own end.
    pub(super) fn vsock(&self, machine: &'static str, cpus: u32) -> Result<(), Failure> {
        let image = self.image("tests/qemu/vsock.c", |_| {})?;
        // The whole path may be longer than a socket's name.
        let socket = std::env::temp_dir().join(format!("nacre-vsock-{}-{machine}", std::process::id()));
        vsock::serve(&socket)?;
        let mut command = self.tools.boot_command(&image, &Boot { machine, cpus, ..Boot::default() });
        command.env("VSOCK", format!("socket:{}", socket.display()));
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT);
        let _ = fs::remove_file(&socket);
        let expected = fs::read(self.tools.root.join("tests/qemu/vsock.txt")).map_err(|error| error.to_string())?;
        check(&output?, &expected, b"", 0)
    }
}
