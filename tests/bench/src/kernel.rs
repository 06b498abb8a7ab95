//! Takes the ELF kernel out of a compressed x86 kernel (Documentation/x86/boot.rst), which QEMU starts through its PVH note.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

/// No kernel is larger.
const SIZE_MAX: usize = 512 << 20;
const LZ4_LEGACY: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// How other formats begin, and who reads them.
const TOOLS: [(&[u8], &str); 3] = [(b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")];

/// The kernel inside `bzimage`.
pub(crate) fn unpack(bzimage: &[u8]) -> Result<Vec<u8>, String> {
    let payload = find_payload(bzimage).ok_or("not a compressed Linux kernel")?;
    let (packed, size) = payload.split_last_chunk::<4>().ok_or("its payload is empty")?;
    let size = u32::from_le_bytes(*size) as usize;
    if size > SIZE_MAX {
        return Err(format!("it wants to be {size} bytes long"));
    }
    let vmlinux = if packed.starts_with(&LZ4_LEGACY) {
        unpack_lz4(&packed[LZ4_LEGACY.len()..], size)?
    } else {
        let (_, tool) = TOOLS.iter().find(|(magic, _)| packed.starts_with(magic)).ok_or("packed in an unknown way")?;
        unpack_by(tool, packed)?
    };
    if vmlinux.starts_with(b"\x7fELF") { Ok(vmlinux) } else { Err("what it contains is no ELF file".to_owned()) }
}

fn find_payload(bzimage: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(*bzimage.get(at..)?.first_chunk()?) as usize);
    if bzimage.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = match bzimage.get(0x1f1)? {
        0 => 4,
        count => usize::from(*count),
    };
    let start = (setup_sectors + 1) * 512 + word(0x248)?;
    bzimage.get(start..)?.get(..word(0x24c)?)
}

/// The old frame of lz4: blocks that stand alone, each after its packed size.
fn unpack_lz4(mut packed: &[u8], size: usize) -> Result<Vec<u8>, String> {
    const BLOCK_MAX: usize = 8 << 20;
    let mut unpacked = Vec::with_capacity(size);
    while unpacked.len() < size {
        let (length, rest) = packed.split_first_chunk::<4>().ok_or("its payload ends early")?;
        let length = u32::from_le_bytes(*length) as usize;
        let block = rest.get(..length).ok_or("its payload ends early")?;
        unpacked.extend(lz4_flex::block::decompress(block, BLOCK_MAX).map_err(|error| error.to_string())?);
        packed = &rest[length..];
    }
    Ok(unpacked)
}

fn unpack_by(tool: &str, packed: &[u8]) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{tool}: {error}");
    let mut child =
        Command::new(tool).arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(format!("{tool} has no pipes"));
    };
    let mut unpacked = Vec::new();
    thread::scope(|scope| {
        // Bytes after the packed ones make it stop reading; what counts is what it wrote.
        scope.spawn(move || input.write_all(packed));
        output.read_to_end(&mut unpacked)
    })
    .map_err(failed)?;
    child.wait().map_err(failed)?;
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bzimage(packed: &[u8], size: usize) -> Vec<u8> {
        let size = u32::try_from(size).expect("tests are small").to_le_bytes();
        let length = u32::try_from(packed.len() + 4).expect("tests are small").to_le_bytes();
        let mut image = vec![0; 2 * 512 + 16];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248] = 16;
        image[0x24c..0x250].copy_from_slice(&length);
        image.extend_from_slice(packed);
        image.extend_from_slice(&size);
        image
    }

    fn pack(kernel: &[u8]) -> Vec<u8> {
        let mut packed = LZ4_LEGACY.to_vec();
        for part in kernel.chunks(1000) {
            let block = lz4_flex::block::compress(part);
            packed.extend(u32::try_from(block.len()).expect("tests are small").to_le_bytes());
            packed.extend(block);
        }
        packed
    }

    #[test]
    fn a_kernel_packed_in_blocks_comes_out() {
        let kernel: Vec<u8> = b"\x7fELF".iter().copied().chain((0..5000_u32).map(|n| (n / 7 % 251) as u8)).collect();
        let image = bzimage(&pack(&kernel), kernel.len());
        assert_eq!(unpack(&image), Ok(kernel));
    }

    #[test]
    fn damage_is_told() {
        let kernel = [b"\x7fELF".as_slice(), &[7; 3000]].concat();
        let image = bzimage(&pack(&kernel), kernel.len());
        assert!(unpack(&image[..image.len() - 1]).is_err());
        assert!(unpack(&image[..100]).is_err());
        assert!(unpack(&bzimage(&pack(&kernel), kernel.len() + 1)).is_err());
        assert!(unpack(&bzimage(&pack(b"#!/bin/sh"), 9)).is_err());
        assert!(unpack(&bzimage(b"unknown", 9)).is_err());
        assert!(unpack(&bzimage(b"", usize::from(u16::MAX) << 15)).is_err());
    }
}
