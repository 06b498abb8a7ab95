//! [`Ecn`]: congestion that is told instead of being felt (RFC 3168).
//!
//! # Theory
//!
//! 1. Whoever opens asks by ECE and CWR in its SYN, the answer agrees by ECE alone (6.1.1). `net.ipv4.tcp_ecn` says
//!    which of these we do; by default we agree and do not ask, as Linux does. A SYN that is sent again does not ask,
//!    in case something on the way drops those that do (6.1.1.1); one that comes marked as capable is not agreed to, as
//!    Linux holds it for a fault of the network.
//! 2. New data is sent as capable of being marked; what is sent again, and what carries no data, is not (6.1.4, 6.1.5).
//! 3. The receiver of a mark says ECE in all that it sends until CWR comes (6.1.3), and acknowledges quickly meanwhile:
//!    a mark, and data without the capability behind data with it, which was probably sent again.
//! 4. The sender takes ECE like a loss, but nothing is sent again: once in a window of data it comes down to the
//!    threshold, in proportion to what is delivered (6.1.2). Its next new data says CWR, as it does after each
//!    reduction; that segment goes alone, since a device that cuts segments would repeat the flag in each of them.

use super::{SegmentFlags, SegmentHeader, Settings};

/// What `net.ipv4.tcp_ecn` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EcnMode {
    /// 0: never.
    Off,
    /// 1: asked for.
    Ask,
    /// 2: agreed to.
    #[default]
    Agree,
}

impl EcnMode {
    /// Of the setting's number.
    #[must_use]
    pub const fn of(number: u32) -> Self {
        match number {
            0 => Self::Off,
            1 => Self::Ask,
            _ => Self::Agree,
        }
    }
}

/// The flags of a SYN that asks.
pub(super) const ASKS: SegmentFlags = SegmentFlags::ECE.union(SegmentFlags::CWR);

/// Whether a SYN asks and we agree, or agrees with what we have asked.
pub(super) fn is_agreed(syn: &SegmentHeader, settings: &Settings) -> bool {
    let said = syn.flags.intersection(ASKS);
    if syn.flags.contains(SegmentFlags::ACK) {
        return said == SegmentFlags::ECE && settings.ecn == EcnMode::Ask;
    }
    said == ASKS && settings.ecn != EcnMode::Off && !syn.is_ecn_capable
}

/// What a connection that has agreed on ECN remembers. See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ecn {
    /// Marks are reported: ECE goes out.
    is_reporting: bool,
    /// CWR is due.
    is_reduction_untold: bool,
    /// Data came that could be marked.
    has_seen_capable: bool,
}

impl Ecn {
    /// Data came. True: it is to be acknowledged quickly.
    pub(super) fn note_data(&mut self, header: &SegmentHeader) -> bool {
        if header.flags.contains(SegmentFlags::CWR) {
            self.is_reporting = false;
        }
        if header.is_congestion_marked {
            self.has_seen_capable = true;
            return !core::mem::replace(&mut self.is_reporting, true);
        }
        if header.is_ecn_capable {
            self.has_seen_capable = true;
            return false;
        }
        self.has_seen_capable
    }

    /// The sender has slowed down.
    pub(super) fn note_reduction(&mut self) {
        self.is_reduction_untold = true;
    }

    /// It has not: nothing was lost.
    pub(super) fn withdraw_reduction(&mut self) {
        self.is_reduction_untold = false;
    }

    /// Whether the next new data says so, and therefore goes alone.
    pub(super) const fn is_reduction_untold(&self) -> bool {
        self.is_reduction_untold
    }

    /// Takes that as said.
    pub(super) fn take_reduction(&mut self) -> bool {
        core::mem::take(&mut self.is_reduction_untold)
    }

    /// Whether ECE goes out.
    pub(super) const fn is_reporting(&self) -> bool {
        self.is_reporting
    }

    /// For `TCPI_OPT_ECN_SEEN`.
    pub(super) const fn has_seen_capable(&self) -> bool {
        self.has_seen_capable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_must_agree() {
        let syn = |flags| SegmentHeader { flags: SegmentFlags::SYN | flags, ..SegmentHeader::default() };
        let with = |ecn| Settings { ecn, ..Settings::default() };
        assert!(is_agreed(&syn(ASKS), &with(EcnMode::Agree)) && is_agreed(&syn(ASKS), &with(EcnMode::Ask)));
        assert!(!is_agreed(&syn(ASKS), &with(EcnMode::Off)));
        assert!(!is_agreed(&syn(SegmentFlags::ECE), &with(EcnMode::Agree)));
        assert!(!is_agreed(&SegmentHeader { is_ecn_capable: true, ..syn(ASKS) }, &with(EcnMode::Agree)));
        let answer = SegmentFlags::ACK | SegmentFlags::ECE;
        assert!(is_agreed(&syn(answer), &with(EcnMode::Ask)) && !is_agreed(&syn(answer), &with(EcnMode::Agree)));
        assert!(!is_agreed(&syn(SegmentFlags::ACK | ASKS), &with(EcnMode::Ask)), "a mirror, no agreement");
    }

    #[test]
    fn marks_are_reported_until_the_sender_has_slowed_down() {
        let mut ecn = Ecn::default();
        let plain = SegmentHeader::default();
        let capable = SegmentHeader { is_ecn_capable: true, ..plain };
        let marked = SegmentHeader { is_congestion_marked: true, ..capable };
        assert!(!ecn.note_data(&plain) && !ecn.note_data(&capable) && !ecn.is_reporting());
        assert!(ecn.note_data(&marked) && !ecn.note_data(&marked) && ecn.is_reporting());
        assert!(ecn.note_data(&plain), "sent again");
        ecn.note_data(&SegmentHeader { flags: SegmentFlags::CWR, ..capable });
        assert!(!ecn.is_reporting());
        ecn.note_data(&SegmentHeader { flags: SegmentFlags::CWR, ..marked });
        assert!(ecn.is_reporting(), "marked again behind the reduction");
    }
}
