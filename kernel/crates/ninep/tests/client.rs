//! The client against a server over a directory of this host.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use abi::Errno;
use mm::{Frame, PAGE_SIZE};
use ninep::{Client, Exchange, Fid, Listed, NewTime, OpenFid, SetAttributes, TIMEOUTS_MAX, Transport, message};
use sync::WaitQueue;
use testkit::Random;
use testkit::liar::Liar;
use testkit::share::{Share, TemporaryDirectory};

const READ_WRITE: u32 = 2;
const CREATE: u32 = 0o100;
const EXCLUSIVE: u32 = 0o200;

fn connect(share: &Share) -> Fid {
    testkit::frames::install();
    Client::connect(share.transport(), b"", b"root").unwrap().0
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let fill = |chunk: &[u8]| {
        let frame = Frame::allocate().unwrap();
        frame.write(0, chunk);
        frame
    };
    bytes.chunks(PAGE_SIZE).map(fill).collect()
}

fn bytes(frames: &[Frame], len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (chunk, frame) in bytes.chunks_mut(PAGE_SIZE).zip(frames) {
        frame.read(0, chunk);
    }
    bytes
}

fn list(open: &OpenFid) -> Result<BTreeMap<String, u8>, Errno> {
    let mut found = BTreeMap::new();
    let mut at = 0;
    loop {
        let listed = open.read_directory(at, |entry| {
            found.insert(String::from_utf8(entry.name.to_vec()).unwrap(), entry.kind);
            true
        })?;
        match listed {
            Listed::More(next) => at = next,
            Listed::End | Listed::Enough => return Ok(found),
        }
    }
}

#[test]
fn what_is_done_shows_on_the_host() {
    let host = TemporaryDirectory::new();
    let share = Share::new(host.path());
    let root = connect(&share);
    let (file, _) = root.another().unwrap().create(b"file", READ_WRITE | CREATE | EXCLUSIVE, 0o640, 0).unwrap();
    let text = b"from the other side".repeat(1000);
    assert_eq!(file.write(5, &frames(&text), text.len()), Ok(text.len()));
    file.sync(false).unwrap();
    let found = fs::read(host.path().join("file")).unwrap();
    assert_eq!((&found[..5], &found[5..]), (&[0; 5][..], &text[..]));
    let room = frames(&vec![1; 5 * PAGE_SIZE]);
    assert_eq!(file.read(5, &room, 5 * PAGE_SIZE), Ok(text.len()));
    assert_eq!(bytes(&room, text.len()), text);
    assert_eq!(file.read(1 << 40, &room, 1), Ok(0));

    root.mkdir(b"below", 0o751, 0).unwrap();
    root.symlink(b"link", b"below/moved", 0).unwrap();
    let (below, qid) = root.walk(b"below").unwrap();
    assert_eq!(qid.kind, message::Qid::DIRECTORY);
    root.rename(b"file", &below, b"moved").unwrap();
    let (moved, _) = below.walk(b"moved").unwrap();
    below.link(&moved, b"again").unwrap();
    assert_eq!(root.walk(b"link").unwrap().0.readlink().unwrap(), b"below/moved");

    let time = message::Time { seconds: 1_234_567_890, nanoseconds: 5 };
    let set =
        SetAttributes { mode: Some(0o604), size: Some(7), modified: Some(NewTime::To(time)), ..Default::default() };
    moved.set_attributes(&set).unwrap();
    let attributes = moved.attributes().unwrap();
    assert_eq!((attributes.mode, attributes.size, attributes.links), (0o100_604, 7, 2));
    assert_eq!(attributes.modified, time);
    let found = fs::metadata(host.path().join("link")).unwrap();
    assert_eq!((found.mode(), found.size(), found.mtime()), (0o100_604, 7, 1_234_567_890));

    let listing = list(&below.another().unwrap().open(0).unwrap()).unwrap();
    assert!(listing.keys().map(String::as_str).eq([".", "..", "again", "moved"]), "{listing:?}");
    below.unlink(b"again", false).unwrap();
    assert_eq!(root.unlink(b"below", true), Err(Errno::ENOTEMPTY));
    assert_eq!(root.walk(b"nothing").err(), Some(Errno::ENOENT));
    assert!(root.statistics().unwrap().blocks > 0);
}

#[test]
fn many_entries_come_in_several_replies_and_each_once() {
    let host = TemporaryDirectory::new();
    let name = |number: usize| format!("{number:0>200}");
    for number in 0..500 {
        fs::write(host.path().join(name(number)), b"").unwrap();
    }
    let share = Share::new(host.path());
    let root = connect(&share);
    let open = root.another().unwrap().open(0).unwrap();
    let before = share.served();
    assert_eq!(list(&open).unwrap().len(), 502);
    assert!(share.served() - before > 3);
}

#[test]
fn nothing_is_held_when_nobody_holds_it() {
    let host = TemporaryDirectory::new();
    fs::write(host.path().join("file"), b"text").unwrap();
    let share = Share::new(host.path());
    let root = connect(&share);
    for _ in 0..1000 {
        let (file, _) = root.walk(b"file").unwrap();
        file.another().unwrap().open(0).unwrap();
        assert!(root.walk(b"absent").is_err());
    }
    assert_eq!(share.fids(), 1);
    drop(root);
    assert_eq!(share.fids(), 0);
}

#[test]
fn letting_go_waits_for_an_occasion() {
    let host = TemporaryDirectory::new();
    fs::write(host.path().join("file"), b"text").unwrap();
    let share = Share::new(host.path());
    let root = connect(&share);
    let held: Vec<_> = (0..20).map(|_| root.walk(b"file").unwrap()).collect();
    // The device is full: nothing can be said.
    share.hold(0);
    drop(held);
    share.go_on();
    assert_eq!(share.fids(), 21);
    root.attributes().unwrap();
    assert_eq!(share.fids(), 1);
}

#[test]
fn replies_come_in_any_order() {
    let host = TemporaryDirectory::new();
    for number in 0..8 {
        fs::write(host.path().join(format!("{number}")), vec![number; 100 + usize::from(number)]).unwrap();
    }
    let share = Share::new(host.path());
    let root = std::sync::Arc::new(connect(&share));
    share.hold(5);
    let threads: Vec<_> = (0..8_u8)
        .map(|number| {
            let root = root.clone();
            testkit::threads::spawn(move || {
                let (file, _) = root.walk(number.to_string().as_bytes()).unwrap();
                let file = file.open(0).unwrap();
                let room = frames(&[9; PAGE_SIZE]);
                let read = file.read(0, &room, PAGE_SIZE).unwrap();
                assert_eq!(bytes(&room, read), vec![number; 100 + usize::from(number)]);
            })
        })
        .collect();
    let mut random = Random::new(7);
    while !threads.iter().all(std::thread::JoinHandle::is_finished) {
        match share.held() {
            0 => std::thread::yield_now(),
            held => share.release(random.below(held)),
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    share.go_on();
}

#[test]
fn long_transfers_are_cut_to_what_a_message_holds() {
    let host = TemporaryDirectory::new();
    let text: Vec<u8> = (0..300_000_u32).map(|at| (at / 3).to_le_bytes()[0]).collect();
    fs::write(host.path().join("file"), &text).unwrap();
    for (message_max, pieces_max, unit) in [(1 << 20, 128, 126 * 4096), (1 << 20, 512, 512 << 10), (9000, 128, 8192)] {
        let share = Share::with(host.path(), message_max, pieces_max);
        let root = connect(&share);
        let file = root.walk(b"file").unwrap().0.open(0).unwrap();
        assert_eq!(file.unit(), unit);
        let room = frames(&vec![0; 300_000]);
        let read = file.read(0, &room, 300_000).unwrap();
        assert_eq!(read, unit.min(300_000));
        assert!(bytes(&room, read) == text[..read]);
    }
    testkit::frames::install();
    let silent = Share::with(host.path(), 2000, 128);
    assert_eq!(Client::connect(silent.transport(), b"", b"").err(), Some(Errno::EPROTONOSUPPORT));
}

#[test]
fn a_dead_server_is_an_error_for_all() {
    let host = TemporaryDirectory::new();
    fs::write(host.path().join("file"), b"text").unwrap();
    let share = Share::new(host.path());
    let root = std::sync::Arc::new(connect(&share));
    let file = root.walk(b"file").unwrap().0.open(0).unwrap();
    share.hold(1);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let root = root.clone();
            testkit::threads::spawn(move || root.attributes().err())
        })
        .collect();
    while share.held() == 0 {
        std::thread::yield_now();
    }
    share.die();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap() == Some(Errno::EIO)));
    assert_eq!(file.read(0, &frames(b"x"), 1), Err(Errno::EIO));
}

/// A server that sends anything: errors, or something else than there is, and nothing worse.
#[test]
fn a_lying_server_is_survived() {
    for seed in 0..20 {
        let host = TemporaryDirectory::new();
        for number in 0..30 {
            fs::write(host.path().join(format!("file-{number}")), b"text").unwrap();
        }
        std::os::unix::fs::symlink("file-1", host.path().join("link")).unwrap();
        let share = Share::new(host.path());
        let root = connect(&share);
        let (directory, file) = (root.another().unwrap().open(0).unwrap(), root.walk(b"file-2").unwrap().0);
        let file = file.open(0).unwrap();
        share.mangle(Some(Random::new(seed)));
        for round in 0..100 {
            let room = frames(&[7; 2 * PAGE_SIZE]);
            assert!(file.read(0, &room, 5000).unwrap_or(0) <= 5000, "seed {seed}, round {round}");
            let _ = directory.read_directory(0, |entry| !entry.name.contains(&b'/'));
            let _ = root.attributes();
            let _ = root.statistics();
            if let Ok((link, _)) = root.walk(b"link") {
                assert!(link.readlink().unwrap_or_default().len() < 4096, "seed {seed}, round {round}");
            }
            let _ = root.another();
        }
        let _ = Client::connect(share.transport(), b"", b"");
    }
}

/// What the server says that it sent and did not is none of the file's.
#[test]
fn bytes_count_that_were_sent() {
    const SIZED: u8 = 244;
    testkit::frames::install();
    // Version, attach, walk, open; then a read whose message is said to be shorter than what it counts.
    let server = Liar::new(&[0, 0, 0, 0, SIZED, 128 + 31]);
    let root = Client::connect(server.transport(), b"", b"root").unwrap().0;
    let file = root.walk(b"b").unwrap().0.open(0).unwrap();
    let room = frames(&[0; 2 * PAGE_SIZE]);
    assert_eq!(file.read(0, &room, 6000), Err(Errno::EIO));
    assert_eq!(file.read(0, &room, 6000), Ok(6000));
}

/// Tags of requests that nobody waits for run out when they are never answered. Whoever needs one then finds the server
/// dead.
#[test]
fn a_server_that_does_not_let_go_is_given_up() {
    const LOST: u8 = 252;
    testkit::frames::install();
    testkit::clock::tick(1, 1);
    testkit::clock::skip_waits(true);
    let server = Liar::new(&[[0; 2].to_vec(), [0, LOST].repeat(300)].concat());
    let root = Client::connect(server.transport(), b"", b"root").unwrap().0;
    let walked = (0..300).take_while(|_| root.another().is_ok()).count();
    assert_eq!((walked, root.attributes().err()), (256, Some(Errno::EIO)));
}

/// The way to a server that answers the oldest request each time when the client has become impatient.
struct Sluggish(Share, std::sync::Arc<dyn Transport>);

impl Transport for Sluggish {
    fn pieces_max(&self) -> usize {
        self.1.pieces_max()
    }

    fn submit(&self, exchange: Exchange) -> Result<(), Exchange> {
        self.1.submit(exchange)
    }

    fn room(&self) -> &WaitQueue {
        self.1.room()
    }

    fn poll(&self) {
        if self.0.held() > 0 {
            self.0.release(0);
        }
    }

    fn stop(&self) {
        self.1.stop();
    }
}

/// It answers others, but not the one: as long as that may still come it is waited for, and no longer.
#[test]
fn a_server_that_forgets_one_request_is_given_up_in_time() {
    let wait_behind = |others: u32| {
        testkit::frames::install();
        testkit::clock::tick(1, 1);
        let directory = TemporaryDirectory::new();
        let share = Share::new(directory.path());
        let way = std::sync::Arc::new(Sluggish(share.clone(), share.transport()));
        let root = Client::connect(way, b"", b"root").unwrap().0;
        let let_go: Vec<Fid> = (0..others).map(|_| root.another().unwrap()).collect();
        testkit::clock::skip_waits(true);
        let before = share.served();
        share.hold(usize::MAX);
        drop(let_go);
        let answer = root.attributes().map(|_| ());
        (answer, share.served() - before)
    };
    assert_eq!(wait_behind(TIMEOUTS_MAX - 2), (Ok(()), u64::from(TIMEOUTS_MAX - 1)));
    assert_eq!(wait_behind(3 * TIMEOUTS_MAX), (Err(Errno::EIO), u64::from(TIMEOUTS_MAX)));
}
