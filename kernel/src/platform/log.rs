//! The kernel log: lines on the serial port, at the level the command line asks for, and in what programs read of it.

use core::fmt::Write;

use firmware::command_line::LogLevel;
use linux::kernel_log;
use log::{Level, LevelFilter, Log, Metadata, Record};
use sync::Once;

use crate::arch::clock;
use crate::drivers::serial;

struct SerialLog;

impl Log for SerialLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now = clock::now_ns();
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        let priority = match record.level() {
            Level::Error => kernel_log::level::ERROR,
            Level::Warn => kernel_log::level::WARNING,
            Level::Info => kernel_log::level::INFO,
            Level::Debug | Level::Trace => kernel_log::level::DEBUG,
        };
        kernel_log::add(priority, format_args!("{}: {}", record.target(), record.args()));
        if record.level() > *CONSOLE_LEVEL.get().unwrap_or(&LevelFilter::Error) {
            return;
        }
        let mut line = serial::Line::begin();
        let (seconds, micros) = (now / 1_000_000_000, now / 1000 % 1_000_000);
        let _ = writeln!(line, "[{seconds:4}.{micros:06}] {level}: {}: {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

static LOG: SerialLog = SerialLog;
static CONSOLE_LEVEL: Once<LevelFilter> = Once::new();

/// Starts logging at `level`; errors alone when the command line says nothing.
pub(crate) fn init(level: Option<LogLevel>) {
    let filter = match level {
        Some(LogLevel::Off) => LevelFilter::Off,
        Some(LogLevel::Error) | None => LevelFilter::Error,
        Some(LogLevel::Warn) => LevelFilter::Warn,
        Some(LogLevel::Info) => LevelFilter::Info,
        Some(LogLevel::Debug) => LevelFilter::Debug,
        Some(LogLevel::Trace) => LevelFilter::Trace,
    };
    CONSOLE_LEVEL.call_once(|| filter);
    if log::set_logger(&LOG).is_ok() {
        // Programs may read more than the console shows, unless nobody wants anything.
        log::set_max_level(if filter == LevelFilter::Off { filter } else { filter.max(LevelFilter::Info) });
    }
}
