//! [`AlternateStack`]: where handlers with `SA_ONSTACK` run.

use abi::{
    Errno, Sigaltstack,
    signal::{MINSIGSTKSZ, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK},
};

/// A thread's alternate signal stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AlternateStack {
    pub(super) base: u64,
    pub(super) size: u64,
    pub(super) flags: u32,
}

impl AlternateStack {
    /// Whether a stack pointer lies on it.
    pub(crate) fn contains(&self, stack_pointer: u64) -> bool {
        stack_pointer > self.base && stack_pointer - self.base <= self.size
    }

    /// Whether a handler already runs on it. With `SS_AUTODISARM` the question does not arise: it is gone by then.
    pub(crate) fn is_in_use(&self, stack_pointer: u64) -> bool {
        self.flags & SS_AUTODISARM == 0 && self.contains(stack_pointer)
    }

    /// The stack pointer a handler starts with; none when there is no stack or it is in use.
    pub(crate) fn top_if_free(&self, stack_pointer: u64) -> Option<u64> {
        let is_free = self.size != 0 && !self.is_in_use(stack_pointer);
        is_free.then(|| self.base.wrapping_add(self.size))
    }

    /// What `sigaltstack` answers.
    pub(crate) fn describe(&self, stack_pointer: u64) -> Sigaltstack {
        let state = if self.size == 0 {
            SS_DISABLE
        } else if self.is_in_use(stack_pointer) {
            SS_ONSTACK
        } else {
            0
        };
        let flags = state | self.flags & SS_AUTODISARM;
        Sigaltstack { ss_sp: self.base, ss_flags: flags, _pad0: 0, ss_size: self.size }
    }

    /// What a signal frame records.
    pub(crate) fn in_frame(&self) -> Sigaltstack {
        Sigaltstack { ss_sp: self.base, ss_flags: self.flags, _pad0: 0, ss_size: self.size }
    }

    /// What it is once a frame has recorded it; none: what it was.
    pub(crate) fn disarmed(&self) -> Option<Self> {
        (self.flags & SS_AUTODISARM != 0).then_some(Self { base: 0, size: 0, flags: SS_DISABLE })
    }

    /// Sets another stack, as `sigaltstack` does.
    pub(crate) fn replace(&mut self, new: &Sigaltstack, stack_pointer: u64) -> Result<(), Errno> {
        if self.is_in_use(stack_pointer) {
            return Err(Errno::EPERM);
        }
        let mode = new.ss_flags & !SS_AUTODISARM;
        if ![0, SS_DISABLE, SS_ONSTACK].contains(&mode) {
            return Err(Errno::EINVAL);
        }
        let (base, size) = if mode == SS_DISABLE { (0, 0) } else { (new.ss_sp, new.ss_size) };
        if mode != SS_DISABLE && size < MINSIGSTKSZ {
            return Err(Errno::ENOMEM);
        }
        *self = Self { base, size, flags: new.ss_flags };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(flags: u32, size: u64) -> Sigaltstack {
        Sigaltstack { ss_sp: 0x1000, ss_flags: flags, _pad0: 0, ss_size: size }
    }

    #[test]
    fn stacks_are_checked() {
        let mut stack = AlternateStack::default();
        assert_eq!(stack.replace(&request(4, 8192), 0), Err(Errno::EINVAL));
        assert_eq!(stack.replace(&request(0, 100), 0), Err(Errno::ENOMEM));
        assert_eq!(stack.replace(&request(0, 8192), 0), Ok(()));
        assert_eq!(stack.top_if_free(0x10), Some(0x3000));
        assert_eq!(stack.describe(0x2000).ss_flags, SS_ONSTACK);
        assert_eq!(stack.replace(&request(0, 8192), 0x2000), Err(Errno::EPERM));
        assert_eq!(stack.replace(&request(SS_DISABLE, 0), 0x10), Ok(()));
        assert_eq!(stack.describe(0x2000).ss_flags, SS_DISABLE);
    }

    #[test]
    fn the_edges_belong_to_the_stack_as_on_linux() {
        let mut stack = AlternateStack::default();
        stack.replace(&request(0, 0x1000), 0).unwrap();
        assert!(!stack.contains(0x1000) && stack.contains(0x1001) && stack.contains(0x2000));
        assert!(!stack.contains(0x2001));
    }

    #[test]
    fn a_disarming_stack_disarms() {
        let mut stack = AlternateStack::default();
        stack.replace(&request(SS_AUTODISARM, 0x1000), 0).unwrap();
        assert_eq!(stack.describe(0x1800).ss_flags, SS_AUTODISARM);
        stack = stack.disarmed().unwrap();
        assert_eq!(stack.describe(0x1800).ss_flags, SS_DISABLE);
        assert_eq!(stack.disarmed(), None);
        assert_eq!(stack.in_frame().ss_flags, SS_DISABLE);
    }
}
