//! The exception tables of C++, Rust and C (the language-specific data area of the LSB and the Itanium C++ ABI): where
//! the unwinder goes on in a function.

use gimli::{DwEhPe, EndianSlice, LittleEndian, Reader};

/// A bound for damaged tables; a function of 100,000 calls has no more.
const CALL_SITES_MAX: usize = 1 << 20;

/// The landing pads in the table at `address`, whose function begins at `function`. `None` when it cannot be read.
pub(super) fn landing_pads(bytes: &[u8], address: u64, function: u64) -> Option<Vec<u64>> {
    let mut reader = EndianSlice::new(bytes, LittleEndian);
    let start = match read_encoding(&mut reader)? {
        None => function,
        Some(encoding) => read_address(&mut reader, encoding, bytes.len(), address)?,
    };
    if read_encoding(&mut reader)?.is_some() {
        reader.read_uleb128().ok()?;
    }
    let encoding = read_encoding(&mut reader)??;
    let size = usize::try_from(reader.read_uleb128().ok()?).ok()?;
    let mut sites = reader.split(size).ok()?;
    let mut pads = Vec::new();
    for _ in 0..CALL_SITES_MAX {
        if sites.is_empty() {
            return Some(pads);
        }
        let [_, _, pad] =
            [read_value(&mut sites, encoding)?, read_value(&mut sites, encoding)?, read_value(&mut sites, encoding)?];
        sites.read_uleb128().ok()?;
        if pad != 0 {
            pads.push(start.checked_add(pad)?);
        }
    }
    None
}

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// An encoding; the inner `None` says that what it is for is left out.
fn read_encoding(reader: &mut Slice<'_>) -> Option<Option<DwEhPe>> {
    let encoding = DwEhPe(reader.read_u8().ok()?);
    Some((encoding != gimli::DW_EH_PE_omit).then_some(encoding))
}

/// A number without a base.
fn read_value(reader: &mut Slice<'_>, encoding: DwEhPe) -> Option<u64> {
    match encoding {
        gimli::DW_EH_PE_uleb128 => reader.read_uleb128().ok(),
        gimli::DW_EH_PE_udata2 => reader.read_u16().ok().map(u64::from),
        gimli::DW_EH_PE_udata4 => reader.read_u32().ok().map(u64::from),
        gimli::DW_EH_PE_udata8 | gimli::DW_EH_PE_absptr => reader.read_u64().ok(),
        _ => None,
    }
}

/// An address that may be relative to its own place.
fn read_address(reader: &mut Slice<'_>, encoding: DwEhPe, size: usize, address: u64) -> Option<u64> {
    let place = address.checked_add(u64::try_from(size - reader.len()).ok()?)?;
    match (encoding.application(), encoding.format()) {
        (gimli::DW_EH_PE_absptr, format) => read_value(reader, format),
        (gimli::DW_EH_PE_pcrel, gimli::DW_EH_PE_sdata4) => {
            Some(place.wrapping_add_signed(i64::from(reader.read_i32().ok()?)))
        }
        _ => None,
    }
}
