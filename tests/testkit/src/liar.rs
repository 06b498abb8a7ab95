//! [`Liar`]: a server of 9P2000.L that answers what a script says, for fuzzing: replies of the right shape with values
//! that tempt, replies of which a few bytes are wrong, replies that are noise, and none at all.
//!
//! A script is bytes. Each reply takes one that chooses how it is made ([`Liar::reply`] has the list), and as many more
//! as that needs. A script that is over reads as zeros, which is a server without faults over a small tree: what a name
//! stands for follows from its first letter, so that walks get somewhere. So every bit of a script is a lie of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ninep::message::{READ_REPLY_LEN, kind};
use ninep::{Exchange, Transport};
use sync::WaitQueue;

use crate::exchange::{put, request_of};
use crate::machine::lock;

/// Pieces of an exchange.
const PIECES_MAX: usize = 32;
/// Requests after which nothing is answered any more: a client that asks for ever is found out.
const REQUESTS_MAX: u64 = 20_000;
/// The most bytes of noise.
const NOISE_MAX: usize = 600;
/// The most bytes that are changed in one reply.
const CHANGES_MAX: u8 = 4;
/// Files of the tree. The first is its root.
const FILES: u8 = 8;
/// What they are.
const MODES: [u32; FILES as usize] =
    [0o040_755, 0o100_644, 0o120_777, 0o040_755, 0o100_600, 0o010_644, 0o020_666, 0o140_755];
/// Numbers that somebody may trip over; the first is none of them.
const TEMPTING: [u64; 16] = [
    0,
    1,
    2,
    7,
    255,
    4095,
    4096,
    4097,
    1 << 20,
    (1 << 31) - 1,
    1 << 32,
    i64::MAX as u64 - 4095,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];
/// The size of a message that is agreed on.
const MESSAGE_MAX: u32 = 64 << 10;

#[derive(Default)]
struct State {
    script: Vec<u8>,
    at: usize,
    /// Which file a fid is.
    files: HashMap<u32, u8>,
    /// Requests that are answered late, or never.
    kept: Vec<(Exchange, Vec<u8>, bool)>,
    requests: u64,
    is_dead: bool,
}

/// What becomes of a request.
enum Fate {
    /// It is answered: the bytes, and how many the device says there are.
    Answered(Vec<u8>, u32),
    /// It is answered when the client looks itself.
    Late(Vec<u8>),
    /// It is never answered.
    Lost,
    /// The device gives it up.
    Failed,
}

/// The server, and the way to it.
#[derive(Clone)]
pub struct Liar(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    room: WaitQueue,
}

impl Liar {
    /// A server that follows a script.
    #[must_use]
    pub fn new(script: &[u8]) -> Self {
        let state = State { script: script.to_vec(), ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), room: WaitQueue::new() }))
    }

    /// As what the client takes.
    #[must_use]
    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.clone())
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        lock(&self.0.state).requests
    }
}

impl State {
    fn byte(&mut self) -> u8 {
        let byte = self.script.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    /// The honest number, or where the reply is not, another.
    fn number(&mut self, is_honest: bool, honest: u64) -> u64 {
        let choice = if is_honest { 0 } else { self.byte() };
        match choice {
            0 => honest,
            1..128 => TEMPTING[usize::from(choice) % TEMPTING.len()],
            _ => honest.wrapping_add(u64::from(choice & 63)).wrapping_sub(32),
        }
    }

    fn put<const LEN: usize>(&mut self, reply: &mut Vec<u8>, is_honest: bool, honest: u64) {
        let number = self.number(is_honest, honest);
        reply.extend_from_slice(&number.to_le_bytes()[..LEN]);
    }

    fn qid(&mut self, reply: &mut Vec<u8>, is_honest: bool, file: u8) {
        let kind = match MODES[usize::from(file % FILES)] >> 12 {
            0o04 => 0x80,
            0o12 => 2,
            _ => 0,
        };
        self.put::<1>(reply, is_honest, kind);
        self.put::<4>(reply, is_honest, 0);
        self.put::<8>(reply, is_honest, u64::from(file) + 1);
    }

    fn attributes(&mut self, reply: &mut Vec<u8>, is_honest: bool, file: u8) {
        self.put::<8>(reply, is_honest, 0x7ff);
        self.qid(reply, is_honest, file);
        self.put::<4>(reply, is_honest, u64::from(MODES[usize::from(file % FILES)]));
        self.put::<4>(reply, is_honest, 0);
        self.put::<4>(reply, is_honest, 0);
        for honest in [1, 0, 6000, 4096, 16] {
            self.put::<8>(reply, is_honest, honest);
        }
        for _ in 0..10 {
            self.put::<8>(reply, is_honest, 5);
        }
    }

    fn entries(&mut self, reply: &mut Vec<u8>, is_honest: bool, offset: u64, room: usize) {
        let mut entries = Vec::new();
        let count = self.number(is_honest, 4).min(200);
        // A directory of which nothing is told twice.
        for number in offset..offset.saturating_add(if offset == 0 { count } else { 0 }) {
            let file = number.to_le_bytes()[0] % FILES;
            let mut entry = Vec::new();
            self.qid(&mut entry, is_honest, file);
            self.put::<8>(&mut entry, is_honest, number + 1);
            self.put::<1>(&mut entry, is_honest, 0);
            let name = [[b'a' + file].as_slice(), if is_honest { b"" } else { &[b'x'; 300] }].concat();
            let len = self.number(is_honest, 1).min(300);
            self.put::<2>(&mut entry, is_honest, len);
            entry.extend_from_slice(&name[..name.len().min(usize::try_from(len).unwrap_or(0))]);
            if entries.len() + entry.len() > room {
                break;
            }
            entries.extend(entry);
        }
        self.put::<4>(reply, is_honest, entries.len() as u64);
        reply.extend(entries);
    }

    /// The body of the reply to a request.
    fn body(&mut self, request: &[u8], is_honest: bool) -> Vec<u8> {
        let word = |at: usize| {
            request.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap_or([0; 4])))
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let fid = word(7);
        let file = self.files.get(&fid).copied().unwrap_or(0);
        let mut reply = Vec::new();
        match request[4] {
            kind::VERSION => {
                self.put::<4>(&mut reply, is_honest, u64::from(MESSAGE_MAX));
                self.put::<2>(&mut reply, is_honest, 8);
                reply.extend(b"9P2000.L");
            }
            kind::ATTACH => {
                self.files.insert(fid, 0);
                self.qid(&mut reply, is_honest, 0);
            }
            kind::WALK => {
                let (new, count) = (word(11), request[15]);
                let child =
                    if count == 0 { file } else { request.get(19).copied().unwrap_or(0).wrapping_sub(b'a') % FILES };
                let child = self.number(is_honest, u64::from(child)).to_le_bytes()[0] % FILES;
                self.files.insert(new, child);
                self.put::<2>(&mut reply, is_honest, u64::from(count));
                (0..count).for_each(|_| self.qid(&mut reply, is_honest, child));
            }
            kind::GETATTR => self.attributes(&mut reply, is_honest, file),
            kind::READDIR => self.entries(&mut reply, is_honest, long(11), usize::try_from(word(19)).unwrap_or(0)),
            kind::READ => {
                let left = 6000_u64.saturating_sub(long(11)).min(u64::from(word(19)));
                let len = self.number(is_honest, left).min(u64::from(word(19)));
                self.put::<4>(&mut reply, is_honest, len);
                reply.resize(reply.len() + usize::try_from(len).unwrap_or(0), b'r');
            }
            kind::WRITE => self.put::<4>(&mut reply, is_honest, u64::from(word(19))),
            kind::READLINK => {
                let len = self.number(is_honest, 1);
                reply.extend(len.to_le_bytes().iter().take(2));
                reply.resize(reply.len() + usize::try_from(len.min(5000)).unwrap_or(0), b'd');
            }
            kind::XATTRWALK => {
                self.files.insert(word(11), file);
                self.put::<8>(&mut reply, is_honest, 40);
            }
            kind::STATFS => {
                self.put::<4>(&mut reply, is_honest, 0x0102_1997);
                self.put::<4>(&mut reply, is_honest, 4096);
                (0..6).for_each(|_| self.put::<8>(&mut reply, is_honest, 100));
                self.put::<4>(&mut reply, is_honest, 255);
            }
            kind::OPEN | kind::CREATE => {
                self.qid(&mut reply, is_honest, file);
                self.put::<4>(&mut reply, is_honest, 0);
            }
            kind::MKDIR | kind::SYMLINK | kind::MKNOD => self.qid(&mut reply, is_honest, file),
            _ => {}
        }
        reply
    }

    /// What is answered to a request, or not.
    fn reply(&mut self, request: &[u8]) -> Fate {
        let choice = self.byte();
        if (160..192).contains(&choice) {
            let number = self.number(false, u64::from(choice - 159));
            return whole(message(7, request, &number.to_le_bytes()[..4]));
        }
        let body = self.body(request, !(96..160).contains(&choice));
        let mut reply = message(request[4] + 1, request, &body);
        match choice {
            192..=231 => {
                for _ in 0..=choice % CHANGES_MAX {
                    let at = usize::from(self.byte()) % reply.len();
                    reply[at] = self.byte();
                }
            }
            232..=239 => {
                let len = usize::from(self.byte());
                reply.resize(len.min(NOISE_MAX), 0);
                reply.iter_mut().for_each(|byte| *byte = self.byte());
            }
            240..=243 => {
                let written = self.number(false, reply.len() as u64);
                return Fate::Answered(reply, u32::try_from(written).unwrap_or(u32::MAX));
            }
            244..=247 => {
                // It says that it is longer than it is, or shorter.
                let said = self.number(false, reply.len() as u64);
                reply[..4].copy_from_slice(&said.to_le_bytes()[..4]);
            }
            248..=251 => return Fate::Late(reply),
            252 | 253 => return Fate::Lost,
            254 => return Fate::Failed,
            _ => {}
        }
        whole(reply)
    }
}

fn whole(reply: Vec<u8>) -> Fate {
    let len = u32::try_from(reply.len()).unwrap_or(u32::MAX);
    Fate::Answered(reply, len)
}

fn message(kind: u8, request: &[u8], body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(READ_REPLY_LEN - 4 + body.len()).unwrap_or(u32::MAX);
    [&len.to_le_bytes()[..], &[kind], &request[5..7], body].concat()
}

impl Transport for Liar {
    fn pieces_max(&self) -> usize {
        PIECES_MAX
    }

    fn submit(&self, exchange: Exchange) -> Result<(), Exchange> {
        assert!(exchange.outgoing().len() + exchange.incoming().len() <= PIECES_MAX, "an exchange has too many pieces");
        let request = request_of(&exchange);
        let mut state = lock(&self.0.state);
        state.requests += 1;
        if state.is_dead || state.requests > REQUESTS_MAX {
            drop(state);
            exchange.complete(None);
            return Ok(());
        }
        match state.reply(&request) {
            Fate::Answered(reply, written) => {
                drop(state);
                put(&exchange, &reply);
                // No device says that it wrote more than there is room for: the queue's code sees to that.
                let room: usize = exchange.incoming().iter().map(mm::FramePiece::len).sum();
                exchange.complete(Some(written.min(u32::try_from(room).unwrap_or(u32::MAX))));
            }
            Fate::Failed => {
                drop(state);
                exchange.complete(None);
            }
            Fate::Late(reply) => state.kept.push((exchange, reply, true)),
            Fate::Lost => state.kept.push((exchange, Vec::new(), false)),
        }
        Ok(())
    }

    fn room(&self) -> &WaitQueue {
        &self.0.room
    }

    fn poll(&self) {
        let late: Vec<_> = lock(&self.0.state).kept.extract_if(.., |kept| kept.2).collect();
        for (exchange, reply, _) in late {
            let written = put(&exchange, &reply);
            exchange.complete(Some(written));
        }
    }

    fn stop(&self) {
        let kept = {
            let mut state = lock(&self.0.state);
            state.is_dead = true;
            std::mem::take(&mut state.kept)
        };
        kept.into_iter().for_each(|(exchange, ..)| exchange.complete(None));
        self.0.room.wake_all();
    }
}
