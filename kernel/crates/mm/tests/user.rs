//! Cursors over program memory: ranges, segments, faults, and the way to copy under a lock.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use abi::{Errno, Iovec};
use mm::user::{IOVEC_COUNT_MAX, IovecBuffer, TRANSFER_LEN_MAX, fault_in, read_user_cstr, read_user_cstr_array};
use mm::user::{read_user_struct, write_user_struct};
use mm::{Frame, MapRequest, PAGE_SIZE, Rights, USER_END, UserReader, UserWriter};
use testkit::Cpu;

const BASE: usize = 0x10_0000_0000;
const PAGES: usize = 4;
const END: usize = BASE + PAGES * PAGE_SIZE;

/// Four pages of memory at [`BASE`] and nothing around them.
fn cpu() -> Cpu {
    let cpu = Cpu::new();
    cpu.space.map(MapRequest::anonymous(PAGES * PAGE_SIZE, Rights::READ | Rights::WRITE).at(BASE)).unwrap();
    cpu.make_current();
    cpu
}

fn put(cpu: &Cpu, address: usize, bytes: &[u8]) {
    for (byte, address) in bytes.iter().zip(address..) {
        cpu.store(address, *byte).unwrap();
    }
}

fn get(cpu: &Cpu, address: usize, len: usize) -> Vec<u8> {
    (address..address + len).map(|address| cpu.load(address).unwrap()).collect()
}

#[test]
fn ranges_are_checked() {
    assert!(UserReader::new(0, 0).is_ok());
    assert!(UserReader::new(USER_END, 0).is_ok());
    assert!(UserWriter::new(USER_END - 1, 1).is_ok());
    for (address, len) in [(USER_END, 1), (USER_END - 1, 2), (usize::MAX, 1), (1, usize::MAX), (USER_END + 1, 0)] {
        assert_eq!(UserReader::new(address, len).unwrap_err(), Errno::EFAULT);
        assert_eq!(UserWriter::new(address, len).unwrap_err(), Errno::EFAULT);
    }
    assert_eq!(UserReader::new(0, 1 << 40).unwrap().remaining(), TRANSFER_LEN_MAX);
}

#[test]
fn transfers_stop_where_memory_ends() {
    let cpu = cpu();
    put(&cpu, END - 3, b"xyz");
    let mut reader = UserReader::new(END - 3, 10).unwrap();
    let mut bytes = [0; 10];
    assert_eq!(reader.read(&mut bytes), Ok(3));
    assert_eq!((&bytes[..3], reader.remaining()), (&b"xyz"[..], 7));
    assert_eq!(reader.read(&mut bytes), Err(Errno::EFAULT));
    assert_eq!(UserReader::new(END - 3, 10).unwrap().read_exact(&mut bytes), Err(Errno::EFAULT));

    let mut writer = UserWriter::new(END - 2, 10).unwrap();
    assert_eq!(writer.write(b"abcdef"), Ok(2));
    assert_eq!(writer.write(b"c"), Err(Errno::EFAULT));
    assert_eq!(get(&cpu, END - 2, 2), b"ab");
    let mut writer = UserWriter::new(END - 2, 10).unwrap();
    assert_eq!((writer.fill_zero(10), writer.remaining()), (Ok(2), 8));
    assert_eq!(writer.fill_zero(10), Err(Errno::EFAULT));
}

#[test]
fn segments_are_one_stream() {
    let cpu = cpu();
    put(&cpu, BASE, b"one");
    put(&cpu, BASE + PAGE_SIZE - 1, b"two");
    let iovecs = [(BASE, 3), (0, 0), (BASE + PAGE_SIZE - 1, 3)];
    let iovecs: Vec<_> = iovecs.map(|(iov_base, iov_len)| Iovec { iov_base, iov_len }).into();
    let mut reader = UserReader::from_iovecs(&iovecs).unwrap();
    assert_eq!(reader.remaining(), 6);
    let mut bytes = [0; 4];
    assert_eq!(reader.read(&mut bytes), Ok(4));
    assert_eq!(&bytes, b"onet");
    let mut second = reader.clone();
    assert_eq!((reader.skip(1), reader.read(&mut bytes)), (1, Ok(1)));
    assert_eq!((bytes[0], reader.is_empty()), (b'o', true));
    assert_eq!(second.read(&mut bytes), Ok(2));
    let mut writer = UserWriter::from_iovecs(&iovecs).unwrap();
    writer.write_all(b"123456").unwrap();
    assert!(writer.is_full());
    assert_eq!(get(&cpu, BASE + PAGE_SIZE - 1, 3), b"456");
    assert_eq!(writer.write(b"7"), Ok(0));
}

#[test]
fn a_transfer_is_made_shorter() {
    let cpu = cpu();
    put(&cpu, BASE, b"onetwothree");
    let iovecs = [(BASE, 3), (BASE + 3, 3), (BASE + 6, 5)];
    let iovecs: Vec<_> = iovecs.map(|(iov_base, iov_len)| Iovec { iov_base, iov_len }).into();
    for len in 0..=12 {
        let mut reader = UserReader::from_iovecs(&iovecs).unwrap();
        reader.truncate(len);
        // What is cut off is no part of how the rest is aligned.
        let expected = iovecs.iter().scan(len, |left, iovec| {
            let len = iovec.iov_len.min(*left);
            *left -= len;
            Some(if len > 0 { iovec.iov_base | len } else { 0 })
        });
        assert_eq!(reader.alignment_bits(), expected.fold(0, |bits, more| bits | more));
        let mut bytes = [0; 11];
        assert_eq!(reader.read(&mut bytes), Ok(len.min(11)));
        assert_eq!(bytes[..len.min(11)], b"onetwothree"[..len.min(11)]);
    }
    let mut one = UserReader::new(BASE, 5).unwrap();
    assert_eq!(one.skip(1), 1);
    one.truncate(3);
    assert_eq!((one.skip(9), one.remaining()), (3, 0));
    let mut kernel = UserReader::from_kernel(b"abc");
    kernel.truncate(2);
    assert_eq!(kernel.remaining(), 2);
}

#[test]
fn segments_are_checked() {
    let segments = |iov_base: usize, iov_len: usize, count: usize| {
        UserReader::from_iovecs(&vec![Iovec { iov_base, iov_len }; count]).map(|reader| reader.remaining())
    };
    assert_eq!(segments(BASE, 1, IOVEC_COUNT_MAX + 1), Err(Errno::EINVAL));
    assert_eq!(segments(BASE, 1, IOVEC_COUNT_MAX), Ok(IOVEC_COUNT_MAX));
    assert_eq!(segments(BASE, usize::MAX, 1), Err(Errno::EINVAL));
    assert_eq!(segments(USER_END, 1, 1), Err(Errno::EFAULT));
    assert_eq!(segments(BASE, 1 << 40, 3), Ok(TRANSFER_LEN_MAX));

    let cpu = cpu();
    write_user_struct(BASE, &Iovec { iov_base: 5, iov_len: 6 }).unwrap();
    let read = |address, count| IovecBuffer::new().read(address, count).map(<[Iovec]>::to_vec);
    for count in [2, 4, 5] {
        let found = read(BASE, count).unwrap();
        assert_eq!((found.len(), found[0].iov_base, found[1].iov_len), (count, 5, 0));
    }
    assert_eq!(read(BASE, 0).map(|found| found.len()), Ok(0));
    assert!(read(BASE, IOVEC_COUNT_MAX + 1).is_err_and(|errno| errno == Errno::EINVAL));
    assert!(read(END - 16, 2).is_err_and(|errno| errno == Errno::EFAULT));
    drop(cpu);
}

#[test]
fn kernel_buffers_behave_alike() {
    let mut reader = UserReader::from_kernel(b"abcdef");
    let mut bytes = [0; 4];
    assert_eq!((reader.read(&mut bytes), bytes), (Ok(4), *b"abcd"));
    assert_eq!((reader.read_nofault(&mut bytes), reader.remaining()), (Ok(2), 0));
    let mut buffer = [9; 6];
    let mut writer = UserWriter::to_kernel(&mut buffer);
    assert_eq!((writer.write(b"ab"), writer.write_nofault(b"c"), writer.fill_zero(9)), (Ok(2), Ok(1), Ok(3)));
    assert_eq!((writer.write(b"x"), &buffer), (Ok(0), b"abc\0\0\0"));
}

#[test]
fn copies_under_a_lock_fault_and_resume() {
    let cpu = cpu();
    put(&cpu, BASE + PAGE_SIZE, b"cd");
    let frame = Frame::allocate_zeroed().unwrap();
    let mut reader = UserReader::new(BASE + PAGE_SIZE - 2, 4).unwrap();
    let fault = frame.write_from(10, &mut reader, 4).unwrap_err();
    assert_eq!((fault.address(), reader.remaining()), (BASE + PAGE_SIZE - 2, 4));
    assert_eq!(fault.resolve(), Ok(()));
    assert_eq!(frame.write_from(10, &mut reader, 4), Ok(4));
    let mut bytes = [0; 4];
    frame.read(10, &mut bytes);
    assert_eq!(&bytes, b"\0\0cd");

    // The first page has the zero page now, which is there to read and not to write.
    let mut writer = UserWriter::new(BASE, 2 * PAGE_SIZE).unwrap();
    writer.fill_zero(PAGE_SIZE).unwrap();
    assert_eq!(frame.read_to(10, &mut writer, 4), Ok(4));
    let mut writer = UserWriter::new(BASE + 2 * PAGE_SIZE - 2, 4).unwrap();
    assert_eq!(frame.read_to(12, &mut writer, 4), Ok(2), "short before the missing page");
    let fault = frame.read_to(14, &mut writer, 2).unwrap_err();
    assert_eq!(fault.address(), BASE + 2 * PAGE_SIZE);
    assert_eq!(fault.resolve(), Ok(()));
    assert_eq!(frame.read_to(12, &mut writer, 2), Ok(2));
    assert_eq!(get(&cpu, BASE + 2 * PAGE_SIZE - 2, 4), b"cdcd");
    let mut outside = UserWriter::new(END, 1).unwrap();
    assert_eq!(frame.read_to(0, &mut outside, 1).unwrap_err().resolve(), Err(Errno::EFAULT));
}

#[test]
fn frames_copy_to_kernel_buffers() {
    let _cpu = cpu();
    let frame = Frame::allocate_zeroed().unwrap();
    assert_eq!(frame.write_from(5, &mut UserReader::from_kernel(b"hello"), 4), Ok(4));
    let mut buffer = [1; 3];
    assert_eq!(frame.read_to(6, &mut UserWriter::to_kernel(&mut buffer), 9), Ok(3));
    assert_eq!(&buffer, b"ell");
    frame.zero_range(6, 2);
    frame.read(5, &mut buffer);
    assert_eq!(&buffer, b"h\0\0");
    let copy = frame.duplicate().unwrap();
    assert!(copy.is_exclusive() && copy.number() != frame.number());
    let again = copy.clone();
    assert!(!copy.is_exclusive());
    drop(again);
    let raw = copy.into_raw();
    assert!(Frame::from_raw(raw).is_exclusive());
}

#[test]
fn pages_are_faulted_in_without_a_change() {
    let cpu = cpu();
    cpu.store(BASE + 5, 7).unwrap();
    assert_eq!(fault_in(BASE + 5, 2 * PAGE_SIZE, true), Ok(()));
    assert_eq!(cpu.table.entries().len(), 3);
    assert_eq!(cpu.load(BASE + 5), Ok(7));
    assert_eq!(fault_in(END - 1, 2, false), Err(Errno::EFAULT));
    assert_eq!(fault_in(USER_END, 1, false), Err(Errno::EFAULT));
    assert_eq!(fault_in(END, 0, false), Ok(()));
}

#[test]
fn strings() {
    let cpu = cpu();
    put(&cpu, BASE, b"name\0rest");
    assert_eq!(read_user_cstr(BASE, 100), Ok(b"name".to_vec()));
    assert_eq!(read_user_cstr(BASE, 5), Ok(b"name".to_vec()));
    assert_eq!(read_user_cstr(BASE, 4), Err(Errno::ENAMETOOLONG));
    assert_eq!(read_user_cstr(BASE + 4, 4), Ok(vec![]));
    put(&cpu, END - 4, b"end\0");
    assert_eq!(read_user_cstr(END - 4, 4096), Ok(b"end".to_vec()), "not one byte beyond the NUL");
    put(&cpu, END - 1, b"x");
    assert_eq!(read_user_cstr(END - 4, 4096), Err(Errno::EFAULT));
    let long = vec![b'a'; PAGE_SIZE + 700];
    put(&cpu, BASE + 100, &long);
    put(&cpu, BASE + 100 + long.len(), &[0]);
    assert_eq!(read_user_cstr(BASE + 100, 2 * PAGE_SIZE), Ok(long));
    assert_eq!(read_user_cstr(usize::MAX, 10), Err(Errno::EFAULT));
}

#[test]
fn arrays_of_strings() {
    let cpu = cpu();
    put(&cpu, BASE + 1000, b"a\0bc\0");
    write_user_struct(BASE, &[BASE + 1000, BASE + 1002, 0]).unwrap();
    assert_eq!(read_user_struct::<[usize; 2]>(BASE), Ok([BASE + 1000, BASE + 1002]));
    assert_eq!(read_user_cstr_array(BASE, 100), Ok(vec![b"a".to_vec(), b"bc".to_vec()]));
    let exact = 2 * size_of::<usize>() + 5;
    assert!(read_user_cstr_array(BASE, exact).is_ok());
    assert_eq!(read_user_cstr_array(BASE, exact - 1), Err(Errno::E2BIG));
    assert_eq!(read_user_cstr_array(0, 100), Ok(vec![]));
    assert_eq!(read_user_cstr_array(END, 100), Err(Errno::EFAULT));
}
