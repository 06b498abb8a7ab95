//! Signals: numbers, sets, actions, the information that comes with one, and the frame a handler runs on.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use core::fmt;

use crate::layout::abi_struct;

/// A signal number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident = $number:literal,)*) => {
        impl Signal {
            $(pub const $name: Self = Self($number);)*

            /// The name, such as `"SIGINT"`; none for the real-time signals.
            pub const fn standard_name(self) -> Option<&'static str> {
                match self.0 { $($number => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}

signals! {
    SIGHUP = 1,
    SIGINT = 2,
    SIGQUIT = 3,
    SIGILL = 4,
    SIGTRAP = 5,
    SIGABRT = 6,
    SIGBUS = 7,
    SIGFPE = 8,
    SIGKILL = 9,
    SIGUSR1 = 10,
    SIGSEGV = 11,
    SIGUSR2 = 12,
    SIGPIPE = 13,
    SIGALRM = 14,
    SIGTERM = 15,
    SIGSTKFLT = 16,
    SIGCHLD = 17,
    SIGCONT = 18,
    SIGSTOP = 19,
    SIGTSTP = 20,
    SIGTTIN = 21,
    SIGTTOU = 22,
    SIGURG = 23,
    SIGXCPU = 24,
    SIGXFSZ = 25,
    SIGVTALRM = 26,
    SIGPROF = 27,
    SIGWINCH = 28,
    SIGIO = 29,
    SIGPWR = 30,
    SIGSYS = 31,
}

impl Signal {
    /// The largest signal number.
    pub const MAX: u8 = 64;
    /// The first real-time signal: from here on each instance is queued.
    pub const SIGRTMIN: Self = Self(32);

    /// The signal with this number; none when it is 0 or above 64.
    pub const fn new(number: u8) -> Option<Self> {
        if number >= 1 && number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The signal a program named in an `int`.
    pub fn from_raw(number: i32) -> Option<Self> {
        u8::try_from(number).ok().and_then(Self::new)
    }

    /// The number, 1 to 64.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The position in a table of all signals, 0 to 63.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// The last of the codes that mean something with this signal and no other; none when it has no such codes.
    pub const fn last_own_code(self) -> Option<i32> {
        Some(match self {
            Self::SIGILL => 11,
            Self::SIGFPE => 15,
            Self::SIGSEGV => 10,
            Self::SIGBUS => 5,
            Self::SIGTRAP | Self::SIGCHLD => 6,
            Self::SIGSYS => 2,
            _ => return None,
        })
    }

    /// Whether instances of it queue instead of merging.
    pub const fn is_realtime(self) -> bool {
        self.0 >= Self::SIGRTMIN.0
    }

    /// Whether it comes from what the program itself just did, and is delivered before others.
    pub const fn is_synchronous(self) -> bool {
        Sigset::SYNCHRONOUS.contains(self)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.standard_name() {
            Some(name) => out.write_str(name),
            None => write!(out, "SIGRT{}", self.0),
        }
    }
}

abi_struct! {
    /// The kernel's `sigset_t`: bit n-1 stands for signal n.
    pub struct Sigset: 8 {
        bits: u64,
    }

    /// The kernel's `struct sigaction`, in the order `rt_sigaction` moves it.
    pub struct Sigaction: 32 {
        pub handler: u64,
        pub flags: u64,
        pub restorer: u64,
        pub mask: Sigset,
    }

    /// `stack_t`.
    pub struct Sigaltstack: 24 {
        pub ss_sp: u64,
        pub ss_flags: u32,
        pub _pad0: u32,
        pub ss_size: u64,
    }

    /// `siginfo_t` as far as anything is in it, which is what Linux's kernel keeps of one. What follows the code
    /// depends on the signal: use the constructors and [`Siginfo::word`].
    pub struct Siginfo: 48 {
        pub si_signo: i32,
        pub si_errno: i32,
        pub si_code: i32,
        _pad0: u32,
        fields: [u32; 8],
    }

    /// `siginfo_t` as programs have it.
    pub struct UserSiginfo: 128 {
        pub info: Siginfo,
        pub rest: [u64; 10],
    }

    /// `struct sigcontext_64`, the registers at the interruption, without the reserved words at its end.
    pub struct Sigcontext: 192 {
        pub r8: u64,
        pub r9: u64,
        pub r10: u64,
        pub r11: u64,
        pub r12: u64,
        pub r13: u64,
        pub r14: u64,
        pub r15: u64,
        pub rdi: u64,
        pub rsi: u64,
        pub rbp: u64,
        pub rbx: u64,
        pub rdx: u64,
        pub rax: u64,
        pub rcx: u64,
        pub rsp: u64,
        pub rip: u64,
        pub eflags: u64,
        pub cs: u16,
        pub gs: u16,
        pub fs: u16,
        pub ss: u16,
        pub err: u64,
        pub trapno: u64,
        pub oldmask: u64,
        pub cr2: u64,
        pub fpstate: u64,
    }

    /// The kernel's `struct ucontext`.
    pub struct Ucontext: 304 {
        pub uc_flags: u64,
        pub uc_link: u64,
        pub uc_stack: Sigaltstack,
        pub uc_mcontext: Sigcontext,
        /// The end of `struct sigcontext_64`, which nobody reads or writes.
        pub _reserved1: [u64; 8],
        pub uc_sigmask: Sigset,
    }

    /// `struct rt_sigframe`: what a handler finds at its stack pointer. The vector state lies above it.
    pub struct RtSigframe: 440 {
        pub pretcode: u64,
        pub uc: Ucontext,
        pub info: UserSiginfo,
    }

    /// `struct _fpx_sw_bytes`: the last 48 bytes of the 512-byte legacy area, which say how much state follows.
    pub struct FpxSwBytes: 48 {
        pub magic1: u32,
        pub extended_size: u32,
        pub xfeatures: u64,
        pub xstate_size: u32,
        pub _pad: [u32; 7],
    }

    /// `struct signalfd_siginfo`.
    pub struct SignalfdSiginfo: 128 {
        pub ssi_signo: u32,
        pub ssi_errno: i32,
        pub ssi_code: i32,
        pub ssi_pid: u32,
        pub ssi_uid: u32,
        pub ssi_fd: i32,
        pub ssi_tid: u32,
        pub ssi_band: u32,
        pub ssi_overrun: u32,
        pub ssi_trapno: u32,
        pub ssi_status: i32,
        pub ssi_int: i32,
        pub ssi_ptr: u64,
        pub ssi_utime: u64,
        pub ssi_stime: u64,
        pub ssi_addr: u64,
        pub ssi_addr_lsb: u16,
        pub _pad0: u16,
        pub ssi_syscall: i32,
        pub ssi_call_addr: u64,
        pub ssi_arch: u32,
        pub _pad: [u32; 7],
    }

    /// `struct sigevent`.
    pub struct Sigevent: 64 {
        pub sigev_value: u64,
        pub sigev_signo: i32,
        pub sigev_notify: i32,
        pub sigev_tid: i32,
        pub _pad: [u32; 11],
    }
}

impl Sigset {
    pub const EMPTY: Self = Self { bits: 0 };
    pub const ALL: Self = Self { bits: u64::MAX };
    /// What no program can block, ignore or handle.
    pub const UNBLOCKABLE: Self = Self::of(&[Signal::SIGKILL, Signal::SIGSTOP]);
    /// What stops a process by default.
    pub const STOP: Self = Self::of(&[Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU]);
    /// What the program's own instructions cause.
    pub const SYNCHRONOUS: Self =
        Self::of(&[Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGTRAP, Signal::SIGFPE, Signal::SIGSYS]);

    /// The set of these signals.
    pub const fn of(signals: &[Signal]) -> Self {
        let mut bits = 0;
        let mut rest = signals;
        while let [first, others @ ..] = rest {
            bits |= 1 << first.index();
            rest = others;
        }
        Self { bits }
    }

    pub const fn from_bits(bits: u64) -> Self {
        Self { bits }
    }

    pub const fn bits(self) -> u64 {
        self.bits
    }

    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    pub const fn contains(self, signal: Signal) -> bool {
        self.bits & (1 << signal.index()) != 0
    }

    #[must_use]
    pub const fn with(self, signal: Signal) -> Self {
        Self { bits: self.bits | 1 << signal.index() }
    }

    #[must_use]
    pub const fn without(self, signal: Signal) -> Self {
        Self { bits: self.bits & !(1 << signal.index()) }
    }

    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits }
    }

    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self { bits: self.bits & other.bits }
    }

    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self { bits: self.bits & !other.bits }
    }

    /// The signal of the lowest number in the set.
    pub fn first(self) -> Option<Signal> {
        let number = self.bits.trailing_zeros() + 1;
        u8::try_from(number).ok().and_then(Signal::new)
    }
}

bitflags::bitflags! {
    /// `SA_*`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct SigactionFlags: u64 {
        const NOCLDSTOP = 0x1;
        const NOCLDWAIT = 0x2;
        const SIGINFO = 0x4;
        const UNSUPPORTED = 0x400;
        const EXPOSE_TAGBITS = 0x800;
        const RESTORER = 0x0400_0000;
        const ONSTACK = 0x0800_0000;
        const RESTART = 0x1000_0000;
        const NODEFER = 0x4000_0000;
        const RESETHAND = 0x8000_0000;
    }
}

impl Sigaction {
    /// The handler that stands for the default action.
    pub const SIG_DFL: u64 = 0;
    /// The handler that stands for ignoring the signal.
    pub const SIG_IGN: u64 = 1;

    pub const fn flags(&self) -> SigactionFlags {
        SigactionFlags::from_bits_truncate(self.flags)
    }
}

pub const SS_ONSTACK: u32 = 1;
pub const SS_DISABLE: u32 = 2;
pub const SS_AUTODISARM: u32 = 1 << 31;
/// The smallest alternate stack Linux takes, whatever the vector state needs.
pub const MINSIGSTKSZ: u64 = 2048;

pub const SIG_BLOCK: i32 = 0;
pub const SIG_UNBLOCK: i32 = 1;
pub const SIG_SETMASK: i32 = 2;

pub const UC_FP_XSTATE: u64 = 1;
pub const UC_SIGCONTEXT_SS: u64 = 2;
pub const UC_STRICT_RESTORE_SS: u64 = 4;
pub const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
pub const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Where `FpxSwBytes` lies in the legacy area.
pub const FPX_SW_BYTES_OFFSET: usize = 464;
/// The bytes of the legacy area of a vector state (FXSAVE).
pub const FXSAVE_SIZE: usize = 512;
/// The code and stack segments programs see on Linux.
pub const USER_CS: u16 = 0x33;
pub const USER_DS: u16 = 0x2b;

pub const SI_USER: i32 = 0;
pub const SI_KERNEL: i32 = 0x80;
pub const SI_QUEUE: i32 = -1;
pub const SI_TIMER: i32 = -2;
pub const SI_MESGQ: i32 = -3;
pub const SI_ASYNCIO: i32 = -4;
pub const SI_SIGIO: i32 = -5;
/// There is input.
pub const POLL_IN: i32 = 1;
/// There is room for output.
pub const POLL_OUT: i32 = 2;
/// Something happened to the file.
pub const POLL_MSG: i32 = 3;
/// Urgent data has come.
pub const POLL_PRI: i32 = 5;
pub const SI_TKILL: i32 = -6;

pub const ILL_ILLOPC: i32 = 1;
pub const ILL_ILLOPN: i32 = 2;
pub const ILL_ILLADR: i32 = 3;
pub const ILL_ILLTRP: i32 = 4;
pub const ILL_PRVOPC: i32 = 5;
pub const ILL_PRVREG: i32 = 6;
pub const ILL_COPROC: i32 = 7;
pub const ILL_BADSTK: i32 = 8;
pub const FPE_INTDIV: i32 = 1;
pub const FPE_INTOVF: i32 = 2;
pub const FPE_FLTDIV: i32 = 3;
pub const FPE_FLTOVF: i32 = 4;
pub const FPE_FLTUND: i32 = 5;
pub const FPE_FLTRES: i32 = 6;
pub const FPE_FLTINV: i32 = 7;
pub const FPE_FLTSUB: i32 = 8;
pub const SEGV_MAPERR: i32 = 1;
pub const SEGV_ACCERR: i32 = 2;
pub const BUS_ADRALN: i32 = 1;
pub const BUS_ADRERR: i32 = 2;
pub const BUS_OBJERR: i32 = 3;
pub const TRAP_BRKPT: i32 = 1;
pub const TRAP_TRACE: i32 = 2;
pub const TRAP_HWBKPT: i32 = 4;
pub const CLD_EXITED: i32 = 1;
pub const CLD_KILLED: i32 = 2;
pub const CLD_DUMPED: i32 = 3;
pub const CLD_TRAPPED: i32 = 4;
pub const CLD_STOPPED: i32 = 5;
pub const CLD_CONTINUED: i32 = 6;
pub const SYS_SECCOMP: i32 = 1;

pub const SFD_CLOEXEC: u32 = 0o2_000_000;
pub const SFD_NONBLOCK: u32 = 0o4000;

pub const SIGEV_SIGNAL: i32 = 0;
pub const SIGEV_NONE: i32 = 1;
pub const SIGEV_THREAD: i32 = 2;
pub const SIGEV_THREAD_ID: i32 = 4;

impl From<Siginfo> for UserSiginfo {
    fn from(info: Siginfo) -> Self {
        Self { info, rest: [0; _] }
    }
}

impl Siginfo {
    /// Whether its code says what it holds. Of one that a program made up with another code, Linux takes no more than
    /// it keeps.
    pub fn is_known(&self) -> bool {
        const SI_DETHREAD: i32 = -7;
        const SI_ASYNCNL: i32 = -60;
        /// Of a signal without codes of its own, which may be about a file.
        const LAST_OF_FILES: i32 = 6;
        let last = || self.signal().and_then(Signal::last_own_code).unwrap_or(LAST_OF_FILES);
        match self.si_code {
            SI_KERNEL | SI_ASYNCNL | SI_DETHREAD..=SI_USER => true,
            code => code > SI_USER && code <= last(),
        }
    }

    /// A signal with a code and nothing else.
    pub fn new(signal: Signal, code: i32) -> Self {
        Self { si_signo: i32::from(signal.number()), si_errno: 0, si_code: code, _pad0: 0, fields: [0; 8] }
    }

    /// Sent by a process: `kill`, `tgkill`, `tkill`.
    pub fn sent(signal: Signal, code: i32, pid: i32, uid: u32) -> Self {
        Self::new(signal, code).with_word(0, pid.cast_unsigned()).with_word(1, uid)
    }

    /// Queued by a process with a value: `rt_sigqueueinfo`.
    pub fn queued(signal: Signal, pid: i32, uid: u32, value: u64) -> Self {
        Self::sent(signal, SI_QUEUE, pid, uid).with_long(2, value)
    }

    /// Raised by a fault at `address`.
    pub fn fault(signal: Signal, code: i32, address: u64) -> Self {
        Self::new(signal, code).with_long(0, address)
    }

    /// Something happened to the file behind a descriptor (`F_SETSIG`).
    pub fn polled(signal: Signal, code: i32, band: u32, fd: i32) -> Self {
        Self::new(signal, code).with_long(0, u64::from(band)).with_word(2, fd.cast_unsigned())
    }

    /// A child changed its state.
    pub fn child(code: i32, pid: i32, uid: u32, status: i32, user_ticks: i64, system_ticks: i64) -> Self {
        Self::sent(Signal::SIGCHLD, code, pid, uid)
            .with_word(2, status.cast_unsigned())
            .with_long(4, user_ticks.cast_unsigned())
            .with_long(6, system_ticks.cast_unsigned())
    }

    /// A timer expired.
    pub fn timer(signal: Signal, timer: i32, overrun: i32, value: u64) -> Self {
        Self::new(signal, SI_TIMER)
            .with_word(0, timer.cast_unsigned())
            .with_word(1, overrun.cast_unsigned())
            .with_long(2, value)
    }

    /// The signal it is about; none when a program made up a number out of range.
    pub fn signal(&self) -> Option<Signal> {
        Signal::from_raw(self.si_signo)
    }

    /// The 32-bit word at this position after the header: 0 is `si_pid` or half of `si_addr`, 1 `si_uid`, 2 `si_status`.
    pub fn word(&self, index: usize) -> u32 {
        self.fields.get(index).copied().unwrap_or(0)
    }

    /// The 64-bit value at this 32-bit position: `si_addr` is at 0, `si_value` at 2.
    pub fn long(&self, index: usize) -> u64 {
        u64::from(self.word(index)) | u64::from(self.word(index + 1)) << 32
    }

    /// The same with another 32-bit word at a position.
    #[must_use]
    pub fn with_word(mut self, index: usize, value: u32) -> Self {
        if let Some(word) = self.fields.get_mut(index) {
            *word = value;
        }
        self
    }

    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the value")]
    fn with_long(self, index: usize, value: u64) -> Self {
        self.with_word(index, value as u32).with_word(index + 1, (value >> 32) as u32)
    }
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn signals_have_bounds() {
        assert_eq!(Signal::from_raw(0), None);
        assert_eq!(Signal::from_raw(65), None);
        assert_eq!(Signal::from_raw(-1), None);
        assert_eq!(Signal::from_raw(9), Some(Signal::SIGKILL));
        assert!(Signal::from_raw(64).is_some_and(Signal::is_realtime));
    }

    #[test]
    fn sets_hold_signals() {
        let set = Sigset::of(&[Signal::SIGTERM, Signal::SIGINT]);
        assert_eq!(set.bits(), 1 << 14 | 1 << 1);
        assert_eq!(set.first(), Some(Signal::SIGINT));
        assert_eq!(set.without(Signal::SIGINT).first(), Some(Signal::SIGTERM));
        assert_eq!(Sigset::EMPTY.first(), None);
        assert_eq!(Sigset::from_bits(1 << 63).first(), Signal::new(64));
    }

    #[test]
    fn frames_lie_as_on_linux() {
        assert_eq!(offset_of!(Siginfo, fields), 16);
        assert_eq!(offset_of!(Sigcontext, rip), 128);
        assert_eq!(offset_of!(Sigcontext, cs), 144);
        assert_eq!(offset_of!(Sigcontext, cr2), 176);
        assert_eq!(offset_of!(Sigcontext, fpstate), 184);
        assert_eq!(offset_of!(Ucontext, uc_mcontext), 40);
        assert_eq!(offset_of!(Ucontext, uc_sigmask), 296);
        assert_eq!(offset_of!(RtSigframe, info), 312);
    }

    #[test]
    fn codes_that_nobody_has_are_not_known() {
        let known = |signal, code| Siginfo::new(signal, code).is_known();
        assert!(
            known(Signal::SIGUSR1, SI_USER) && known(Signal::SIGUSR1, SI_QUEUE) && known(Signal::SIGUSR1, SI_KERNEL)
        );
        assert!(known(Signal::SIGFPE, 15) && known(Signal::SIGUSR1, 6) && known(Signal::SIGUSR1, -60));
        assert!(!known(Signal::SIGUSR1, 7) && !known(Signal::SIGBUS, 6) && !known(Signal::SIGUSR1, -8));
    }

    #[test]
    fn information_is_where_programs_look() {
        let info = Siginfo::fault(Signal::SIGSEGV, SEGV_MAPERR, 0x1234_5678_9abc);
        assert_eq!(info.long(0), 0x1234_5678_9abc);
        let child = Siginfo::child(CLD_EXITED, 7, 1000, 3, 11, 12);
        assert_eq!((child.word(0), child.word(1), child.word(2), child.long(4), child.long(6)), (7, 1000, 3, 11, 12));
    }
}
