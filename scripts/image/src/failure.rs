//! What the tools say when they cannot do what was asked: one line for the user.

use std::fmt;
use std::io;
use std::path::Path;

/// The result of everything that can fail because of what the user gave.
pub type Result<T> = std::result::Result<T, Failure>;

/// One line that says what is wrong, and what to do if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure with this line.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// An input or output error with a file.
    pub fn io(path: &Path, error: &io::Error) -> Self {
        Self(format!("{}: {}", path.display(), describe(error)))
    }
}

/// The system's words for an error, without the number that `std` adds.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}
