//! Compiles and links the vDSO's image.
//!
//! The image is no crate of cargo's, for it has flags of its own and is linked by a script of its own. It needs `core` alone, which
//! every toolchain has for the host, and the host is x86-64 Linux (scripts/setup.sh): so the compiler's own target serves
//! wherever the image goes, and so does its linker, which the kernel's target needs too.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The sources besides this script.
const SOURCES: [&str; 6] =
    ["image/image.rs", "image/random.rs", "image/system_call.rs", "image/chacha20.s", "image/image.ld", "src/page.rs"];
/// The target whose `core` is taken; no operating system is asked for anything.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const PAGE_BYTES: usize = 4096;

fn main() {
    for source in SOURCES.iter().chain(&["build.rs"]) {
        println!("cargo:rerun-if-changed={source}");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let rustc = std::env::var_os("RUSTC").expect("cargo sets RUSTC");
    let (object, image) = (out.join("vdso.o"), out.join("vdso.so"));
    run(Command::new(&rustc)
        .args(["--crate-name", "vdso_image", "--crate-type", "lib", "--edition", "2024", "--target", TARGET])
        .args(["-Copt-level=3", "-Ccodegen-units=1", "-Cpanic=abort", "-Cdebuginfo=0", "-Coverflow-checks=off"])
        .args(["-Crelocation-model=pic", "-Cforce-unwind-tables=yes", "-Cforce-frame-pointers=no"])
        .arg("--emit=obj")
        .arg("-o")
        .arg(&object)
        .arg("image/image.rs"));
    run(Command::new(linker(&rustc))
        .args(["-flavor", "gnu", "-shared", "--hash-style=both", "--build-id=none", "--no-undefined"])
        .args(["-soname", "linux-vdso.so.1", "--eh-frame-hdr", "--strip-all", "--orphan-handling=error"])
        .args(["-z", "text", "-z", "norelro", "-z", "max-page-size=4096", "--gc-sections", "-T", "image/image.ld"])
        .arg("-o")
        .arg(&image)
        .arg(&object));
    let mut bytes = std::fs::read(&image).expect("the linker has written the image");
    // Section headers are of no use to a program.
    bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES), 0);
    std::fs::write(&image, bytes).expect("the image can be written");
}

/// The linker of the compiler.
fn linker(rustc: &std::ffi::OsStr) -> PathBuf {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().expect("the compiler runs");
    let sysroot = String::from_utf8(output.stdout).expect("paths of toolchains are UTF-8");
    Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("bin/rust-lld")
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
