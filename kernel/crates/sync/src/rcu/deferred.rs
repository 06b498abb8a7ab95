//! [`Deferred`]: something to be dropped later, without a name for its type and without memory of its own.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::ptr::NonNull;

/// A box or a counted reference whose drop is put off. Dropped itself, it drops what it holds at once.
pub struct Deferred {
    value: NonNull<()>,
    /// # Safety
    /// To be called once, with `value`.
    free: unsafe fn(NonNull<()>),
}

// SAFETY: made only from values that are Send, and Sync where they are shared.
unsafe impl Send for Deferred {}

impl Deferred {
    /// Puts off the drop of a box.
    pub fn from_box<T: Send + 'static>(value: Box<T>) -> Self {
        Self { value: NonNull::from(Box::leak(value)).cast(), free: free_box::<T> }
    }

    /// Puts off the drop of a reference, and perhaps of the value.
    pub fn from_arc<T: Send + Sync + 'static>(value: Arc<T>) -> Self {
        Self { value: not_null(Arc::into_raw(value)), free: free_arc::<T> }
    }

    /// Puts off the drop of a weak reference, and perhaps the end of the memory; the value itself has ended before.
    pub fn from_weak<T: Send + Sync + 'static>(value: Weak<T>) -> Self {
        Self { value: not_null(Weak::into_raw(value)), free: free_weak::<T> }
    }

    /// Puts off a call of `free`.
    ///
    /// # Safety
    /// `free(value)` must be sound at any later time, in any context, once.
    pub(super) unsafe fn from_raw(value: NonNull<()>, free: unsafe fn(NonNull<()>)) -> Self {
        Self { value, free }
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        // SAFETY: `free` is the function made for `value`, and a drop happens once.
        unsafe { (self.free)(self.value) }
    }
}

fn not_null<T>(value: *const T) -> NonNull<()> {
    NonNull::new(value.cast_mut().cast()).expect("references are not null")
}

/// # Safety
/// `value` is the box of a `T`, given up.
unsafe fn free_box<T>(value: NonNull<()>) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(value.cast::<T>().as_ptr()) });
}

/// # Safety
/// `value` is a strong reference to a `T`, given up.
unsafe fn free_arc<T>(value: NonNull<()>) {
    // SAFETY: the caller's promise.
    drop(unsafe { Arc::from_raw(value.cast::<T>().as_ptr()) });
}

/// # Safety
/// `value` is a weak reference to a `T`, given up.
unsafe fn free_weak<T>(value: NonNull<()>) {
    // SAFETY: the caller's promise.
    drop(unsafe { Weak::from_raw(value.cast::<T>().as_ptr().cast_const()) });
}
