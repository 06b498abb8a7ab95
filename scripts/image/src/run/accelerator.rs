//! Does KVM work here?
//!
//! A device file proves nothing: where virtualisation is itself emulated, guests may start and then die on common
//! instructions. So a tiny guest is booted that executes a few of them and ends QEMU with a status of its own. The answer
//! is kept until the host boots again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};
use rustix::stdio::stderr;
use rustix::termios::isatty;

use super::emulator::{accelerator_arguments, guarded, machine_arguments};
use super::settings::{Accelerator, Machine, Settings};
use crate::{Failure, Result};

/// The guest; see `probe.s`.
const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe.elf"));
/// What QEMU exits with when the guest wrote [`PROBE_CODE`] to its exit device.
const PROBE_STATUS: i32 = (PROBE_CODE << 1) | 1;
const PROBE_CODE: i32 = 0x2a;
/// A guest that runs takes a few hundred milliseconds, most of them QEMU's own.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const PROBE_POLL: Duration = Duration::from_millis(10);

/// Chooses what runs the machine.
///
/// # Errors
/// When KVM was asked for and there is none.
pub fn choose(settings: &Settings) -> Result<Accelerator> {
    let device = Path::new("/dev/kvm");
    let access = access(device, Access::READ_OK | Access::WRITE_OK);
    match (settings.accelerator, access) {
        (Some(Accelerator::Tcg), _) => Ok(Accelerator::Tcg),
        (Some(Accelerator::Kvm), Ok(())) => Ok(Accelerator::Kvm),
        (Some(Accelerator::Kvm), Err(error)) => Err(Failure::new(format!("ACCEL=kvm: {}: {error}", device.display()))),
        (None, Err(_)) => Ok(Accelerator::Tcg),
        (None, Ok(())) if does_kvm_work(settings) => Ok(Accelerator::Kvm),
        (None, Ok(())) => {
            // On a standard error that is not a terminal the program's own output stays alone.
            if settings.is_verbose || isatty(stderr()) {
                eprintln!("nacre: KVM does not run guests properly here, using the slower TCG");
            }
            Ok(Accelerator::Tcg)
        }
    }
}

fn does_kvm_work(settings: &Settings) -> bool {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let qemu = settings.qemu.to_string_lossy();
    let question = format!("{} {qemu} {}", boot.trim(), env!("CARGO_PKG_VERSION"));
    let cache = cache_file();
    if let Some((asked, answer)) = fs::read_to_string(&cache).ok().as_deref().and_then(|text| text.rsplit_once(' '))
        && asked == question
    {
        return answer == "works";
    }
    let works = probe(settings).unwrap_or(false);
    // Without the cache the question is asked again, that is all.
    let _ = fs::write(&cache, format!("{question} {}", if works { "works" } else { "fails" }));
    works
}

/// Beside this program, where it was built.
fn cache_file() -> PathBuf {
    let directory = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    directory.unwrap_or_else(std::env::temp_dir).join("kvm-probe")
}

fn probe(settings: &Settings) -> Result<bool> {
    let image = std::env::temp_dir().join(format!("nacre-probe-{}", std::process::id()));
    fs::write(&image, PROBE).map_err(|error| Failure::io(&image, &error))?;
    let result = boot(settings, &image);
    let _ = fs::remove_file(&image);
    result
}

fn boot(settings: &Settings, image: &Path) -> Result<bool> {
    let mut child = guarded(&settings.qemu)?
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "16M"])
        .args(machine_arguments(Machine::Microvm))
        .args(accelerator_arguments(Accelerator::Kvm, false))
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel"])
        .arg(image)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Failure::new(format!("QEMU: {error}")))?;
    let deadline = Instant::now() + PROBE_TIMEOUT;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Ok(status.code() == Some(PROBE_STATUS));
        }
        std::thread::sleep(PROBE_POLL);
    }
    let _ = child.kill();
    let _ = child.wait();
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_is_an_image_for_the_pvh_protocol() {
        let elf = goblin::elf::Elf::parse(PROBE).unwrap();
        let notes: Vec<_> = elf.iter_note_headers(PROBE).unwrap().collect::<std::result::Result<_, _>>().unwrap();
        assert!(notes.iter().any(|note| note.name == "Xen" && note.n_type == 18));
    }
}
