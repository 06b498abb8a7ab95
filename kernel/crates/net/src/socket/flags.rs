//! [`MessageFlags`].
#![expect(missing_docs, reason = "the flags are named as in Linux's headers")]

bitflags::bitflags! {
    /// The flags of sending and receiving (`MSG_`). Bits that Linux ignores are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct MessageFlags: u32 {
        const OOB = 0x1;
        const PEEK = 0x2;
        const DONTROUTE = 0x4;
        const CTRUNC = 0x8;
        const TRUNC = 0x20;
        const DONTWAIT = 0x40;
        const EOR = 0x80;
        const WAITALL = 0x100;
        const CONFIRM = 0x800;
        const ERRQUEUE = 0x2000;
        const NOSIGNAL = 0x4000;
        const MORE = 0x8000;
        const WAITFORONE = 0x1_0000;
        const ZEROCOPY = 0x400_0000;
        const FASTOPEN = 0x2000_0000;
        const CMSG_CLOEXEC = 0x4000_0000;
        const _ = !0;
    }
}
