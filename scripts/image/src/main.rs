//! `image-builder`: one self-contained image from a program, its files and the kernel.
//!
//! Called by `scripts/build-image.sh`, which knows the defaults.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;

use image_builder::analysis::{self, Analysis};
use image_builder::build::{Request, Summary, build, megabytes};
use image_builder::{Failure, Result, report, words};

const USAGE: &str = "usage: image-builder --app FILE --kernel FILE --output FILE [--arguments WORDS] \
                     [--environment WORDS] [--files DIR] [--cwd DIR] [--network CONFIGURATION] \
                     [--base DIR] [--cache DIR] [--packed 0|1] [--root KIND]";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|option| option == "--analyse").is_some() {
        return print_analyses(arguments, report::in_full);
    }
    if arguments.next_if(|option| option == "--table").is_some() {
        print!("{}", report::TABLE_HEAD);
        return print_analyses(arguments, report::as_row);
    }
    let result = parse(arguments).and_then(|request| Ok((build(&request)?, request)));
    match result {
        Ok((summary, request)) => {
            if std::env::var_os("VERBOSE").is_some_and(|value| value == "1") {
                for (name, analysis) in &summary.analyses {
                    print!("{}", report::in_full(name, analysis));
                }
            }
            println!("{}", describe(&summary, &request));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("image: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what the analysis finds in programs.
fn print_analyses(files: impl Iterator<Item = OsString>, report: fn(&str, &Analysis) -> String) -> ExitCode {
    for file in files.map(PathBuf::from) {
        match std::fs::read(&file) {
            Ok(bytes) => print!("{}", report(&file.display().to_string(), &analysis::analyse(&bytes))),
            Err(error) => {
                eprintln!("image: {}", Failure::io(&file, &error));
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Request> {
    let mut request = Request::default();
    let mut arguments = arguments;
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| Failure::new(USAGE))?;
        match option.to_str() {
            Some("--app") => request.app = value.into(),
            Some("--kernel") => request.kernel = value.into(),
            Some("--output") => request.output = value.into(),
            Some("--arguments") => request.arguments = split("ARGS", value)?,
            Some("--environment") => request.environment = split("ENV", value)?,
            Some("--files") => request.files = Some(value.into()),
            Some("--cwd") => request.cwd = Some(value.into()),
            Some("--network") => {
                request.network = value.into_string().map_err(|_| Failure::new("NETCFG: it is not text"))?;
            }
            Some("--base") => request.base = Some(value.into()),
            Some("--cache") => request.cache = Some(value.into()),
            Some("--root") => {
                request.root = Some(value.into_string().map_err(|_| Failure::new("ROOT: it is not text"))?);
            }
            Some("--packed") if value == "0" || value == "1" => request.is_packed = value == "1",
            _ => return Err(Failure::new(USAGE)),
        }
    }
    let is_missing = |path: &PathBuf| path.as_os_str().is_empty();
    if [&request.app, &request.kernel, &request.output].into_iter().any(is_missing) {
        return Err(Failure::new(USAGE));
    }
    Ok(request)
}

fn split(variable: &str, value: OsString) -> Result<Vec<Vec<u8>>> {
    words::split(&value.into_vec()).map_err(|error| Failure::new(format!("{variable}: {error}")))
}

fn describe(summary: &Summary, request: &Request) -> String {
    format!(
        "{}: {} ({}) and {} files, {}; {}; kernel {}; {} in all",
        request.output.display(),
        request.app.display(),
        summary.program.linkage,
        summary.file_count - 1,
        megabytes(summary.files_size),
        report::in_short(&summary.analyses),
        megabytes(summary.kernel_size),
        megabytes(summary.image_size),
    )
}
