//! The kernel's functions as records and coded names: see [`crate::Symbols`].

use std::collections::BTreeSet;
use std::io;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::{invalid, narrow};
use crate::layout::{NAMELESS, SymbolRecord};
use crate::symbols::{FIRST_PAIR, PAIR_COUNT, Pairs, SYMBOL_NAME_LEN_MAX};

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
    let names: BTreeSet<&str> = sorted.iter().map(|(_, name)| name.as_str()).filter(|name| !name.is_empty()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    if names.len() > usize::from(NAMELESS) {
        return Err(invalid("the kernel has too many functions"));
    }
    let mut records = Vec::with_capacity(sorted.len());
    for (offset, name) in &sorted {
        let number = names.binary_search(&name.as_str()).ok().map_or(Ok(NAMELESS), narrow)?;
        records.push(SymbolRecord { offset: U32::new(*offset), name: U16::new(number) });
    }
    Ok((records, coded(&names)?))
}

/// The pairs, and names in order, each without what it begins with as the one before does.
fn coded(names: &[&str]) -> io::Result<Vec<u8>> {
    let mut shared_lens = Vec::with_capacity(names.len());
    let mut own = Vec::with_capacity(names.len());
    let mut before: &[u8] = b"";
    for name in names.iter().map(|name| name.as_bytes()) {
        let shared_len = name.iter().zip(before).take_while(|(byte, other)| byte == other).count();
        shared_lens.push(shared_len);
        own.push(name[shared_len..].to_vec());
        before = name;
    }
    let pairs = put_pairs(&mut own);
    let mut coded = pairs.as_bytes().to_vec();
    for (shared_len, own) in shared_lens.into_iter().zip(own) {
        coded.push(narrow(shared_len)?);
        coded.push(narrow(own.len())?);
        coded.extend_from_slice(&own);
    }
    Ok(coded)
}

/// Puts the number of a pair in place of the two bytes that stand together most often, as often as there are numbers.
fn put_pairs(texts: &mut [Vec<u8>]) -> Pairs {
    let mut pairs = [[0; 2]; PAIR_COUNT];
    for (pair, number) in pairs.iter_mut().zip(FIRST_PAIR..=u8::MAX) {
        let mut counts = vec![0_u32; 1 << 16];
        for two in texts.iter().flat_map(|text| text.windows(2)) {
            counts[usize::from(u16::from_le_bytes([two[0], two[1]]))] += 1;
        }
        let Some((most, _)) =
            (0..=u16::MAX).zip(counts).max_by_key(|&(_, count)| count).filter(|&(_, count)| count > 1)
        else {
            break;
        };
        let most = most.to_le_bytes();
        *pair = most;
        for text in texts.iter_mut() {
            put_pair(text, most, number);
        }
    }
    pairs
}

fn put_pair(text: &mut Vec<u8>, pair: [u8; 2], number: u8) {
    let mut kept_len = 0;
    let mut at = 0;
    while at < text.len() {
        let is_pair = text[at..].starts_with(&pair);
        text[kept_len] = if is_pair { number } else { text[at] };
        kept_len += 1;
        at += if is_pair { pair.len() } else { 1 };
    }
    text.truncate(kept_len);
}

/// As much of a name as is kept: other characters than those of ASCII have no number.
fn kept(name: &str) -> String {
    name.chars().map(|character| if character.is_ascii() { character } else { '?' }).take(SYMBOL_NAME_LEN_MAX).collect()
}
