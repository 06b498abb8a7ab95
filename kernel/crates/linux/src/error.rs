//! [`SyscallError`]: how a system call can end other than well.

use abi::Errno;

/// Why a handler has no result. Programs only ever see an error number; the restarts are resolved before they continue.
///
/// The restarts are variants of their own, and not one that holds a [`Restart`], so that all of it fits one register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyscallError {
    /// The program gets this error.
    Errno(Errno),
    /// A signal interrupted the call: [`Restart::IfAllowed`].
    RestartIfAllowed,
    /// A signal interrupted the call: [`Restart::Always`].
    RestartAlways,
    /// A signal interrupted the call: [`Restart::IfNoHandler`].
    RestartIfNoHandler,
    /// A signal interrupted the call: [`Restart::Continue`].
    RestartContinue,
}

const _: () = assert!(size_of::<SyscallError>() == size_of::<u64>());

/// What happens to an interrupted call once the signal is dealt with. The names in brackets are Linux's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// Issued again after a handler with `SA_RESTART` or when no handler ran, else `EINTR` (`ERESTARTSYS`).
    IfAllowed,
    /// Issued again always (`ERESTARTNOINTR`).
    Always,
    /// Issued again when no handler ran, else `EINTR` (`ERESTARTNOHAND`).
    IfNoHandler,
    /// Continued by `restart_syscall` when no handler ran, else `EINTR` (`ERESTART_RESTARTBLOCK`). The handler has left
    /// a [`crate::thread::Continuation`] with the thread.
    Continue,
}

impl From<Restart> for SyscallError {
    fn from(restart: Restart) -> Self {
        match restart {
            Restart::IfAllowed => Self::RestartIfAllowed,
            Restart::Always => Self::RestartAlways,
            Restart::IfNoHandler => Self::RestartIfNoHandler,
            Restart::Continue => Self::RestartContinue,
        }
    }
}

impl From<Errno> for SyscallError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// A wait ended because a signal is to be delivered, or the thread is to end. Callers say how their call restarts:
/// `.map_err(|Interrupted| ..)`, or `?` for the common [`Restart::IfAllowed`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted;

impl Interrupted {
    /// The error of a call that restarts like this.
    pub fn restart(self, restart: Restart) -> SyscallError {
        restart.into()
    }
}

impl From<Interrupted> for SyscallError {
    fn from(interrupted: Interrupted) -> Self {
        interrupted.restart(Restart::IfAllowed)
    }
}
