//! Writes the system call support list to standard output: `... --example syscalls_md > docs/SYSCALLS.md`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    let mut document = String::new();
    abi::documentation::write_markdown(&mut document).map_err(std::io::Error::other)?;
    std::io::stdout().write_all(document.as_bytes())
}
