//! [`Counters`]: what the network has done, counted per CPU and summed when somebody asks.
//!
//! Each CPU adds to memory of its own, so counting costs no traffic between CPUs. A sum that is taken while others count is right
//! for some moment of each CPU.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sync::machine;

/// The CPUs that count by themselves; others share.
const SHARDS_MAX: usize = 64;

/// `N` counters.
pub struct Counters<const N: usize> {
    shards: Box<[Shard<N>]>,
}

#[repr(align(64))]
struct Shard<const N: usize>([AtomicU64; N]);

impl<const N: usize> Counters<N> {
    /// All 0, for so many CPUs.
    #[must_use]
    pub fn new(cpus: u32) -> Self {
        let shards = (cpus as usize).clamp(1, SHARDS_MAX);
        Self { shards: (0..shards).map(|_| Shard([const { AtomicU64::new(0) }; N])).collect() }
    }

    /// Adds to a counter. Callable from anywhere.
    #[inline]
    pub fn add(&self, counter: usize, count: u64) {
        let shard = machine::current_cpu() as usize % self.shards.len();
        if let Some(counter) = self.shards.get(shard).and_then(|shard| shard.0.get(counter)) {
            counter.fetch_add(count, Relaxed);
        }
    }

    /// The sum over all CPUs.
    #[must_use]
    pub fn get(&self, counter: usize) -> u64 {
        self.shards
            .iter()
            .filter_map(|shard| shard.0.get(counter))
            .map(|counter| counter.load(Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

macro_rules! counters {
    ($($group:literal { $($name:ident,)* })*) => {
        /// What the stack counts: the names of RFC 2011 and its successors, as `/proc/net/snmp`, `snmp6` and `netstat` show them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are those of the MIBs")]
        pub enum Counter { $($($name,)*)* }

        impl Counter {
            /// All, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)*)*];

            /// The group and the name in it.
            #[must_use]
            pub fn name(self) -> (&'static str, &'static str) {
                match self { $($(Self::$name => ($group, stringify!($name).strip_prefix($group).unwrap_or_default()),)*)* }
            }
        }
    };
}

counters! {
    "Ip" {
        IpInReceives, IpInHdrErrors, IpInAddrErrors, IpInUnknownProtos, IpInDiscards, IpInDelivers, IpOutRequests, IpOutDiscards,
        IpOutNoRoutes, IpReasmTimeout, IpReasmReqds, IpReasmOKs, IpReasmFails, IpFragOKs, IpFragFails, IpFragCreates,
    }
    "Icmp" {
        IcmpInMsgs, IcmpInErrors, IcmpInCsumErrors, IcmpInDestUnreachs, IcmpInTimeExcds, IcmpInParmProbs, IcmpInRedirects, IcmpInEchos,
        IcmpInEchoReps, IcmpOutMsgs, IcmpOutErrors, IcmpOutRateLimitGlobal, IcmpOutDestUnreachs, IcmpOutTimeExcds,
        IcmpOutParmProbs, IcmpOutEchos, IcmpOutEchoReps,
    }
    "Tcp" {
        TcpActiveOpens, TcpPassiveOpens, TcpAttemptFails, TcpEstabResets, TcpInSegs, TcpOutSegs, TcpRetransSegs, TcpInErrs,
        TcpOutRsts, TcpInCsumErrors,
    }
    "TcpExt" {
        TcpExtSyncookiesSent, TcpExtSyncookiesRecv, TcpExtTW, TcpExtListenOverflows, TcpExtListenDrops,
    }
    "IpExt" {
    }
    "Udp" {
        UdpInDatagrams, UdpNoPorts, UdpInErrors, UdpOutDatagrams, UdpRcvbufErrors, UdpSndbufErrors, UdpInCsumErrors,
        UdpIgnoredMulti,
    }
    "Ip6" {
        Ip6InReceives, Ip6InHdrErrors, Ip6InNoRoutes, Ip6InAddrErrors, Ip6InUnknownProtos, Ip6InDiscards, Ip6InDelivers,
        Ip6OutRequests, Ip6OutDiscards, Ip6OutNoRoutes, Ip6ReasmTimeout, Ip6ReasmReqds, Ip6ReasmOKs, Ip6ReasmFails,
        Ip6FragOKs, Ip6FragFails, Ip6FragCreates,
    }
    "Icmp6" {
        Icmp6InMsgs, Icmp6InErrors, Icmp6OutMsgs, Icmp6OutErrors, Icmp6InCsumErrors,
    }
    "Udp6" {
        Udp6InDatagrams, Udp6NoPorts, Udp6InErrors, Udp6OutDatagrams, Udp6RcvbufErrors, Udp6SndbufErrors, Udp6InCsumErrors,
    }
}

/// The counters of a stack.
pub struct MibCounters(Counters<{ Counter::ALL.len() }>);

impl MibCounters {
    /// All 0, for so many CPUs.
    #[must_use]
    pub fn new(cpus: u32) -> Self {
        Self(Counters::new(cpus))
    }

    /// Adds 1.
    #[inline]
    pub fn count(&self, counter: Counter) {
        self.0.add(counter as usize, 1);
    }

    /// Adds.
    #[inline]
    pub fn add(&self, counter: Counter, count: u64) {
        self.0.add(counter as usize, count);
    }

    /// The sum over all CPUs. What connections count is added when they end; see [`crate::tcp::Tcp::live_counts`].
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize)
    }
}

#[cfg(test)]
mod tests {
    use testkit as _;

    use super::*;

    #[test]
    fn counters_are_summed_and_named() {
        let counters = MibCounters::new(4);
        counters.count(Counter::IpInReceives);
        counters.add(Counter::IpInReceives, 2);
        assert_eq!((counters.get(Counter::IpInReceives), counters.get(Counter::UdpNoPorts)), (3, 0));
        for counter in Counter::ALL {
            assert!(!counter.name().1.is_empty());
        }
    }
}
