//! Pieces of frames: what moves between files without program memory.

use mm::user::{UserReader, UserWriter};
use mm::{Frame, FramePiece};

fn piece(bytes: &[u8], offset: usize) -> FramePiece {
    let frame = Frame::allocate().expect("a frame of the tests");
    frame.write(offset, bytes);
    FramePiece::new(frame, offset, bytes.len())
}

fn bytes_of(pieces: &[FramePiece]) -> Vec<u8> {
    let mut reader = UserReader::from_pieces(pieces);
    let mut bytes = vec![0; reader.remaining()];
    reader.read_exact(&mut bytes).expect("all is there");
    bytes
}

#[test]
fn a_reader_passes_from_piece_to_piece() {
    testkit::frames::install();
    let pieces = [piece(b"abc", 4093), piece(b"", 0), piece(b"defgh", 7)];
    assert_eq!(bytes_of(&pieces), b"abcdefgh");
    let mut reader = UserReader::from_pieces(&pieces);
    assert_eq!(reader.skip(2), 2);
    let target = Frame::allocate_zeroed().expect("a frame of the tests");
    assert_eq!(target.write_from(4092, &mut reader, 4), Ok(4));
    assert_eq!(reader.remaining(), 2);
    let mut bytes = [0; 4];
    target.read(4092, &mut bytes);
    assert_eq!(&bytes, b"cdef");
    assert_eq!(target.write_from(0, &mut reader, 100), Ok(2));
    assert!(reader.is_empty());
}

#[test]
fn a_writer_fills_pieces() {
    testkit::frames::install();
    let pieces = [piece(b"...", 5), piece(b"....", 4092)];
    let mut writer = UserWriter::to_pieces(&pieces);
    let source = piece(b"0123456", 100);
    assert_eq!(source.frame().read_to(100, &mut writer, 4), Ok(4));
    assert_eq!(writer.write(b"xyz-and-more"), Ok(3));
    assert!(writer.is_full());
    assert_eq!(bytes_of(&pieces), b"0123xyz");
}
