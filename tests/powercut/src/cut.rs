//! [`Cuts`]: the moments at which the power goes.
//!
//! Half of them are anywhere. The other half follow a promise closely: there a flush that is missing shows, because what the program
//! was promised is the newest of all that was written.

use testkit::Random;
use testkit::disk::{Image, Step, crashed};

use crate::machine::Layout;
use crate::recording::Recording;

/// How many steps after a promise the power goes at most.
const AFTER_PROMISE_MAX: usize = 4;
/// What a promise begins with; its number follows, as four bytes.
const PROMISE: &[u8; 8] = b"promised";

/// A moment, and the seed of what becomes of the writes that were under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// How many steps were done.
    pub(crate) steps: usize,
    seed: u64,
}

/// All moments of one recording.
pub(crate) struct Cuts {
    points: Vec<Point>,
    /// The steps that are promises, with their numbers.
    promises: Vec<(usize, u32)>,
    superblock_sector: u64,
}

impl Cuts {
    /// Chooses the moments.
    pub(crate) fn new(recording: &Recording, layout: &Layout, points: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let promises: Vec<(usize, u32)> =
            (0..).zip(&recording.steps).filter_map(|(at, step)| promise(at, step, layout)).collect();
        let steps = recording.steps.len();
        let points = (0..points).map(|number| {
            let at = if number % 2 == 0 || promises.is_empty() {
                random.below(steps + 1)
            } else {
                (random.pick(&promises).0 + 1 + random.below(AFTER_PROMISE_MAX)).min(steps)
            };
            Point { steps: at, seed: random.next_u64() }
        });
        Self { points: points.collect(), promises, superblock_sector: layout.superblock_sector() }
    }

    /// The moments.
    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    /// The last promise among the first `steps` steps. It counts from the moment it is written: the program was answered before.
    pub(crate) fn promised_at(&self, steps: usize) -> u32 {
        let before = self.promises.iter().take_while(|(at, _)| *at < steps);
        before.map(|(_, number)| *number).max().unwrap_or(0)
    }

    /// What the disk holds when the power goes then.
    pub(crate) fn disk(&self, recording: &Recording, before: &Image, point: Point) -> Image {
        let mut random = Random::new(point.seed);
        let mut disk = crashed(before, &recording.steps, point.steps, &mut random);
        self.mend_superblock(recording, before, point, &mut disk, &mut random);
        disk
    }

    /// The superblock of ext has two sectors, and a sum in the second. That a disk never tears it is what every system relies on:
    /// physical blocks have 4 KiB. So it is as one of the writes since the last flush left it, or as it was then.
    fn mend_superblock(
        &self,
        recording: &Recording,
        before: &Image,
        point: Point,
        disk: &mut Image,
        random: &mut Random,
    ) {
        let sectors = [self.superblock_sector, self.superblock_sector + 1];
        let mut so_far = sectors.map(|sector| before.get(sector));
        let mut versions = vec![so_far];
        for step in recording.steps.iter().take(point.steps) {
            let Step::Write { sector, data, is_forced } = step else {
                versions = vec![so_far];
                continue;
            };
            let end = sector + data.len() as u64;
            if *sector >= sectors[0] + 2 || end <= sectors[0] {
                continue;
            }
            for (number, data) in (*sector..).zip(data) {
                if let Some(known) =
                    number.checked_sub(sectors[0]).and_then(|at| so_far.get_mut(usize::try_from(at).ok()?))
                {
                    *known = *data;
                }
            }
            if *is_forced {
                versions.clear();
            }
            versions.push(so_far);
        }
        if !versions.contains(&sectors.map(|sector| disk.get(sector))) {
            let version = random.pick(&versions);
            sectors.into_iter().zip(version).for_each(|(sector, data)| disk.set(sector, *data));
        }
    }
}

fn promise(at: usize, step: &Step, layout: &Layout) -> Option<(usize, u32)> {
    let Step::Write { sector, data, .. } = step else { return None };
    let first = data.first().filter(|_| *sector == layout.marker_sector)?;
    let number = first.strip_prefix(PROMISE)?.first_chunk()?;
    Some((at, u32::from_le_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_counts_from_its_write_on() {
        let layout = Layout::default();
        let mut sector = [0; 512];
        sector[..8].copy_from_slice(PROMISE);
        sector[8] = 3;
        let write = Step::Write { sector: layout.marker_sector, data: vec![sector], is_forced: false };
        let other = Step::Write { sector: 5, data: vec![sector], is_forced: false };
        let recording = Recording { steps: vec![other, write, Step::Flush] };
        let cuts = Cuts::new(&recording, &layout, 50, 1);
        assert_eq!([cuts.promised_at(0), cuts.promised_at(1), cuts.promised_at(2), cuts.promised_at(3)], [0, 0, 3, 3]);
        assert!(cuts.points().iter().all(|point| point.steps <= 3));
        let last = Point { steps: 3, seed: 1 };
        assert_eq!(cuts.disk(&recording, &Image::default(), last).get(layout.marker_sector), sector);
    }
}
