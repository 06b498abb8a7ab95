//! [`sort_by_key`]: sorting for deep places.
//!
//! The sorts of `core` are faster, and take kilobytes of stack: a buffer of 4 KiB, or one call within another with room
//! for dozens of elements each. Requests are sorted at the end of the longest ways through the kernel, whose stacks
//! have 16 KiB.
//!
//! Heap sort (J. Williams, "Algorithm 232", CACM 7.6, 1964): in place, without recursion. Equal elements may change
//! places.

/// Sorts by a key.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    for root in (0..items.len() / 2).rev() {
        sift_down(items, root, &key);
    }
    for end in (1..items.len()).rev() {
        items.swap(0, end);
        if let Some(heap) = items.get_mut(..end) {
            sift_down(heap, 0, &key);
        }
    }
}

/// Moves the element at `root` down until no child is larger.
fn sift_down<T, K: Ord>(heap: &mut [T], mut root: usize, key: &impl Fn(&T) -> K) {
    loop {
        let left = 2 * root + 1;
        let key_at = |at: usize| heap.get(at).map(key);
        // An absent one is smaller than all.
        let larger = if key_at(left + 1) > key_at(left) { left + 1 } else { left };
        if key_at(larger) <= key_at(root) {
            return;
        }
        heap.swap(root, larger);
        root = larger;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::sort_by_key;

    #[test]
    fn numbers_are_sorted() {
        let mut state = 1_u32;
        for len in 0..200 {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state >> 24
            };
            let mut numbers: Vec<u32> = (0..len).map(|_| next()).collect();
            let mut expected = numbers.clone();
            expected.sort_unstable();
            sort_by_key(&mut numbers, |number| *number);
            assert_eq!(numbers, expected);
        }
    }
}
