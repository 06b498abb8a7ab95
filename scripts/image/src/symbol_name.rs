//! What a function of the kernel is called in a panic: its path, short.
//!
//! A compiled kernel has a function for each set of arguments of a generic one, and pieces of code that several functions share. Their
//! full names would take more memory than what they say is worth.

use rustc_demangle::demangle;

/// What the compiler calls code that it found in several functions.
const SHARED_CODE: &str = "OUTLINED_FUNCTION_";

/// The name to show of a symbol: without hashes, and without the arguments of generics.
pub(crate) fn shown(symbol: &str) -> String {
    if symbol.starts_with(SHARED_CODE) {
        "(shared code)".into()
    } else {
        without_arguments(&format!("{:#}", demangle(symbol)))
    }
}

/// `<Vec<u8> as Write>::write::<u8>` as `<Vec as Write>::write`.
fn without_arguments(name: &str) -> String {
    let mut kept = String::with_capacity(name.len());
    let mut depth = 0_usize;
    let mut before = ' ';
    for character in name.chars() {
        let is_after_name = before.is_alphanumeric() || matches!(before, '_' | ':' | '}');
        match character {
            '<' if depth > 0 || is_after_name => {
                depth += 1;
                if kept.ends_with("::") {
                    kept.truncate(kept.len() - 2);
                }
            }
            '>' if depth > 0 && before != '-' => depth -= 1,
            _ if depth > 0 => {}
            _ => kept.push(character),
        }
        before = character;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_generics_are_left_out() {
        let cases = [
            ("sched::run_queue::RunQueue::enter", "sched::run_queue::RunQueue::enter"),
            ("<sched::run_queue::RunQueue>::enter::<kernel::Table>", "<sched::run_queue::RunQueue>::enter"),
            ("<Vec<Box<dyn Fn(u8) -> u8>> as core::fmt::Write>::write_str", "<Vec as core::fmt::Write>::write_str"),
            ("<<A as B<C>>::D as E>::f::<G>::{closure#0}", "<<A as B>::D as E>::f::{closure#0}"),
            ("core::ptr::drop_in_place<alloc::vec::Vec<u8>>", "core::ptr::drop_in_place"),
            ("memcpy", "memcpy"),
        ];
        for (name, short) in cases {
            assert_eq!(without_arguments(name), short);
        }
    }

    #[test]
    fn symbols_of_the_compiler_are_shown() {
        assert_eq!(shown("OUTLINED_FUNCTION_12"), "(shared code)");
        assert_eq!(
            shown("_ZN5sched9run_queue8RunQueue5enter17h0123456789abcdefE"),
            "sched::run_queue::RunQueue::enter"
        );
        assert_eq!(shown("_RNvNtCs1234_7mycrate3foo3bar"), "mycrate::foo::bar");
    }
}
