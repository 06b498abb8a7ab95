//! [`Packed`]: the contents of a file that are compressed, read a chunk at a time.
//!
//! The contents are cut into chunks of [`CHUNK_SIZE`] bytes, the last of which may be shorter. Each is compressed on its own, as a block of LZ4 without
//! a frame, or lies as it is where that is not longer. A table of four bytes for each chunk comes first: where the chunk ends, counted from
//! the end of the table. So any page is had by unpacking one chunk.

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::ImageError;

/// Bytes of a file in a chunk.
pub const CHUNK_SIZE: usize = 64 << 10;
/// Bytes of an entry of the table.
const ENTRY_SIZE: usize = size_of::<U32>();

/// The packed contents of a file.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    ends: &'a [U32],
    chunks: &'a [u8],
    size: u64,
}

impl<'a> Packed<'a> {
    /// Contents of so many bytes; `None` if there is not even a table.
    pub(crate) fn new(bytes: &'a [u8], size: u64) -> Option<Self> {
        let count = usize::try_from(size).ok()?.div_ceil(CHUNK_SIZE);
        let (table, chunks) = bytes.split_at_checked(count.checked_mul(ENTRY_SIZE)?)?;
        Some(Self { ends: <[U32]>::ref_from_bytes(table).ok()?, chunks, size })
    }

    /// How many chunks there are.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        self.ends.len()
    }

    /// Unpacks a chunk to the beginning of `out`, which has room for [`CHUNK_SIZE`] bytes; answers how many there were.
    ///
    /// # Errors
    /// [`ImageError::BadContents`] when there is no such chunk, or it is malformed. Then `out` holds anything.
    pub fn unpack(&self, chunk: usize, out: &mut [u8]) -> Result<usize, ImageError> {
        self.try_unpack(chunk, out).ok_or(ImageError::BadContents)
    }

    /// Unpacks everything.
    ///
    /// # Errors
    /// As [`Packed::unpack`].
    #[cfg(feature = "write")]
    pub fn unpack_all(&self) -> Result<Vec<u8>, ImageError> {
        let mut all = Vec::new();
        let mut chunk = vec![0; CHUNK_SIZE];
        for number in 0..self.chunk_count() {
            let len = self.unpack(number, &mut chunk)?;
            all.extend(chunk.iter().take(len));
        }
        Ok(all)
    }

    fn try_unpack(&self, chunk: usize, out: &mut [u8]) -> Option<usize> {
        let end_of = |chunk: usize| usize::try_from(self.ends.get(chunk)?.get()).ok();
        let start = if chunk == 0 { 0 } else { end_of(chunk - 1)? };
        let packed = self.chunks.get(start..end_of(chunk)?)?;
        let before = u64::try_from(chunk.checked_mul(CHUNK_SIZE)?).ok()?;
        let len = usize::try_from(self.size.checked_sub(before)?).map_or(CHUNK_SIZE, |left| left.min(CHUNK_SIZE));
        let out = out.get_mut(..len)?;
        if packed.len() == len {
            out.copy_from_slice(packed);
            return Some(len);
        }
        let unpacked = lz4_flex::block::decompress_into(packed, out).ok()?;
        (unpacked == len).then_some(len)
    }
}

/// Packs contents; `None` when that saves less than an eighth.
#[cfg(feature = "write")]
pub(crate) fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut table = Vec::new();
    let mut chunks = Vec::new();
    for chunk in bytes.chunks(CHUNK_SIZE) {
        let packed = lz4_flex::block::compress(chunk);
        chunks.extend_from_slice(if packed.len() < chunk.len() { &packed } else { chunk });
        table.extend_from_slice(&u32::try_from(chunks.len()).ok()?.to_le_bytes());
    }
    let size = table.len() + chunks.len();
    (size <= bytes.len() - bytes.len() / 8).then(|| [table, chunks].concat())
}
