//! [`Policy`]: what a thread may expect of the scheduler, and [`Weight`], its part of a CPU among the fair ones.
//!
//! The weights are those of Linux (`sched_prio_to_weight` of kernel/sched/core.c, documented in sched(7) as "a nice level is
//! worth 10% of the CPU", a factor of 1.25 to a level), so that nice values mean what programs know.

/// The highest priority of the real-time policies; the lowest is 1.
pub const PRIORITY_MAX: u8 = 99;

/// The weight of nice 0.
pub const WEIGHT_UNIT: u32 = 1024;

/// The weight of a real-time thread, which only counts for the load of its CPU: as much as any other thread can have.
const REALTIME_WEIGHT: u32 = WEIGHTS[0];

/// The weight of `SCHED_IDLE`.
const IDLE_WEIGHT: u32 = 3;

const NICE_MIN: i8 = -20;
const NICE_MAX: i8 = 19;

const WEIGHTS: [u32; 40] = [
    88_761, 71_755, 56_483, 46_273, 36_291, // -20
    29_154, 23_254, 18_705, 14_949, 11_916, // -15
    9_548, 7_620, 6_100, 4_904, 3_906, // -10
    3_121, 2_501, 1_991, 1_586, 1_277, // -5
    1_024, 820, 655, 526, 423, // 0
    335, 272, 215, 172, 137, // 5
    110, 87, 70, 56, 45, // 10
    36, 29, 23, 18, 15, // 15
];

/// How a thread is scheduled. The names are Linux's, see sched(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `SCHED_OTHER`: a fair part of what the real-time threads leave, by nice value.
    Other {
        /// -20, the greatest part, to 19.
        nice: i8,
    },
    /// `SCHED_BATCH`: as `Other`, but waking up does not preempt.
    Batch {
        /// As for `Other`.
        nice: i8,
    },
    /// `SCHED_IDLE`: the least part.
    Idle,
    /// `SCHED_FIFO`: runs until it blocks, yields or one of a higher priority comes.
    Fifo {
        /// 1 to [`PRIORITY_MAX`], the most urgent.
        priority: u8,
    },
    /// `SCHED_RR`: as `Fifo`, but takes turns with others of its priority.
    RoundRobin {
        /// As for `Fifo`.
        priority: u8,
    },
}

/// A weight with its inverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    value: u32,
    /// `2^32 / value`.
    inverse: u32,
}

impl Weight {
    /// That of nice 0.
    pub(crate) const UNIT: Self = Self::of(WEIGHT_UNIT);

    #[expect(clippy::cast_possible_truncation, reason = "every weight is at least 3, so the quotient has 31 bits")]
    const fn of(value: u32) -> Self {
        debug_assert!(value >= IDLE_WEIGHT);
        Self { value, inverse: (((1_u64 << 32) + value as u64 / 2) / value as u64) as u32 }
    }

    /// The weight; [`WEIGHT_UNIT`] is that of nice 0.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.value
    }

    /// The weight in two words.
    pub(crate) const fn to_words(self) -> [u32; 2] {
        [self.value, self.inverse]
    }

    /// From [`to_words`](Self::to_words).
    pub(crate) const fn from_words([value, inverse]: [u32; 2]) -> Self {
        Self { value, inverse }
    }

    /// `amount * WEIGHT_UNIT / weight`, rounded down.
    #[inline]
    pub(crate) fn cost(self, amount: u64) -> u64 {
        if self.value == WEIGHT_UNIT {
            return amount;
        }
        let scaled = (u128::from(amount) * u128::from(self.inverse)) >> INVERSE_SHIFT;
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    /// The least amount that costs at least `cost`.
    pub(crate) fn amount(self, cost: u64) -> u64 {
        // Nearly always: without a division of 128 bits.
        if cost <= u64::MAX >> INVERSE_SHIFT {
            return (cost << INVERSE_SHIFT).div_ceil(u64::from(self.inverse));
        }
        let amount = (u128::from(cost) << INVERSE_SHIFT).div_ceil(u128::from(self.inverse));
        u64::try_from(amount).unwrap_or(u64::MAX)
    }
}

/// `2^32 / WEIGHT_UNIT`.
const INVERSE_SHIFT: u32 = 32 - WEIGHT_UNIT.trailing_zeros();

impl Policy {
    /// The part of a CPU that the policy gives among the fair threads; for real-time threads, what they add to a load.
    #[must_use]
    pub fn weight(self) -> Weight {
        const TABLE: [Weight; 40] = {
            let mut table = [Weight::of(WEIGHT_UNIT); 40];
            let mut index = 0;
            while index < table.len() {
                table[index] = Weight::of(WEIGHTS[index]);
                index += 1;
            }
            table
        };
        match self {
            Self::Other { nice } | Self::Batch { nice } => {
                TABLE[usize::from(nice.clamp(NICE_MIN, NICE_MAX).abs_diff(NICE_MIN))]
            }
            Self::Idle => const { Weight::of(IDLE_WEIGHT) },
            Self::Fifo { .. } | Self::RoundRobin { .. } => const { Weight::of(REALTIME_WEIGHT) },
        }
    }

    /// Whether it is one of the fair policies, not a real-time one.
    #[inline]
    pub(crate) const fn is_fair(self) -> bool {
        !matches!(self, Self::Fifo { .. } | Self::RoundRobin { .. })
    }

    /// The priority of a real-time policy.
    #[must_use]
    pub fn priority(self) -> Option<u8> {
        match self {
            Self::Fifo { priority } | Self::RoundRobin { priority } => Some(priority.clamp(1, PRIORITY_MAX)),
            Self::Other { .. } | Self::Batch { .. } | Self::Idle => None,
        }
    }

    /// How urgent a thread of this policy is.
    #[must_use]
    pub fn urgency(self) -> Urgency {
        match self.priority() {
            Some(priority) => Urgency(Urgency::FAIR.0 + priority),
            None => Urgency::FAIR,
        }
    }

    /// Whichever of the two gets more: the more urgent one, among fair ones that of the greater weight. This one if they are alike.
    #[must_use]
    pub fn or_more_urgent(self, other: Self) -> Self {
        let rank = |policy: Self| (policy.urgency(), policy.weight().value());
        if rank(other) > rank(self) { other } else { self }
    }

    /// What [`to_bits`](Self::to_bits) says of `SCHED_OTHER` with nice 0.
    pub(crate) const PLAIN_BITS: u32 = 0;

    /// The policy in one word.
    pub(crate) fn to_bits(self) -> u32 {
        let (class, level) = match self {
            Self::Other { nice } => (0, nice.cast_unsigned()),
            Self::Batch { nice } => (1, nice.cast_unsigned()),
            Self::Idle => (2, 0),
            Self::Fifo { priority } => (3, priority),
            Self::RoundRobin { priority } => (4, priority),
        };
        u32::from_le_bytes([class, level, 0, 0])
    }

    pub(crate) fn from_bits(bits: u32) -> Self {
        let [class, level, ..] = bits.to_le_bytes();
        match class {
            0 => Self::Other { nice: level.cast_signed() },
            1 => Self::Batch { nice: level.cast_signed() },
            3 => Self::Fifo { priority: level },
            4 => Self::RoundRobin { priority: level },
            _ => Self::Idle,
        }
    }
}

/// How urgent what a CPU does is: the greater goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Urgency(u8);

impl Urgency {
    /// The CPU does nothing.
    pub const NOTHING: Self = Self(0);
    /// A thread of one of the fair policies. Those of the real-time policies follow by their priority.
    pub const FAIR: Self = Self(1);

    /// As a number, for an atomic in which a CPU publishes it.
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// From [`to_bits`](Self::to_bits).
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_of_nice_is_a_factor_of_five_quarters() {
        for pair in WEIGHTS.windows(2) {
            let percent = pair[0] * 100 / pair[1];
            assert!((118..=130).contains(&percent), "{pair:?}");
        }
        assert_eq!(Policy::Other { nice: 0 }.weight().value(), WEIGHT_UNIT);
        assert_eq!(Policy::Other { nice: 19 }.weight(), Weight { value: 15, inverse: 286_331_153 });
        assert_eq!(Policy::Batch { nice: -20 }.weight(), Weight { value: 88_761, inverse: 48_388 });
    }

    #[test]
    fn amount_is_the_least_that_costs() {
        for policy in [Policy::Other { nice: -20 }, Policy::Other { nice: 3 }, Policy::Idle] {
            let weight = policy.weight();
            for cost in [1, 2, 1000, 123_456_789, 1 << 50] {
                let amount = weight.amount(cost);
                assert!(weight.cost(amount) >= cost && weight.cost(amount - 1) < cost, "{policy:?} {cost}");
            }
        }
    }

    #[test]
    fn policies_survive_a_word() {
        for policy in [
            Policy::Other { nice: -20 },
            Policy::Batch { nice: 19 },
            Policy::Idle,
            Policy::Fifo { priority: 99 },
            Policy::RoundRobin { priority: 1 },
        ] {
            assert_eq!(Policy::from_bits(policy.to_bits()), policy);
            assert_ne!(policy.to_bits(), Policy::PLAIN_BITS);
        }
        assert_eq!(Policy::Other { nice: 0 }.to_bits(), Policy::PLAIN_BITS);
    }

    #[test]
    fn the_more_urgent_of_two_is_found() {
        let (nice, other, idle) = (Policy::Other { nice: 19 }, Policy::Other { nice: 0 }, Policy::Idle);
        let (low, high) = (Policy::Fifo { priority: 1 }, Policy::RoundRobin { priority: 9 });
        for pair in [(idle, nice), (nice, other), (other, low), (low, high)] {
            assert_eq!(pair.0.or_more_urgent(pair.1), pair.1);
            assert_eq!(pair.1.or_more_urgent(pair.0), pair.1);
        }
        let alike = Policy::Fifo { priority: 9 };
        assert_eq!(high.or_more_urgent(alike), high);
    }

    #[test]
    fn real_time_goes_first() {
        let order = [Policy::Idle, Policy::Fifo { priority: 1 }, Policy::RoundRobin { priority: 2 }];
        assert!(order.windows(2).all(|pair| pair[0].urgency() < pair[1].urgency()));
        assert!(Urgency::NOTHING < Policy::Idle.urgency());
    }
}
