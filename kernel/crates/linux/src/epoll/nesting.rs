//! Which instance may watch which: no circles, and not too deep, as every level is a level of calls in a wake.

use abi::Errno;

use super::Epoll;

/// How many instances may lie above each other.
const LEVELS_MAX: usize = 5;

/// Checks that `outer` may watch `inner`; `ELOOP` if not. The caller sees to it that no instance is added to another in the
/// meantime.
pub(crate) fn check_nesting(outer: &Epoll, inner: &Epoll) -> Result<(), Errno> {
    let levels_below = levels_without(inner, outer)?;
    if outer.core.height() + levels_below > LEVELS_MAX { Err(Errno::ELOOP) } else { Ok(()) }
}

/// How many levels of instances there are from `from` down, this one included; `ELOOP` if `avoided` is one of them. As none
/// is too deep, neither is this recursion.
fn levels_without(from: &Epoll, avoided: &Epoll) -> Result<usize, Errno> {
    if core::ptr::eq(from, avoided) {
        return Err(Errno::ELOOP);
    }
    let items = from.items.lock_nested();
    let below = items
        .iter()
        .filter_map(|item| item.nested())
        .try_fold(0, |deepest, inner| Ok::<_, Errno>(levels_without(inner, avoided)?.max(deepest)))?;
    Ok(below + 1)
}
