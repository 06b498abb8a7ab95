//! [`Credentials`]: who a thread is, and what the calls that change it may do.
//!
//! A value of this type never changes; a call that changes credentials makes a new one and puts it in the thread's place.
//! The rules are those of `credentials(7)` and `capabilities(7)`, user namespaces left out.

use alloc::sync::Arc;

use abi::{Errno, process::CAP_LAST_CAP};

/// `CAP_KILL`: signal any process.
pub const CAP_KILL: u32 = 5;
/// `CAP_SETGID`: take any group.
pub const CAP_SETGID: u32 = 6;
/// `CAP_SETUID`: take any user.
pub const CAP_SETUID: u32 = 7;
/// `CAP_SETPCAP`: change bounding set and secure bits.
pub const CAP_SETPCAP: u32 = 8;
/// `CAP_WAKE_ALARM`: timers that wake the machine.
pub const CAP_WAKE_ALARM: u32 = 35;
/// `CAP_IPC_LOCK`: lock any amount of memory.
pub const CAP_IPC_LOCK: u32 = 14;
/// `CAP_SYS_CHROOT`: change the root directory.
pub const CAP_SYS_CHROOT: u32 = 18;
/// `CAP_SYS_ADMIN`.
pub const CAP_SYS_ADMIN: u32 = 21;
/// `CAP_SYS_NICE`: raise priorities.
pub const CAP_SYS_NICE: u32 = 23;
/// `CAP_LEASE`: take leases on files of others.
pub const CAP_LEASE: u32 = 28;
/// `CAP_SYS_RESOURCE`: exceed hard limits.
pub const CAP_SYS_RESOURCE: u32 = 24;
/// `CAP_SYSLOG`: read and clear the kernel's log.
pub const CAP_SYSLOG: u32 = 34;
/// `CAP_CHECKPOINT_RESTORE`: choose the numbers of threads.
pub const CAP_CHECKPOINT_RESTORE: u32 = 40;
/// `CAP_SYS_TIME`: set the clock.
pub const CAP_SYS_TIME: u32 = 25;

/// Every capability there is.
const CAPABILITIES_ALL: u64 = (1 << (CAP_LAST_CAP + 1)) - 1;
/// The capabilities that follow the file system user: what touches files.
const CAPABILITIES_OF_FILES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 9 | 1 << 27 | 1 << 32;
/// The user or group number that means "leave it".
const KEEP: u32 = u32::MAX;

/// The four roles a user or a group plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ids {
    /// Who started the program.
    pub real: u32,
    /// Whose rights count.
    pub effective: u32,
    /// What `effective` may return to.
    pub saved: u32,
    /// Whose rights count for files.
    pub file_system: u32,
}

/// The capability sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "capabilities(7) documents each")]
pub struct CapabilitySets {
    pub permitted: u64,
    pub effective: u64,
    pub inheritable: u64,
    pub bounding: u64,
    pub ambient: u64,
}

/// Who a thread is.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The users.
    pub user: Ids,
    /// The groups.
    pub group: Ids,
    /// Supplementary groups, sorted.
    pub groups: Arc<[u32]>,
    /// The capabilities.
    pub capabilities: CapabilitySets,
    /// `PR_SET_KEEPCAPS`: keep permitted capabilities when all users become other than root.
    pub keeps_capabilities: bool,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
}

impl Credentials {
    /// User and group 0 with every capability.
    pub fn root() -> Self {
        Self {
            user: Ids::default(),
            group: Ids::default(),
            groups: Arc::from([]),
            capabilities: CapabilitySets {
                permitted: CAPABILITIES_ALL,
                effective: CAPABILITIES_ALL,
                inheritable: 0,
                bounding: CAPABILITIES_ALL,
                ambient: 0,
            },
            keeps_capabilities: false,
            no_new_privileges: false,
        }
    }

    /// Whether a capability is in effect.
    pub fn has(&self, capability: u32) -> bool {
        self.capabilities.effective & (1 << capability) != 0
    }

    /// `EPERM` unless a capability is in effect.
    pub fn require(&self, capability: u32) -> Result<(), Errno> {
        if self.has(capability) { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// What a thread has of these when it executes a program without set-user-id or file capabilities.
    pub fn at_execution(&self) -> Self {
        let mut new = self.clone();
        new.keeps_capabilities = false;
        for ids in [&mut new.user, &mut new.group] {
            ids.saved = ids.effective;
            ids.file_system = ids.effective;
        }
        let old = self.capabilities;
        let sets = &mut new.capabilities;
        // Root's programs get everything, unless privileges may not be gained.
        sets.permitted = if self.user.effective == 0 || self.user.real == 0 {
            let all = old.bounding | old.inheritable;
            if self.no_new_privileges { all & old.permitted } else { all }
        } else {
            old.ambient
        };
        sets.effective = if self.user.effective == 0 { sets.permitted } else { old.ambient };
        new
    }

    /// What the file layer checks with.
    pub fn for_files(&self, process: u32, thread: u32, identity: u64) -> vfs::Credentials {
        vfs::Credentials {
            uid: self.user.file_system,
            gid: self.group.file_system,
            groups: Arc::clone(&self.groups),
            capabilities: vfs::Capabilities::from_bits_retain(self.capabilities.effective),
            process,
            thread,
            identity,
        }
    }

    /// `setuid`.
    pub fn set_user(&mut self, user: u32) -> Result<(), Errno> {
        let old = self.user;
        self.user.set_one(user, self.has(CAP_SETUID))?;
        self.follow_user_change(old);
        Ok(())
    }

    /// `setgid`.
    pub fn set_group(&mut self, group: u32) -> Result<(), Errno> {
        self.group.set_one(group, self.has(CAP_SETGID))
    }

    /// `setreuid`.
    pub fn set_real_effective_user(&mut self, real: u32, effective: u32) -> Result<(), Errno> {
        let old = self.user;
        self.user.set_real_effective(real, effective, self.has(CAP_SETUID))?;
        self.follow_user_change(old);
        Ok(())
    }

    /// `setregid`.
    pub fn set_real_effective_group(&mut self, real: u32, effective: u32) -> Result<(), Errno> {
        self.group.set_real_effective(real, effective, self.has(CAP_SETGID))
    }

    /// `setresuid`.
    pub fn set_users(&mut self, real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
        let old = self.user;
        self.user.set_all(real, effective, saved, self.has(CAP_SETUID))?;
        self.follow_user_change(old);
        Ok(())
    }

    /// `setresgid`.
    pub fn set_all_groups(&mut self, real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
        self.group.set_all(real, effective, saved, self.has(CAP_SETGID))
    }

    /// `setfsuid`: never fails, answers the old user.
    pub fn set_file_system_user(&mut self, user: u32) -> u32 {
        let old = self.user.file_system;
        if self.user.may_take(user) || (user != KEEP && self.has(CAP_SETUID)) {
            self.user.file_system = user;
            self.follow_file_system_user_change(old);
        }
        old
    }

    /// `setfsgid`: never fails, answers the old group.
    pub fn set_file_system_group(&mut self, group: u32) -> u32 {
        let old = self.group.file_system;
        if self.group.may_take(group) || (group != KEEP && self.has(CAP_SETGID)) {
            self.group.file_system = group;
        }
        old
    }

    /// `capset`.
    pub fn set_capabilities(&mut self, effective: u64, permitted: u64, inheritable: u64) -> Result<(), Errno> {
        let old = self.capabilities;
        let (effective, permitted) = (effective & CAPABILITIES_ALL, permitted & CAPABILITIES_ALL);
        let inheritable = inheritable & CAPABILITIES_ALL;
        let may_inherit = old.inheritable | if self.has(CAP_SETPCAP) { old.bounding } else { old.permitted };
        let is_allowed = permitted & !old.permitted == 0
            && effective & !permitted == 0
            && inheritable & !(may_inherit | old.permitted) == 0
            && inheritable & !(old.inheritable | old.bounding) == 0;
        if !is_allowed {
            return Err(Errno::EPERM);
        }
        let ambient = old.ambient & permitted & inheritable;
        self.capabilities = CapabilitySets { permitted, effective, inheritable, bounding: old.bounding, ambient };
        Ok(())
    }

    /// What happens to capabilities when users change from or to root.
    fn follow_user_change(&mut self, old: Ids) {
        let sets = &mut self.capabilities;
        let was_root = [old.real, old.effective, old.saved].contains(&0);
        let is_root = [self.user.real, self.user.effective, self.user.saved].contains(&0);
        if was_root && !is_root {
            if !self.keeps_capabilities {
                sets.permitted = 0;
                sets.effective = 0;
            }
            sets.ambient = 0;
        }
        if old.effective == 0 && self.user.effective != 0 {
            sets.effective = 0;
        }
        if old.effective != 0 && self.user.effective == 0 {
            sets.effective = sets.permitted;
        }
    }

    fn follow_file_system_user_change(&mut self, old: u32) {
        let sets = &mut self.capabilities;
        if old == 0 && self.user.file_system != 0 {
            sets.effective &= !CAPABILITIES_OF_FILES;
        }
        if old != 0 && self.user.file_system == 0 {
            sets.effective |= sets.permitted & CAPABILITIES_OF_FILES;
        }
    }
}

impl Ids {
    /// Whether one may become this without a capability, as to the file system role.
    fn may_take(&self, id: u32) -> bool {
        [self.real, self.effective, self.saved, self.file_system].contains(&id)
    }

    fn set_one(&mut self, id: u32, is_privileged: bool) -> Result<(), Errno> {
        if id == KEEP {
            return Err(Errno::EINVAL);
        }
        if is_privileged {
            *self = Self { real: id, effective: id, saved: id, file_system: id };
            return Ok(());
        }
        if id != self.real && id != self.saved {
            return Err(Errno::EPERM);
        }
        self.effective = id;
        self.file_system = id;
        Ok(())
    }

    fn set_real_effective(&mut self, real: u32, effective: u32, is_privileged: bool) -> Result<(), Errno> {
        let mut new = *self;
        if real != KEEP {
            if !is_privileged && real != self.real && real != self.effective {
                return Err(Errno::EPERM);
            }
            new.real = real;
        }
        if effective != KEEP {
            if !is_privileged && ![self.real, self.effective, self.saved].contains(&effective) {
                return Err(Errno::EPERM);
            }
            new.effective = effective;
        }
        if real != KEEP || (effective != KEEP && effective != self.real) {
            new.saved = new.effective;
        }
        new.file_system = new.effective;
        *self = new;
        Ok(())
    }

    fn set_all(&mut self, real: u32, effective: u32, saved: u32, is_privileged: bool) -> Result<(), Errno> {
        let is_own = |id: &u32| *id == KEEP || [self.real, self.effective, self.saved].contains(id);
        if !is_privileged && ![real, effective, saved].iter().all(is_own) {
            return Err(Errno::EPERM);
        }
        let choose = |new: u32, old: u32| if new == KEEP { old } else { new };
        let effective = choose(effective, self.effective);
        *self =
            Self { real: choose(real, self.real), effective, saved: choose(saved, self.saved), file_system: effective };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_becomes_a_user_for_good() {
        let mut credentials = Credentials::root();
        credentials.set_user(1000).unwrap();
        assert_eq!(credentials.user, Ids { real: 1000, effective: 1000, saved: 1000, file_system: 1000 });
        assert_eq!(credentials.capabilities.permitted, 0);
        assert_eq!(credentials.set_user(0), Err(Errno::EPERM));
        assert_eq!(credentials.set_user(u32::MAX), Err(Errno::EINVAL));
    }

    #[test]
    fn programs_of_users_start_without_capabilities() {
        let mut credentials = Credentials::root();
        credentials.keeps_capabilities = true;
        credentials.set_user(5).unwrap();
        assert_ne!(credentials.capabilities.permitted, 0);
        let started = credentials.at_execution();
        assert_eq!((started.capabilities.permitted, started.capabilities.effective), (0, 0));
        assert!(!started.keeps_capabilities);
    }

    #[test]
    fn programs_of_root_get_all_capabilities_back() {
        let mut credentials = Credentials::root();
        credentials.set_capabilities(0, 0, 0).unwrap();
        assert!(credentials.at_execution().has(CAP_KILL));
        credentials.no_new_privileges = true;
        assert!(!credentials.at_execution().has(CAP_KILL));
    }

    #[test]
    fn root_lays_down_rights_for_a_while() {
        let mut credentials = Credentials::root();
        credentials.set_users(KEEP, 1000, KEEP).unwrap();
        assert_eq!(credentials.capabilities.effective, 0);
        assert_ne!(credentials.capabilities.permitted, 0);
        credentials.set_users(KEEP, 0, KEEP).unwrap();
        assert!(credentials.has(CAP_SETUID));
    }

    #[test]
    fn capabilities_are_kept_on_request() {
        let mut credentials = Credentials::root();
        credentials.keeps_capabilities = true;
        credentials.set_user(5).unwrap();
        assert_ne!(credentials.capabilities.permitted, 0);
        assert_eq!(credentials.capabilities.effective, 0);
    }

    #[test]
    fn users_swap_their_roles() {
        let mut credentials = Credentials::root();
        credentials.set_users(1, 2, 3).unwrap();
        assert_eq!(credentials.set_users(3, 1, 2), Ok(()));
        assert_eq!(credentials.set_users(4, KEEP, KEEP), Err(Errno::EPERM));
        assert_eq!(credentials.set_real_effective_user(1, 3), Ok(()));
        assert_eq!(credentials.user, Ids { real: 1, effective: 3, saved: 3, file_system: 3 });
        assert_eq!(credentials.set_real_effective_user(2, KEEP), Err(Errno::EPERM));
    }

    #[test]
    fn the_file_system_user_takes_file_rights_along() {
        let mut credentials = Credentials::root();
        assert_eq!(credentials.set_file_system_user(7), 0);
        assert!(!credentials.has(1));
        assert!(credentials.has(CAP_KILL));
        assert_eq!(credentials.set_file_system_user(0), 7);
        assert!(credentials.has(1));
    }
}
