//! `nacre-run`: boots an image in QEMU with the caller's standard streams. Called by `scripts/run-qemu.sh`.

use std::process::ExitCode;

use image_builder::run::emulator::{GUARD_OPTION, become_guarded};
use image_builder::run::settings::{Settings, USAGE};
use image_builder::run::{STATUS_UNKNOWN, run};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let failure = match (arguments.next(), arguments.next()) {
        (None, _) => match Settings::read(|name| std::env::var_os(name)).and_then(|settings| run(&settings)) {
            Ok(status) => return ExitCode::from(status),
            Err(failure) => failure.to_string(),
        },
        (Some(option), Some(parent)) if option == GUARD_OPTION => {
            // The parent passes it on to the user.
            eprintln!("{}", become_guarded(&parent, arguments));
            return ExitCode::from(STATUS_UNKNOWN);
        }
        _ => USAGE.to_owned(),
    };
    eprintln!("nacre: {failure}");
    ExitCode::from(STATUS_UNKNOWN)
}
