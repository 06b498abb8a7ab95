//! [`SyscallError`]: how a system call can end other than well.

use abi::Errno;

/// Why a handler has no result. Programs only ever see an error number; the restarts are resolved before they continue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyscallError {
    /// The program gets this error.
    Errno(Errno),
    /// A signal interrupted the call; whether it is issued again depends on the signal.
    Restart(Restart),
}

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
        SyscallError::Restart(restart)
    }
}

impl From<Interrupted> for SyscallError {
    fn from(interrupted: Interrupted) -> Self {
        interrupted.restart(Restart::IfAllowed)
    }
}
