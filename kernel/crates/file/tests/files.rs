//! Descriptors, pipes, counters, ports and terminals, on a fake machine.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use abi::{Errno, OpenFlags, PollEvents, Signal, Winsize, ioctl};
use file::eventfd::EventFd;
use file::pipe::{self, Pipe};
use file::tty::{SignalSink, TtyFile};
use file::{Direction, FdTable, File, IoResult, OpenFile, Port, PortFile, Progress};
use mm::user::{UserReader, UserWriter};
use sync::WaitQueue;
use testkit::WakeCounter;
use testkit::frames::install;
use testkit::user::Arena;

/// Pages of program memory where a test uses it.
const USER_PAGES: usize = 4;
const USER_LEN: usize = USER_PAGES * 4096;
const USER_BASE: usize = Arena::BASE;
const RDONLY: OpenFlags = OpenFlags::empty();

fn open(file: Arc<dyn File>, flags: OpenFlags) -> Arc<OpenFile> {
    OpenFile::new(file, flags)
}

fn write(open: &OpenFile, bytes: &[u8]) -> IoResult {
    open.file().write(open, &mut UserReader::from_kernel(bytes), None)
}

/// Reads up to `len` bytes; none means that it would block.
fn read(open: &OpenFile, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    match open.file().read(open, &mut UserWriter::to_kernel(&mut bytes), None).unwrap() {
        Progress::Done(done) => Some(bytes[..done].to_vec()),
        Progress::WouldBlock => None,
    }
}

fn new_pipe(flags: OpenFlags) -> (Arc<OpenFile>, Arc<OpenFile>) {
    install();
    let (reader, writer) = pipe::pipe();
    (open(reader, RDONLY | flags), open(writer, OpenFlags::WRONLY | flags))
}

// ---- Pipes ----------------------------------------------------------------------------------------------------------

#[test]
fn a_pipe_keeps_order_and_ends() {
    let (reader, writer) = new_pipe(RDONLY);
    assert_eq!(read(&reader, 10), None);
    assert_eq!(write(&writer, b"hello "), Ok(Progress::Done(6)));
    assert_eq!(write(&writer, b"world"), Ok(Progress::Done(5)));
    assert_eq!(read(&reader, 3), Some(b"hel".to_vec()));
    assert_eq!(read(&reader, 100), Some(b"lo world".to_vec()));
    assert_eq!(read(&reader, 0), Some(vec![]));
    assert_eq!(write(&writer, b"!"), Ok(Progress::Done(1)));
    drop(writer);
    assert_eq!(reader.file().readiness(), PollEvents::READABLE | PollEvents::HUP);
    assert_eq!(read(&reader, 100), Some(b"!".to_vec()));
    assert_eq!(read(&reader, 100), Some(vec![]));
    assert_eq!(reader.file().readiness(), PollEvents::HUP);
}

#[test]
fn a_pipe_without_readers_is_broken() {
    let (reader, writer) = new_pipe(RDONLY);
    assert_eq!(writer.file().readiness(), PollEvents::WRITABLE);
    drop(reader);
    assert_eq!(writer.file().readiness(), PollEvents::WRITABLE | PollEvents::ERR);
    assert_eq!(write(&writer, b"x"), Err(Errno::EPIPE));
    assert_eq!(write(&writer, b""), Ok(Progress::Done(0)));
}

#[test]
fn a_pipe_is_full_when_linux_says_so() {
    let (reader, writer) = new_pipe(RDONLY);
    assert_eq!(write(&writer, &vec![1; 100_000]), Ok(Progress::Done(65536)));
    assert_eq!(writer.file().readiness(), PollEvents::empty());
    assert_eq!(write(&writer, b"x"), Ok(Progress::WouldBlock));
    // One byte read frees no slot.
    assert_eq!(read(&reader, 1).unwrap().len(), 1);
    assert_eq!(write(&writer, b"x"), Ok(Progress::WouldBlock));
    assert_eq!(read(&reader, 4095).unwrap().len(), 4095);
    assert_eq!(writer.file().readiness(), PollEvents::WRITABLE);
    // What would need two slots but is no longer than PIPE_BUF is not torn.
    assert_eq!(write(&writer, &[2; 4000]), Ok(Progress::Done(4000)));
    assert_eq!(write(&writer, &[2; 97]), Ok(Progress::WouldBlock));
    assert_eq!(write(&writer, &[2; 96]), Ok(Progress::Done(96)));
}

#[test]
fn the_capacity_of_a_pipe_changes() {
    let (reader, writer) = new_pipe(RDONLY);
    let file = reader.file();
    assert_eq!(file.pipe_capacity(), Ok(65536));
    assert_eq!(file.set_pipe_capacity(5000), Ok(8192));
    assert_eq!(write(&writer, &vec![0; 100_000]), Ok(Progress::Done(8192)));
    assert_eq!(file.set_pipe_capacity(0), Err(Errno::EBUSY));
    assert_eq!(file.set_pipe_capacity((1 << 31) + 1), Err(Errno::EINVAL));
    assert_eq!(file.set_pipe_capacity(1 << 20), Ok(1 << 20));
    assert_eq!(write(&writer, &vec![0; 2_000_000]), Ok(Progress::Done((1 << 20) - 8192)));
}

#[test]
fn packets_are_not_merged_and_their_rest_is_lost() {
    let (reader, writer) = new_pipe(OpenFlags::DIRECT);
    write(&writer, b"first").unwrap();
    write(&writer, b"second").unwrap();
    assert_eq!(read(&reader, 3), Some(b"fir".to_vec()));
    assert_eq!(read(&reader, 100), Some(b"second".to_vec()));
}

#[test]
fn a_pipe_pages_program_memory_in() {
    let arena = Arena::install(USER_PAGES);
    let (reader, writer) = new_pipe(RDONLY);
    let bytes: Vec<u8> = (0..USER_LEN).map(|index| (index % 251) as u8).collect();
    arena.write(0, &bytes);
    arena.drop_pages();
    let mut from = UserReader::new(USER_BASE + 100, 10_000).unwrap();
    assert_eq!(writer.file().write(&writer, &mut from, None), Ok(Progress::Done(10_000)));
    arena.drop_pages();
    let mut to = UserWriter::new(USER_BASE, 10_000).unwrap();
    assert_eq!(reader.file().read(&reader, &mut to, None), Ok(Progress::Done(10_000)));
    assert_eq!(arena.read(0, 10_000), bytes[100..10_100]);
    // Memory that ends: whole pieces before it are written, nothing of the piece that meets the end.
    let mut from = UserReader::new(USER_BASE + USER_LEN - 5000, 10_000).unwrap();
    assert_eq!(writer.file().write(&writer, &mut from, None), Ok(Progress::Done(4096)));
    let mut from = UserReader::new(USER_BASE + USER_LEN, 10).unwrap();
    assert_eq!(writer.file().write(&writer, &mut from, None), Err(Errno::EFAULT));
}

#[test]
fn a_fifo_waits_for_its_other_end() {
    install();
    let fifo = Pipe::new();
    assert_eq!(fifo.open(OpenFlags::WRONLY | OpenFlags::NONBLOCK).err(), Some(Errno::ENXIO));
    let reader = open(fifo.open(RDONLY).unwrap(), RDONLY);
    assert_eq!(reader.file().opening(&reader), Ok(Progress::WouldBlock));
    assert_eq!(reader.file().readiness(), PollEvents::empty());
    // A writer that came and went is enough.
    drop(fifo.open(OpenFlags::WRONLY).unwrap());
    assert_eq!(reader.file().opening(&reader), Ok(Progress::Done(0)));
    assert_eq!(reader.file().readiness(), PollEvents::HUP);
    let both = open(fifo.open(OpenFlags::RDWR).unwrap(), OpenFlags::RDWR);
    assert_eq!(both.file().opening(&both), Ok(Progress::Done(0)));
    write(&both, b"abc").unwrap();
    assert_eq!(read(&both, 1), Some(b"a".to_vec()));
    assert_eq!(read(&reader, 9), Some(b"bc".to_vec()));
    // Nobody has it open: what was left is gone.
    write(&both, b"lost").unwrap();
    drop((both, reader));
    let reader = open(fifo.open(OpenFlags::NONBLOCK).unwrap(), OpenFlags::NONBLOCK);
    assert_eq!(read(&reader, 9), Some(vec![]));
}

#[test]
fn a_pipe_wakes_whoever_waits() {
    let (reader, writer) = new_pipe(RDONLY);
    let queue = reader.file().wait_queue().unwrap();
    let (readers, readers_node) = WakeCounter::listen(queue, PollEvents::READABLE.bits());
    let (writers, writers_node) = WakeCounter::listen(queue, PollEvents::WRITABLE.bits());
    write(&writer, b"x").unwrap();
    assert_eq!((readers.take(), writers.take()), (1, 0));
    assert_eq!(read(&reader, 10), Some(b"x".to_vec()));
    assert_eq!(writers.take(), 0, "there was room before");
    write(&writer, &[0; 65536]).unwrap();
    readers.take();
    assert_eq!(read(&reader, 4096).map(|bytes| bytes.len()), Some(4096));
    assert_eq!(writers.take(), 1);
    reader.file().set_pipe_capacity(1 << 17).unwrap();
    assert_eq!(writers.take(), 1);
    drop(writer);
    assert_eq!(readers.take(), 1, "the end is an event");
    queue.remove(&readers_node);
    queue.remove(&writers_node);
}

#[test]
fn readers_and_writers_meet() {
    use std::thread;
    install();
    let (reader, writer) = new_pipe(RDONLY);
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 249) as u8).collect();
    let expected = bytes.clone();
    let consumer = testkit::threads::spawn(move || {
        let mut all = Vec::new();
        loop {
            match read(&reader, 10_000) {
                None => thread::yield_now(),
                Some(part) if part.is_empty() => return all,
                Some(part) => all.extend(part),
            }
        }
    });
    let mut from = UserReader::from_kernel(&bytes);
    while !from.is_empty() {
        if writer.file().write(&writer, &mut from, None).unwrap() == Progress::WouldBlock {
            thread::yield_now();
        }
    }
    drop(writer);
    assert!(consumer.join().unwrap() == expected);
}

// ---- Counters -------------------------------------------------------------------------------------------------------

#[test]
fn an_eventfd_counts() {
    let counter = open(EventFd::new(3, false), OpenFlags::RDWR);
    assert_eq!(write(&counter, &4_u64.to_ne_bytes()), Ok(Progress::Done(8)));
    assert_eq!(read(&counter, 8), Some(7_u64.to_ne_bytes().to_vec()));
    assert_eq!(read(&counter, 8), None);
    assert_eq!(write(&counter, &u64::MAX.to_ne_bytes()), Err(Errno::EINVAL));
    assert_eq!(write(&counter, &[0; 7]), Err(Errno::EINVAL));
    assert_eq!(write(&counter, &(u64::MAX - 1).to_ne_bytes()), Ok(Progress::Done(8)));
    assert_eq!(counter.file().readiness(), PollEvents::IN);
    assert_eq!(write(&counter, &1_u64.to_ne_bytes()), Ok(Progress::WouldBlock));
    let semaphore = open(EventFd::new(2, true), OpenFlags::RDWR);
    assert_eq!(read(&semaphore, 8), Some(1_u64.to_ne_bytes().to_vec()));
    assert_eq!(read(&semaphore, 8), Some(1_u64.to_ne_bytes().to_vec()));
    assert_eq!(read(&semaphore, 8), None);
}

// ---- Descriptors ----------------------------------------------------------------------------------------------------

#[test]
fn descriptors_are_lowest_first() {
    let table = FdTable::new(1024);
    let file = || open(EventFd::new(0, false), OpenFlags::RDWR);
    assert_eq!((0..5).map(|_| table.install(file(), false).unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    table.remove(1).unwrap();
    table.remove(3).unwrap();
    assert_eq!(table.remove(3).err(), Some(Errno::EBADF));
    assert_eq!(table.remove(-1).err(), Some(Errno::EBADF));
    assert_eq!(table.duplicate(0, 2, true), Ok(3));
    assert_eq!(table.is_close_on_exec(3), Ok(true));
    assert_eq!(table.install(file(), false), Ok(1));
    assert_eq!(table.duplicate(0, 1024, false), Err(Errno::EINVAL));
    assert_eq!(table.duplicate(0, 1000, false), Ok(1000));
    assert_eq!(table.duplicate_to(0, 1024, false), Err(Errno::EBADF));
    assert_eq!(table.duplicate_to(7, 8, false), Err(Errno::EBADF));
    assert_eq!(table.duplicate_to(0, 500, false), Ok(500));
    assert_eq!(table.descriptors(), [0, 1, 2, 3, 4, 500, 1000]);
    let copy = table.duplicate_table();
    table.close_on_exec();
    assert_eq!(table.descriptors(), [0, 1, 2, 4, 500, 1000]);
    assert_eq!(copy.descriptors(), [0, 1, 2, 3, 4, 500, 1000]);
    assert_eq!(copy.install(file(), false), Ok(5));
    table.mark_range_close_on_exec(2, u32::MAX);
    assert_eq!(table.is_close_on_exec(1000), Ok(true));
    table.close_range(1, 499);
    assert_eq!(table.descriptors(), [0, 500, 1000]);
}

#[test]
fn the_limit_counts_and_reservations_return() {
    let table = FdTable::new(3);
    let first = table.reserve(false).unwrap();
    let second = table.reserve(false).unwrap();
    assert_eq!((first.number(), second.number()), (0, 1));
    assert_eq!(table.get(0).err(), Some(Errno::EBADF));
    drop(first);
    assert_eq!(table.install(open(EventFd::new(0, false), RDONLY), false), Ok(0));
    assert_eq!(table.duplicate_to(0, 1, false), Err(Errno::EBUSY));
    assert_eq!(second.install(table.get_counted(0).unwrap()), 1);
    assert_eq!(table.duplicate(0, 0, false), Ok(2));
    assert_eq!(table.duplicate(0, 0, false), Err(Errno::EMFILE));
}

#[test]
fn a_table_agrees_with_a_simple_model() {
    let table = FdTable::new(300);
    let mut model = std::collections::BTreeSet::new();
    let file = open(EventFd::new(0, false), RDONLY);
    let mut seed = 12345_u64;
    for _ in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = (seed >> 33) % 310;
        match (seed >> 20) % 3 {
            0 => {
                let lowest = (0..300).find(|number| !model.contains(number));
                assert_eq!(table.install(Arc::clone(&file), false).ok(), lowest);
                model.extend(lowest);
            }
            1 => assert_eq!(table.remove(number as i32).is_ok(), model.remove(&(number as i32))),
            _ => {
                let lowest = (number as i32..300).find(|number| !model.contains(number));
                let is_valid = model.contains(&0) && number < 300;
                assert_eq!(table.duplicate(0, number, false).ok(), lowest.filter(|_| is_valid));
                model.extend(lowest.filter(|_| is_valid));
            }
        }
    }
}

// ---- Ports ----------------------------------------------------------------------------------------------------------

/// A port whose other side the test plays.
struct FakePort {
    input: Mutex<VecDeque<u8>>,
    output: Mutex<Vec<u8>>,
    room: Mutex<usize>,
    is_closed: Mutex<bool>,
    queue: WaitQueue,
}

impl FakePort {
    fn new(room: usize) -> Arc<Self> {
        Arc::new(Self {
            input: Mutex::default(),
            output: Mutex::default(),
            room: Mutex::new(room),
            is_closed: Mutex::new(false),
            queue: WaitQueue::new(),
        })
    }

    fn feed(&self, bytes: &[u8]) {
        self.input.lock().unwrap().extend(bytes);
    }

    fn sent(&self) -> Vec<u8> {
        std::mem::take(&mut *self.output.lock().unwrap())
    }
}

impl Port for FakePort {
    fn receive(&self, bytes: &mut [u8]) -> usize {
        let mut input = self.input.lock().unwrap();
        let len = bytes.len().min(input.len());
        bytes.iter_mut().zip(input.drain(..len)).for_each(|(to, from)| *to = from);
        len
    }

    fn is_at_end(&self) -> bool {
        *self.is_closed.lock().unwrap() && self.input.lock().unwrap().is_empty()
    }

    fn transmit(&self, bytes: &[u8]) -> usize {
        let mut room = self.room.lock().unwrap();
        let len = bytes.len().min(*room);
        *room -= len;
        self.output.lock().unwrap().extend_from_slice(&bytes[..len]);
        len
    }

    fn has_input(&self) -> bool {
        !self.input.lock().unwrap().is_empty()
    }

    fn has_room(&self) -> bool {
        *self.room.lock().unwrap() > 0
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }
}

#[test]
fn a_port_is_a_stream() {
    install();
    let port = FakePort::new(100_000);
    let input = open(PortFile::new(port.clone(), Direction::Input), RDONLY);
    assert_eq!(read(&input, 10), None);
    port.feed(b"hello");
    assert_eq!(input.file().readiness(), PollEvents::READABLE);
    assert_eq!(read(&input, 3), Some(b"hel".to_vec()));
    *port.is_closed.lock().unwrap() = true;
    assert_eq!(read(&input, 10), Some(b"lo".to_vec()));
    assert_eq!(read(&input, 10), Some(vec![]));
    assert_eq!(input.file().readiness(), PollEvents::HUP);
    let output = open(PortFile::new(port.clone(), Direction::Output), OpenFlags::WRONLY);
    assert_eq!(output.file().readiness(), PollEvents::WRITABLE);
    let bytes: Vec<u8> = (0..150_000_u32).map(|index| (index % 253) as u8).collect();
    let mut from = UserReader::from_kernel(&bytes);
    assert_eq!(output.file().write(&output, &mut from, None), Ok(Progress::Done(100_000)));
    assert_eq!(from.remaining(), 50_000);
    assert_eq!(output.file().write(&output, &mut from, None), Ok(Progress::WouldBlock));
    assert_eq!(output.file().readiness(), PollEvents::empty());
    *port.room.lock().unwrap() = usize::MAX;
    assert_eq!(output.file().write(&output, &mut from, None), Ok(Progress::Done(50_000)));
    assert_eq!(port.sent(), bytes);
}

#[test]
fn a_port_loses_nothing_to_a_bad_pointer() {
    let _arena = Arena::install(USER_PAGES);
    install();
    let port = FakePort::new(100);
    let file = open(PortFile::new(port.clone(), Direction::Input), OpenFlags::RDWR);
    port.feed(b"0123456789");
    let mut to = UserWriter::new(USER_BASE + USER_LEN - 4, 10).unwrap();
    assert_eq!(file.file().read(&file, &mut to, None), Ok(Progress::Done(4)));
    assert_eq!(read(&file, 10), Some(b"456789".to_vec()));
    let mut from = UserReader::new(USER_BASE + USER_LEN, 10).unwrap();
    assert_eq!(file.file().write(&file, &mut from, None), Err(Errno::EFAULT));
    assert_eq!(port.sent(), b"");
}

// ---- Terminals ------------------------------------------------------------------------------------------------------

#[derive(Default)]
struct Raised(Mutex<Vec<(Option<i32>, Signal)>>);

impl SignalSink for Raised {
    fn raise(&self, group: Option<i32>, signal: Signal) {
        self.0.lock().unwrap().push((group, signal));
    }
}

fn terminal(room: usize) -> (Arc<FakePort>, Arc<Raised>, Arc<TtyFile>, Arc<OpenFile>) {
    install();
    let port = FakePort::new(room);
    let raised = Arc::new(Raised::default());
    let window = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let tty = TtyFile::new(port.clone(), port.clone(), raised.clone(), window, (5, 1));
    let file = open(tty.clone(), OpenFlags::RDWR);
    (port, raised, tty, file)
}

#[test]
fn a_terminal_edits_lines_and_raises_signals() {
    let (port, raised, tty, file) = terminal(usize::MAX);
    tty.set_foreground_group(Some(7));
    port.feed(b"hellp\x7fo");
    tty.service();
    assert_eq!(read(&file, 100), None);
    assert_eq!(port.sent(), b"hellp\x08 \x08o");
    port.feed(b"\rnext\x04");
    assert_eq!(file.file().readiness(), PollEvents::WRITABLE);
    tty.service();
    assert!(file.file().readiness().contains(PollEvents::IN));
    assert_eq!(read(&file, 2), Some(b"he".to_vec()));
    assert_eq!(read(&file, 100), Some(b"llo\n".to_vec()));
    // The end of file right behind what fills the buffer is part of that read.
    assert_eq!(read(&file, 4), Some(b"next".to_vec()));
    assert_eq!(read(&file, 4), None);
    port.feed(b"abc\x03");
    tty.service();
    assert_eq!(*raised.0.lock().unwrap(), [(Some(7), Signal::SIGINT)]);
    assert_eq!(read(&file, 4), None);
    port.feed(b"\x04");
    assert_eq!(read(&file, 4), Some(vec![]));
    assert_eq!(write(&file, b"out\n"), Ok(Progress::Done(4)));
    assert!(port.sent().ends_with(b"^Cout\r\n"));
}

#[test]
fn a_terminal_keeps_what_the_device_does_not_take() {
    let (port, _, tty, file) = terminal(10);
    let text = b"0123456789\n".repeat(2000);
    let mut from = UserReader::from_kernel(&text);
    let Ok(Progress::Done(done)) = file.file().write(&file, &mut from, None) else { panic!("nothing written") };
    assert!(done < text.len() && from.remaining() == text.len() - done);
    assert!(!tty.is_drained());
    assert_eq!(file.file().write(&file, &mut from, None), Ok(Progress::WouldBlock));
    *port.room.lock().unwrap() = usize::MAX;
    tty.service();
    assert_eq!(file.file().write(&file, &mut from, None), Ok(Progress::Done(text.len() - done)));
    assert!(tty.is_drained());
    assert_eq!(port.sent(), b"0123456789\r\n".repeat(2000));
}

#[test]
fn a_line_too_long_still_ends() {
    let (port, _, tty, file) = terminal(usize::MAX);
    port.feed(&[b'x'; 10_000]);
    port.feed(b"\nrest\n");
    tty.service();
    let line = read(&file, 100_000).unwrap();
    assert_eq!((line.len(), line.last()), (4096, Some(&b'\n')));
    assert_eq!(read(&file, 100), Some(b"rest\n".to_vec()));
}

#[test]
fn a_raw_terminal_waits_for_its_minimum() {
    let arena = Arena::install(USER_PAGES);
    use abi::tty::{VMIN, VTIME};
    let (port, _, tty, file) = terminal(usize::MAX);
    let set = |minimum: u8, time: u8| {
        let mut termios = abi::Termios::default();
        termios.c_cc[VMIN] = minimum;
        termios.c_cc[VTIME] = time;
        arena.write(0, zerocopy::IntoBytes::as_bytes(&termios));
        tty.ioctl(&file, ioctl::TCSETS, USER_BASE).unwrap();
    };
    set(5, 0);
    port.feed(b"abc");
    assert_eq!(read(&file, 100), None);
    assert!(!tty.readiness().contains(PollEvents::IN));
    assert_eq!(read(&file, 2), Some(b"ab".to_vec()));
    port.feed(b"defgh");
    assert_eq!(read(&file, 100), Some(b"cdefgh".to_vec()));
    set(0, 0);
    assert_eq!(read(&file, 100), Some(vec![]));
    set(0, 3);
    assert_eq!(read(&file, 100), None);
    assert_eq!(tty.read_timeout_ns(), Some(300_000_000));
    let mut bytes = [0; 4];
    let answer = tty.read_after_timeout(&file, &mut UserWriter::to_kernel(&mut bytes));
    assert_eq!(answer, Ok(Progress::Done(0)));
    set(3, 1);
    assert_eq!(tty.read_timeout_ns(), Some(u64::MAX));
    port.feed(b"x");
    assert_eq!(read(&file, 100), None);
    assert_eq!(tty.read_timeout_ns(), Some(100_000_000));
    let answer = tty.read_after_timeout(&file, &mut UserWriter::to_kernel(&mut bytes));
    assert_eq!(answer, Ok(Progress::Done(1)));
}

#[test]
fn a_window_change_is_a_signal() {
    let arena = Arena::install(USER_PAGES);
    let (_, raised, tty, file) = terminal(usize::MAX);
    tty.ioctl(&file, ioctl::TIOCGWINSZ, USER_BASE).unwrap();
    assert_eq!(arena.read(0, 4), [24, 0, 80, 0]);
    arena.write(0, &[25, 0, 80, 0, 0, 0, 0, 0]);
    tty.ioctl(&file, ioctl::TIOCSWINSZ, USER_BASE).unwrap();
    tty.ioctl(&file, ioctl::TIOCSWINSZ, USER_BASE).unwrap();
    assert_eq!(*raised.0.lock().unwrap(), [(None, Signal::SIGWINCH)]);
    assert_eq!(tty.ioctl(&file, 0x1234, 0), Err(Errno::ENOTTY));
}
