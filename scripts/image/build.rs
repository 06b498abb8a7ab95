//! Assembles the guest that `nacre-run` boots to find out whether KVM works.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/run/probe.s");
    let directory = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = Command::new(compiler)
        .args(["-nostdlib", "-static", "-no-pie", "-x", "assembler", "src/run/probe.s"])
        .args(["-Wl,-Ttext-segment=0x100000", "-Wl,--build-id=none", "-Wl,-e,pvh_entry", "-Wl,-z,noexecstack", "-o"])
        .arg(directory.join("probe.elf"))
        .status()
        .expect("a C compiler is needed to assemble the probe");
    assert!(status.success(), "the probe could not be assembled");
}
