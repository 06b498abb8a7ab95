//! `membarrier`: barriers on all CPUs that run a program, paid for by the side that needs them rarely.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::Errno;
use abi::sequence::{
    MEMBARRIER_CMD_FLAG_CPU, MEMBARRIER_CMD_GET_REGISTRATIONS, MEMBARRIER_CMD_GLOBAL, MEMBARRIER_CMD_GLOBAL_EXPEDITED,
    MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ,
    MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, MEMBARRIER_CMD_QUERY, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
};

use crate::SyscallResult;
use crate::thread::Thread;

/// Every command there is.
const COMMANDS: i32 = MEMBARRIER_CMD_GLOBAL
    | MEMBARRIER_CMD_GLOBAL_EXPEDITED
    | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED
    | MEMBARRIER_CMD_PRIVATE_EXPEDITED
    | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
    | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE
    | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE
    | MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ
    | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ
    | MEMBARRIER_CMD_GET_REGISTRATIONS;

/// Which barriers a process has said it will ask for, as a mask of the registering commands.
#[derive(Debug, Default)]
pub(crate) struct BarrierRegistrations {
    /// What was registered itself.
    registered: AtomicU32,
}

impl BarrierRegistrations {
    fn add(&self, command: i32) {
        self.registered.fetch_or(command.cast_unsigned(), Relaxed);
    }

    /// Forgets them: the program that made them is gone.
    pub(crate) fn forget(&self) {
        self.registered.store(0, Relaxed);
    }

    fn has(&self, command: i32) -> bool {
        self.registered.load(Relaxed) & command.cast_unsigned() != 0
    }

    /// As the program sees them: special private barriers stand for the plain one as well, though that still has to be registered
    /// by itself before it can be used.
    fn shown(&self) -> u32 {
        let special =
            MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ;
        let implied = if self.has(special) { MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED } else { 0 };
        self.registered.load(Relaxed) | implied.cast_unsigned()
    }

    /// `EPERM` if the program has not registered.
    fn require(&self, command: i32) -> Result<(), Errno> {
        if self.has(command) { Ok(()) } else { Err(Errno::EPERM) }
    }
}

pub(crate) fn membarrier(thread: &Thread, command: i32, flags: u32, cpu: i32) -> SyscallResult {
    let known = if command == MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ { MEMBARRIER_CMD_FLAG_CPU } else { 0 };
    if flags & !known != 0 {
        return Err(Errno::EINVAL.into());
    }
    let platform = thread.platform();
    let registrations = &thread.process().barriers;
    match command {
        MEMBARRIER_CMD_QUERY => return Ok(usize::try_from(COMMANDS).unwrap_or(0)),
        MEMBARRIER_CMD_GET_REGISTRATIONS => return Ok(registrations.shown() as usize),
        MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED
        | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
        | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE
        | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ => registrations.add(command),
        MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED => platform.barrier(None),
        MEMBARRIER_CMD_PRIVATE_EXPEDITED => {
            registrations.require(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)?;
            platform.barrier(Some(&thread.address_space()));
        }
        MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE => {
            registrations.require(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)?;
            // Other CPUs return from an interrupt, which serialises their instructions; here `cpuid` does.
            platform.barrier(Some(&thread.address_space()));
            let _ = platform.cpuid(0, 0);
        }
        MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ => {
            registrations.require(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ)?;
            let cpu = if flags & MEMBARRIER_CMD_FLAG_CPU != 0 { u32::try_from(cpu).ok() } else { None };
            end_sequences(thread, cpu);
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

/// Ends the restartable sequences that other threads of the program are in, on one CPU or everywhere. Whoever comes to that CPU
/// meanwhile was off one, which ends its sequence anyway.
fn end_sequences(thread: &Thread, cpu: Option<u32>) {
    let platform = thread.platform();
    for other in thread.process().threads() {
        if cpu.is_none_or(|cpu| platform.cpu_of(&other) == cpu) {
            other.was_preempted();
        }
    }
    // The interrupt makes them look before their program goes on.
    platform.barrier(Some(&thread.address_space()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_imply_the_plain_one_only_to_the_eye() {
        let registrations = BarrierRegistrations::default();
        assert_eq!(registrations.shown(), 0);
        registrations.add(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE);
        assert_eq!(registrations.shown(), 80);
        assert_eq!(registrations.require(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED), Err(Errno::EPERM));
        registrations.add(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
        assert_eq!(registrations.shown(), 80);
        assert_eq!(registrations.require(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED), Ok(()));
    }
}
