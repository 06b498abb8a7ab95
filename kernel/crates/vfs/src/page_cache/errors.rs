//! [`WriteErrors`]: errors of writing a file back, each of which is told once to everybody who has the file open.
//!
//! An error of writing back happens when nobody asks. So it gets a number in the file's cache, and whoever opens the
//! file remembers the last number there was: `fsync` tells of an error that came since. One that nobody was told of yet
//! is also news for who opens the file afterwards. (J. Layton's `errseq_t`, Linux 4.13.)

use abi::Errno;
use sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// The bits of the error.
const ERRNO_MASK: u32 = 0xfff;
/// Somebody was told of it.
const TOLD: u32 = 0x1000;
/// What one error counts, above these. The count may wrap: then an error is missed that came when half a million others
/// were told since.
const ONE: u32 = 0x2000;

/// Whether there was an error, in whatever file: it is rare enough that opening a file does not have to look.
static WERE_ANY: AtomicBool = AtomicBool::new(false);

/// The last error of a file, 0 for none.
#[derive(Default)]
pub(crate) struct WriteErrors(AtomicU32);

/// What somebody who has a file open knows of its errors. At first: none.
#[derive(Default)]
pub struct ErrorMark(AtomicU32);

impl WriteErrors {
    /// Notes an error.
    pub(super) fn note(&self, errno: Errno) {
        WERE_ANY.store(true, Relaxed);
        let next = |last: u32| {
            let count = (last & !(ERRNO_MASK | TOLD)).wrapping_add(if last == 0 || last & TOLD != 0 { ONE } else { 0 });
            Some(count | errno as u32 & ERRNO_MASK)
        };
        // It never refuses.
        let _ = self.0.fetch_update(Relaxed, Relaxed, next);
    }

    /// What who opens the file now knows.
    pub(super) fn mark(&self) -> ErrorMark {
        let last = self.0.load(Relaxed);
        ErrorMark(AtomicU32::new(if last & TOLD == 0 { 0 } else { last }))
    }

    /// Tells of an error that came since, once.
    pub(super) fn tell(&self, mark: &ErrorMark) -> Result<(), Errno> {
        let last = self.0.load(Relaxed);
        if last == 0 || last | TOLD == mark.0.load(Relaxed) {
            return Ok(());
        }
        // If another error comes meanwhile, that one is told the next time.
        let _ = self.0.compare_exchange(last, last | TOLD, Relaxed, Relaxed);
        mark.0.store(last | TOLD, Relaxed);
        let errno = u16::try_from(last & ERRNO_MASK).ok().and_then(Errno::from_raw);
        Err(errno.unwrap_or(Errno::EIO))
    }
}

/// Whether there was an error in any file.
pub(crate) fn were_any() -> bool {
    WERE_ANY.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once() {
        let errors = WriteErrors::default();
        let (one, other) = (errors.mark(), errors.mark());
        assert_eq!(errors.tell(&one), Ok(()));
        errors.note(Errno::EIO);
        assert_eq!((errors.tell(&one), errors.tell(&one)), (Err(Errno::EIO), Ok(())));
        assert_eq!((errors.tell(&other), errors.tell(&other)), (Err(Errno::EIO), Ok(())));
        assert_eq!(errors.tell(&errors.mark()), Ok(()), "it is old");
        errors.note(Errno::ENOSPC);
        let late = errors.mark();
        errors.note(Errno::ENOSPC);
        for mark in [&one, &other, &late] {
            assert_eq!((errors.tell(mark), errors.tell(mark)), (Err(Errno::ENOSPC), Ok(())), "nobody was told yet");
        }
    }
}
