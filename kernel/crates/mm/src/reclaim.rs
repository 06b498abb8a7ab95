//! Memory that caches give back when there is too little, and what who asks for it may wait for.
//!
//! 1. *What.* Frames whose contents are on a disk as well: the clean pages of files. Memory of programs and files that are
//!    nothing but memory stay, as there is no swap.
//! 2. *When a page may go.* Its cache drops it, with the lock on its pages held, when the page is clean and the cache has the
//!    only reference to the frame. An entry of a page table holds one, and so do a transfer, a pipe, a page on its way to the
//!    disk, and a fault that has fetched the page and not mapped it yet; and who has none gets one by that lock alone. So a page
//!    is never in two frames, and no store is lost.
//! 3. *Mapped pages* have to be taken out of page tables first ([`Mappings::take_unused`]). That is right at any time: who
//!    still needs the page faults, and finds it in the cache or has it read again. Nothing is noted for faults under way, other
//!    than when a file is cut: what they fetched is still the file's page, by 2. Pages in locked areas stay, and so do a
//!    mapping's own copies.
//! 4. *Which.* A hand goes round all files and their pages ("clock": F. J. Corbato, "A Paging Experiment with the Multics
//!    System", MIT Project MAC, 1968). A mapped page that was used since the hand came by last loses the mark of it, and
//!    stays for another round; one that has no mark goes. Only when two rounds found nothing, the marks do not count.
//! 5. *Who waits for nothing.* A frame may be asked for in the middle of a file system, with any locks held but spinlocks. What
//!    is done for it then ([`at_once`]) tries locks and takes no refusal amiss: it leaves out what it cannot have, and begins no
//!    transfer. So it closes no circle, whatever the caller holds; for the same reason it lets go of no address space itself.
//! 6. *Who may wait.* A fault, and who looks after it all in the background, hold no lock from
//!    [`sync::rank::CACHE_WRITERS`] on. They wait for locks ([`wait_for`]), and when everything that could go is dirty, for the
//!    disk. Writing back needs frames itself, and gets them by 5: it never comes here.
//! 7. *The end.* A fault fails for want of memory only when 6 gave nothing. What failed under locks, by 5, fails as a
//!    whole up to the fault, which is tried again.
//!
//! The caches are above this crate: they say what to call ([`set_reclaimer`]).

use sync::Once;

#[cfg(doc)]
use crate::object::Mappings;

/// How pages are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Locks are waited for. Without it what somebody holds is left out.
    pub may_wait: bool,
    /// Mapped pages go even if they were used lately.
    pub takes_used: bool,
}

/// Who can give frames back.
pub trait Reclaimer: Sync {
    /// Gives some back; whether there were any. Waits only if it may.
    fn reclaim(&self, may_wait: bool) -> bool;

    /// Gives some back that was not used lately, without waiting; whether there was any.
    fn reclaim_unused(&self) -> bool;

    /// Memory is short: whoever does this in the background is to begin. Called now and then, under any locks but spinlocks.
    fn note_shortage(&self);
}

static RECLAIMER: Once<&'static dyn Reclaimer> = Once::new();

/// Says who can give frames back. Once; later calls have no effect.
pub fn set_reclaimer(reclaimer: &'static dyn Reclaimer) {
    RECLAIMER.call_once(|| reclaimer);
}

/// Has memory given back, without waiting; whether there was any. Not for interrupts, nor under a spinlock.
pub fn at_once() -> bool {
    reclaim(false)
}

/// Has memory given back that nobody has used lately, without waiting; whether there was any. For who has memory, and asks for the
/// sake of what comes. Not for interrupts, nor under a spinlock.
pub fn unused_at_once() -> bool {
    RECLAIMER.get().is_some_and(|reclaimer| reclaimer.reclaim_unused())
}

/// Has memory given back, whatever that takes; whether there was any. The caller holds no lock from
/// [`sync::rank::CACHE_WRITERS`] on.
pub fn wait_for() -> bool {
    reclaim(true)
}

fn reclaim(may_wait: bool) -> bool {
    RECLAIMER.get().is_some_and(|reclaimer| reclaimer.reclaim(may_wait))
}

/// Memory is short.
pub(crate) fn note_shortage() {
    if let Some(reclaimer) = RECLAIMER.get() {
        reclaimer.note_shortage();
    }
}
