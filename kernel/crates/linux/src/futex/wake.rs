//! Waking those who wait for a word, and making them wait for another one.

use abi::Errno;
use sync::keyed::{Queue, Step};

use super::key::{Key, Sharing};
use super::word;
use super::{ALL_BITS, Entry, QUEUES, Role, Woken};
use crate::SyscallResult;
use crate::process::Process;
use crate::thread::Thread;

/// How many a call wakes: it stops when it has woken so many, but that is after the first one. Linux counts like this in the
/// older calls, where 0 and negative numbers mean 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Count(i32);

impl Count {
    /// As programs give it.
    pub(crate) fn from_argument(count: i32) -> Self {
        Self(count)
    }

    /// So many.
    pub(crate) fn at_most(count: u32) -> Self {
        Self(i32::try_from(count).unwrap_or(i32::MAX))
    }

    fn is_reached_by(self, woken: i32) -> bool {
        woken >= self.0
    }
}

/// `FUTEX_WAKE` and `FUTEX_WAKE_BITSET`.
#[inline]
pub(crate) fn wake(thread: &Thread, sharing: Sharing, address: usize, count: Count, bits: u32) -> SyscallResult {
    let woken = wake_in(thread.process(), sharing, address, count, bits)?;
    Ok(usize::try_from(woken).unwrap_or(0))
}

/// What [`wake`] answers when it is to wake nobody.
pub(crate) fn check(thread: &Thread, sharing: Sharing, address: usize) -> SyscallResult {
    Key::of(thread.process(), sharing, address, false)?;
    Ok(0)
}

/// Wakes those who wait for a word of a process, and answers how many.
#[inline]
pub(super) fn wake_in(
    process: &Process,
    sharing: Sharing,
    address: usize,
    count: Count,
    bits: u32,
) -> Result<i32, Errno> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = Key::of(process, sharing, address, false)?;
    QUEUES.lock_waited(&key).map_or(Ok(0), |queue| wake_queue(queue, &key, count, bits))
}

#[inline(never)]
fn wake_queue(mut queue: Queue<'_, Key, Role>, key: &Key, count: Count, bits: u32) -> Result<i32, Errno> {
    let mut woken = Woken::new();
    let mut wakes = Wakes::new(count, bits);
    queue.walk(key, &mut woken, |entry| wakes.visit(entry));
    drop(queue);
    drop(woken);
    wakes.answer()
}

/// Takes one of those who wait for a word of a process; dropped, the answer wakes it.
pub(super) fn take_one(process: &Process, sharing: Sharing, address: usize) -> Result<Woken, Errno> {
    let key = Key::of(process, sharing, address, false)?;
    let mut woken = Woken::new();
    if let Some(mut queue) = QUEUES.lock_waited(&key) {
        let mut wakes = Wakes::new(Count::at_most(1), ALL_BITS);
        queue.walk(&key, &mut woken, |entry| wakes.visit(entry));
    }
    Ok(woken)
}

/// Wakes waiters as a walk meets them.
struct Wakes {
    count: Count,
    bits: u32,
    woken: i32,
    is_refused: bool,
}

impl Wakes {
    fn new(count: Count, bits: u32) -> Self {
        Self { count, bits, woken: 0, is_refused: false }
    }

    #[inline]
    fn visit(&mut self, entry: &Entry) -> Step<Key> {
        if !matches!(entry.role, Role::Plain) {
            self.is_refused = true;
            return Step::Stop;
        }
        if entry.bits & self.bits == 0 {
            return Step::Stay;
        }
        self.woken += 1;
        if self.count.is_reached_by(self.woken) { Step::WakeAndStop } else { Step::Wake }
    }

    /// How many were woken. `EINVAL` if someone waits for a lock there, which is not for waking.
    fn answer(&self) -> Result<i32, Errno> {
        if self.is_refused { Err(Errno::EINVAL) } else { Ok(self.woken) }
    }
}

/// Two words of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Both {
    pub sharing: Sharing,
    pub first: usize,
    pub second: usize,
}

/// What `FUTEX_REQUEUE` and `FUTEX_CMP_REQUEUE` do: if the first word has the value `expected`, or whatever it has if that is
/// none, wakes `wake` of its waiters, and makes `limit` more wait for the second word. Answers how many were woken or
/// moved. `EAGAIN` if the word has another value.
pub(crate) fn requeue(thread: &Thread, both: Both, wake: i32, limit: i32, expected: Option<u32>) -> SyscallResult {
    if wake < 0 || limit < 0 {
        return Err(Errno::EINVAL.into());
    }
    loop {
        let first = Key::of(thread.process(), both.sharing, both.first, false)?;
        let second = Key::of(thread.process(), both.sharing, both.second, false)?;
        let mut woken = Woken::new();
        let mut queues = QUEUES.lock_two(&first, &second);
        if let Some(expected) = expected {
            match word::load(both.first) {
                Ok(found) if found == expected => {}
                Ok(_) => return Err(Errno::EAGAIN.into()),
                Err(absent) => {
                    drop(queues);
                    absent.resolve()?;
                    continue;
                }
            }
        }
        let (mut reached, mut is_refused) = (0, false);
        queues.walk_first(&first, &mut woken, |entry| {
            // In two steps, as the sum may be too large.
            if reached >= wake && reached - wake >= limit {
                return Step::Stop;
            }
            if !matches!(entry.role, Role::Plain) {
                is_refused = true;
                return Step::Stop;
            }
            reached += 1;
            if reached <= wake { Step::Wake } else { Step::Move(second) }
        });
        drop(queues);
        drop(woken);
        return if is_refused { Err(Errno::EINVAL.into()) } else { Ok(usize::try_from(reached).unwrap_or(0)) };
    }
}

/// What `FUTEX_WAKE_OP` does to a word, and how it looks at what was there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Operation {
    change: Change,
    argument: u32,
    /// Numbers above [`COMPARISON_MAX`] are unknown.
    comparison: u32,
    bound: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Set,
    Add,
    Or,
    AndNot,
    Xor,
}

const COMPARISON_MAX: u32 = 5;

impl Operation {
    /// From the word that encodes it: 4 bits that say what to do, 4 that say how to compare, and 12 for the argument of
    /// each, with signs. `ENOSYS` for what there is not.
    pub(crate) fn decode(word: u32) -> Result<Self, Errno> {
        const IS_SHIFT: u32 = 8 << 28;
        const SHIFT_MASK: u32 = 31;
        let signed = |field: u32| (field << 20).cast_signed() >> 20;
        let change = match word >> 28 & 7 {
            0 => Change::Set,
            1 => Change::Add,
            2 => Change::Or,
            3 => Change::AndNot,
            4 => Change::Xor,
            _ => return Err(Errno::ENOSYS),
        };
        let mut argument = signed(word >> 12).cast_unsigned();
        if word & IS_SHIFT != 0 {
            argument = 1 << (argument & SHIFT_MASK);
        }
        Ok(Self { change, argument, comparison: word >> 24 & 0xf, bound: signed(word) })
    }

    fn apply(self, old: u32) -> u32 {
        match self.change {
            Change::Set => self.argument,
            Change::Add => old.wrapping_add(self.argument),
            Change::Or => old | self.argument,
            Change::AndNot => old & !self.argument,
            Change::Xor => old ^ self.argument,
        }
    }

    /// Whether the old value is as the call wants it. `ENOSYS` for a comparison there is not: the change is made then.
    fn accepts(self, old: u32) -> Result<bool, Errno> {
        let old = old.cast_signed();
        Ok(match self.comparison {
            0 => old == self.bound,
            1 => old != self.bound,
            2 => old < self.bound,
            3 => old <= self.bound,
            4 => old > self.bound,
            COMPARISON_MAX => old >= self.bound,
            _ => return Err(Errno::ENOSYS),
        })
    }
}

/// `FUTEX_WAKE_OP`: changes the second word, wakes `count` waiters of the first, and `second_count` of the second if its old
/// value was as the operation says.
pub(crate) fn wake_and_change(
    thread: &Thread,
    both: Both,
    count: Count,
    second_count: Count,
    encoded: u32,
) -> SyscallResult {
    loop {
        let first = Key::of(thread.process(), both.sharing, both.first, false)?;
        let second = Key::of(thread.process(), both.sharing, both.second, true)?;
        let operation = Operation::decode(encoded)?;
        let mut woken = Woken::new();
        let mut queues = QUEUES.lock_two(&first, &second);
        let old = match word::update(both.second, |old| operation.apply(old)) {
            Ok(old) => old,
            Err(absent) => {
                drop(queues);
                absent.resolve()?;
                continue;
            }
        };
        let wakes_second = operation.accepts(old)?;
        let mut firsts = Wakes::new(count, super::ALL_BITS);
        queues.first().walk(&first, &mut woken, |entry| firsts.visit(entry));
        let mut seconds = Wakes::new(second_count, super::ALL_BITS);
        if wakes_second && !firsts.is_refused {
            queues.second().walk(&second, &mut woken, |entry| seconds.visit(entry));
        }
        drop(queues);
        drop(woken);
        let sum = firsts.answer()? + seconds.answer()?;
        return Ok(usize::try_from(sum).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(change: u32, argument: u32, comparison: u32, bound: u32) -> u32 {
        change << 28 | comparison << 24 | (argument & 0xfff) << 12 | bound & 0xfff
    }

    #[test]
    fn operations_are_decoded() {
        let results: Vec<u32> = (0..5)
            .map(|change| {
                Operation::decode(encode(change, 0b110, 0, 0)).map(|operation| operation.apply(0b11)).unwrap()
            })
            .collect();
        assert_eq!(results, [0b110, 9, 0b111, 0b1, 0b101]);
        assert_eq!(Operation::decode(encode(5, 0, 0, 0)), Err(Errno::ENOSYS));
        let minus = Operation::decode(encode(1, 0xfff, 0, 0)).unwrap();
        assert_eq!(minus.apply(3), 2);
        let shifted = Operation::decode(encode(8, 33, 0, 0)).unwrap();
        assert_eq!(shifted.apply(0), 2);
    }

    #[test]
    fn comparisons_have_signs() {
        let accepts = |comparison, bound, old: i32| {
            Operation::decode(encode(0, 0, comparison, bound)).unwrap().accepts(old.cast_unsigned())
        };
        for (comparison, at_minus_two, at_minus_one, at_zero) in
            [(0, false, true, false), (1, true, false, true), (2, true, false, false), (3, true, true, false)]
        {
            let answers = [-2, -1, 0].map(|old| accepts(comparison, 0xfff, old).unwrap());
            assert_eq!(answers, [at_minus_two, at_minus_one, at_zero], "{comparison}");
        }
        assert_eq!(accepts(4, 5, 5), Ok(false));
        assert_eq!(accepts(5, 5, 5), Ok(true));
        assert_eq!(accepts(6, 5, 5), Err(Errno::ENOSYS));
    }
}
