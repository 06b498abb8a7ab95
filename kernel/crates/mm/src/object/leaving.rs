//! Objects that are let go of later: somebody had the last reference who must not end a file.
//!
//! That may be a fault, whose page was unmapped while it was fetched. It may have come in the middle of a call, under locks that
//! stand behind those which the end of a file takes. So the object is put on a list, whoever else has it, and the next who maps or
//! unmaps something, or closes a file or unmounts one's file system, lets go of it ([`settle`]). Each object on the list stands for
//! a fault that met such a call of another thread, which looks at the list at its end, and finds what came before; so there are
//! hardly more than threads.
//!
//! Lock: rank `LEAVING_OBJECTS`, for a change of the list alone.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use sync::{Mutex, rank};

use super::MappedObject;

static LEAVING: Mutex<Vec<Arc<dyn MappedObject>>> = Mutex::new(rank::LEAVING_OBJECTS, Vec::new());
/// Whether there are any.
static HAS_LEAVING: AtomicBool = AtomicBool::new(false);

/// Puts off letting go of an object. Under any locks but spinlocks.
#[cold]
pub(crate) fn leave(object: Arc<dyn MappedObject>) {
    LEAVING.lock().push(object);
    HAS_LEAVING.store(true, Relaxed);
}

/// Lets go of what was put off. Without locks; may sleep.
#[inline]
pub fn settle() {
    if HAS_LEAVING.load(Relaxed) {
        let_go();
    }
}

#[cold]
fn let_go() {
    let mut leaving = LEAVING.lock();
    HAS_LEAVING.store(false, Relaxed);
    let gone = core::mem::take(&mut *leaving);
    drop(leaving);
    drop(gone);
}
