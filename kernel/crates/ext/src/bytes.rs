//! Fields of records on the disk: little-endian numbers at an offset.
//!
//! Readers answer 0 for a field that is not inside the record, and writers leave it alone: whoever takes a record has compared its
//! length with what its fields need, and a mistake there is no panic.

macro_rules! field {
    ($get:ident, $put:ident, $number:ty, $width:literal) => {
        /// The number at an offset; 0 when it is not inside.
        pub fn $get(bytes: &[u8], offset: usize) -> $number {
            let field = offset.checked_add($width).and_then(|end| bytes.get(offset..end));
            field.and_then(|field| field.try_into().ok()).map_or(0, <$number>::from_le_bytes)
        }

        /// Sets the number at an offset, if it is inside.
        pub fn $put(bytes: &mut [u8], offset: usize, number: $number) {
            if let Some(field) = offset.checked_add($width).and_then(|end| bytes.get_mut(offset..end)) {
                field.copy_from_slice(&number.to_le_bytes());
            }
        }
    };
}

field!(get_u8, put_u8, u8, 1);
field!(get_u16, put_u16, u16, 2);
field!(get_u32, put_u32, u32, 4);
field!(get_u64, put_u64, u64, 8);

/// A number of two halves that stand in two places.
pub fn join(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The halves of a number, the low one first.
pub fn split(number: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

/// The low half of a number of 32 bits, and the high one.
pub fn split_u32(number: u32) -> (u16, u16) {
    let [a, b, c, d] = number.to_le_bytes();
    (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_outside_are_nothing() {
        let mut bytes = [1, 2, 3, 4, 5];
        assert_eq!(get_u32(&bytes, 1), 0x0504_0302);
        assert_eq!(get_u32(&bytes, 2), 0);
        assert_eq!(get_u16(&bytes, usize::MAX), 0);
        put_u16(&mut bytes, 4, 9);
        put_u16(&mut bytes, 0, 0x0807);
        assert_eq!(bytes, [7, 8, 3, 4, 5]);
        assert_eq!(split(join(5, 6)), (5, 6));
        assert_eq!(split_u32(0x0005_0006), (6, 5));
    }
}
