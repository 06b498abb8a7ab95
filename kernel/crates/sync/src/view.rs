//! [`ArcView`]: a counted reference with a way into it at hand.
//!
//! To call a method of an `Arc<dyn Trait>` the compiler first computes where in the allocation the object lies, from its alignment
//! in the table of methods. A view has done that once. It may also look at something further in: a part of the object, or
//! what the object refers to.

use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

/// A counted reference to an `O`, seen as the `V` that is a part of it.
pub struct ArcView<O: ?Sized, V: ?Sized> {
    view: NonNull<V>,
    owner: Arc<O>,
}

// SAFETY: it is a counted reference to `O`, and a plain one to `V`.
unsafe impl<O: ?Sized + Send + Sync, V: ?Sized + Sync> Send for ArcView<O, V> {}
// SAFETY: as above.
unsafe impl<O: ?Sized + Send + Sync, V: ?Sized + Sync> Sync for ArcView<O, V> {}

impl<O: ?Sized, V: ?Sized> ArcView<O, V> {
    /// Looks into `owner`.
    pub fn new(owner: Arc<O>, look: impl for<'a> FnOnce(&'a O) -> &'a V) -> Self {
        let view = NonNull::from(look(&owner));
        Self { view, owner }
    }

    /// What is looked into.
    #[inline]
    pub fn owner(view: &Self) -> &Arc<O> {
        &view.owner
    }
}

impl<O: ?Sized, V: ?Sized> Deref for ArcView<O, V> {
    type Target = V;

    #[inline]
    fn deref(&self) -> &V {
        // SAFETY: `look` gave a reference that is good for as long as any shared borrow of the owner. The owner does not move and
        // is not given up before the view, and the count held here keeps everybody from borrowing it mutably.
        unsafe { self.view.as_ref() }
    }
}

impl<O: ?Sized, V: ?Sized> Clone for ArcView<O, V> {
    fn clone(&self) -> Self {
        Self { view: self.view, owner: Arc::clone(&self.owner) }
    }
}

impl<O: ?Sized, V: ?Sized + fmt::Debug> fmt::Debug for ArcView<O, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_sees_what_its_owner_has() {
        let owner: Arc<(u32, [u8; 3])> = Arc::new((1, [2, 3, 4]));
        let view: ArcView<_, [u8]> = ArcView::new(Arc::clone(&owner), |owner| &owner.1[..]);
        let other = view.clone();
        drop(view);
        assert_eq!((&*other, Arc::strong_count(&owner)), (&[2, 3, 4][..], 2));
        assert!(Arc::ptr_eq(ArcView::owner(&other), &owner));
        drop(owner);
        assert_eq!(format!("{other:?}"), "[2, 3, 4]");
    }
}
