//! [`SignalTable`]: what a process does with each signal, and what happens by default.

use abi::{Sigaction, SigactionFlags, Signal, Sigset};
use sync::{IrqSpinLock, rank};

/// What happens with a signal nobody handles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultAction {
    /// The process ends.
    Terminate,
    /// Nothing.
    Ignore,
    /// The process stops until `SIGCONT`.
    Stop,
}

/// What happens with a signal nobody handles. `SIGCONT` continues a process when it is sent, whatever comes later.
pub fn default_action(signal: Signal) -> DefaultAction {
    const IGNORED: Sigset = Sigset::of(&[Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGURG, Signal::SIGWINCH]);
    if IGNORED.contains(signal) {
        DefaultAction::Ignore
    } else if Sigset::STOP.contains(signal) {
        DefaultAction::Stop
    } else {
        DefaultAction::Terminate
    }
}

/// The actions of a process, one for each signal. May be used with a process's or a thread's signals locked.
pub struct SignalTable {
    actions: IrqSpinLock<Actions>,
}

/// What the lock protects.
struct Actions([Sigaction; Signal::MAX as usize]);

impl Actions {
    fn new() -> Self {
        Self([Sigaction::zeroed(); Signal::MAX as usize])
    }

    fn get(&self, signal: Signal) -> Sigaction {
        self.0[signal.index()]
    }

    fn replace(&mut self, signal: Signal, action: Sigaction) -> Sigaction {
        core::mem::replace(&mut self.0[signal.index()], action)
    }

    fn take_for_delivery(&mut self, signal: Signal) -> Sigaction {
        let current = self.get(signal);
        if current.handler > Sigaction::SIG_IGN && current.flags().contains(SigactionFlags::RESETHAND) {
            self.0[signal.index()].handler = Sigaction::SIG_DFL;
        }
        current
    }

    fn ignores(&self, signal: Signal) -> bool {
        match self.get(signal).handler {
            Sigaction::SIG_IGN => true,
            Sigaction::SIG_DFL => default_action(signal) == DefaultAction::Ignore,
            _ => false,
        }
    }

    fn caught_and_ignored(&self) -> (Sigset, Sigset) {
        let (mut caught, mut ignored) = (Sigset::EMPTY, Sigset::EMPTY);
        for signal in (1..=Signal::MAX).filter_map(Signal::new) {
            match self.get(signal).handler {
                Sigaction::SIG_DFL => {}
                Sigaction::SIG_IGN => ignored = ignored.with(signal),
                _ => caught = caught.with(signal),
            }
        }
        (caught, ignored)
    }

    fn reset_handlers(&mut self) {
        for action in &mut self.0 {
            let handler = if action.handler == Sigaction::SIG_IGN { Sigaction::SIG_IGN } else { Sigaction::SIG_DFL };
            *action = Sigaction { handler, ..Sigaction::zeroed() };
        }
    }
}

impl Default for SignalTable {
    fn default() -> Self {
        Self::new()
    }
}

impl SignalTable {
    /// Every signal at its default.
    pub fn new() -> Self {
        Self { actions: IrqSpinLock::new(rank::SIGNALS, Actions::new()) }
    }

    /// The action for a signal.
    pub fn get(&self, signal: Signal) -> Sigaction {
        self.actions.lock_nested().get(signal)
    }

    /// Replaces the action for a signal and answers the old one.
    pub(crate) fn replace(&self, signal: Signal, action: Sigaction) -> Sigaction {
        self.actions.lock_nested().replace(signal, action)
    }

    /// Puts a signal back to its default, as a fault does whose signal is blocked or ignored.
    pub(crate) fn reset(&self, signal: Signal) {
        self.replace(signal, Sigaction::zeroed());
    }

    /// The action for a signal about to be delivered; a handler with `SA_RESETHAND` is taken out.
    pub(crate) fn take_for_delivery(&self, signal: Signal) -> Sigaction {
        self.actions.lock_nested().take_for_delivery(signal)
    }

    /// Whether a signal would be thrown away if it were not blocked.
    pub fn ignores(&self, signal: Signal) -> bool {
        self.actions.lock_nested().ignores(signal)
    }

    /// The signals with handlers and those ignored on purpose, as `/proc/self/status` shows them.
    pub fn caught_and_ignored(&self) -> (Sigset, Sigset) {
        self.actions.lock_nested().caught_and_ignored()
    }

    /// Puts handlers back to default, as a new program starts; what is ignored stays ignored.
    pub fn reset_handlers(&self) {
        self.actions.lock_nested().reset_handlers();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_linuxs() {
        assert_eq!(default_action(Signal::SIGTERM), DefaultAction::Terminate);
        assert_eq!(default_action(Signal::SIGTSTP), DefaultAction::Stop);
        assert_eq!(default_action(Signal::SIGWINCH), DefaultAction::Ignore);
        assert_eq!(default_action(Signal::SIGRTMIN), DefaultAction::Terminate);
    }

    #[test]
    fn one_shot_handlers_are_taken_out() {
        let mut table = Actions::new();
        let flags = SigactionFlags::RESETHAND.bits();
        table.replace(Signal::SIGINT, Sigaction { handler: 0x1000, flags, ..Sigaction::zeroed() });
        assert_eq!(table.caught_and_ignored().0, Sigset::of(&[Signal::SIGINT]));
        assert_eq!(table.take_for_delivery(Signal::SIGINT).handler, 0x1000);
        assert_eq!(table.get(Signal::SIGINT).handler, Sigaction::SIG_DFL);
    }

    #[test]
    fn a_new_program_keeps_what_is_ignored() {
        let mut table = Actions::new();
        table.replace(Signal::SIGINT, Sigaction { handler: 0x1000, ..Sigaction::zeroed() });
        table.replace(Signal::SIGHUP, Sigaction { handler: Sigaction::SIG_IGN, ..Sigaction::zeroed() });
        table.reset_handlers();
        assert_eq!(table.caught_and_ignored(), (Sigset::EMPTY, Sigset::of(&[Signal::SIGHUP])));
        assert!(table.ignores(Signal::SIGHUP) && !table.ignores(Signal::SIGINT) && table.ignores(Signal::SIGCHLD));
    }
}
