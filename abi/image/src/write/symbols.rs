//! The kernel's functions as records and front-coded names: see [`crate::Symbols`].

use std::collections::BTreeSet;
use std::io;

use zerocopy::little_endian::{U16, U32};

use super::{invalid, narrow};
use crate::layout::{NAMELESS, SymbolRecord};
use crate::symbols::SYMBOL_NAME_LEN_MAX;

/// A function of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SymbolSource {
    /// The distance from the kernel's link base.
    pub offset: u32,
    /// The name to show, cut off if it is long; none closes the function before.
    pub name: String,
}

/// The records in the order of their offsets, and the names they mean.
pub(super) fn tables(symbols: &[SymbolSource]) -> io::Result<(Vec<SymbolRecord>, Vec<u8>)> {
    let mut sorted: Vec<_> = symbols.iter().map(|symbol| (symbol.offset, kept(&symbol.name))).collect();
    sorted.sort_unstable();
    let names: BTreeSet<&str> = sorted.iter().map(|(_, name)| *name).filter(|name| !name.is_empty()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    if names.len() > usize::from(NAMELESS) {
        return Err(invalid("the kernel has too many functions"));
    }
    let mut records = Vec::with_capacity(sorted.len());
    for (offset, name) in sorted {
        let number = names.binary_search(&name).ok().map_or(Ok(NAMELESS), narrow)?;
        records.push(SymbolRecord { offset: U32::new(offset), name: U16::new(number) });
    }
    Ok((records, front_coded(&names)?))
}

/// Names in order, each without what it begins with as the one before does.
fn front_coded(names: &[&str]) -> io::Result<Vec<u8>> {
    let mut coded = Vec::new();
    let mut before: &[u8] = b"";
    for name in names.iter().map(|name| name.as_bytes()) {
        let shared_len = name.iter().zip(before).take_while(|(byte, other)| byte == other).count();
        coded.push(narrow(shared_len)?);
        coded.push(narrow(name.len() - shared_len)?);
        coded.extend_from_slice(&name[shared_len..]);
        before = name;
    }
    Ok(coded)
}

/// As much of a name as is kept.
fn kept(name: &str) -> &str {
    let ends = name.char_indices().map(|(start, character)| start + character.len_utf8());
    &name[..ends.take_while(|&end| end <= SYMBOL_NAME_LEN_MAX).last().unwrap_or(0)]
}
