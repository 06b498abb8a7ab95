//! The device's side of vhost-user (QEMU's documentation, "Vhost-user Protocol"), as far as a socket device needs it.
//!
//! The machine's memory is a file that QEMU sends the descriptor of. It is read and written as one, by `pread` and
//! `pwrite`, so nothing is mapped.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Error, ErrorKind, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::peer::Peer;

/// Both sides say which entry they want to hear of.
const EVENT_INDEX: u64 = 1 << 29;
/// Version 1 of the specification, tables of descriptors, and that features of the protocol are told.
const FEATURES: u64 = 1 << 32 | 1 << 28 | EVENT_INDEX | 1 << 30;
/// The configuration is read by messages.
const PROTOCOL_FEATURES: u64 = 1 << 9;
const VERSION: u32 = 1;
const IS_REPLY: u32 = 1 << 2;
/// In what comes with a descriptor: there is none.
const NO_DESCRIPTOR: u64 = 1 << 8;
const DESCRIPTORS_MAX: usize = 8;
const MESSAGE_LEN_MAX: usize = 1 << 12;
const CHAIN_LEN_MAX: usize = 64;

const HAS_NEXT: u16 = 1;
const IS_WRITABLE: u16 = 2;
const IS_TABLE: u16 = 4;
/// In the flags of what the machine makes available: it wants no interrupts.
const NO_INTERRUPT: u16 = 1;

/// The queues that the machine's memory has; the third is QEMU's own.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// A part of the machine's memory.
struct Region {
    guest: u64,
    len: u64,
    user: u64,
    offset: u64,
    file: File,
}

/// A queue, by QEMU's addresses.
#[derive(Default)]
struct Ring {
    len: u16,
    descriptors: u64,
    used: u64,
    available: u64,
    /// Chains that were taken, and given back.
    taken: u16,
    /// How many there were at the last look whether the machine wants an interrupt.
    told: u16,
    kick: Option<File>,
    call: Option<File>,
}

/// A buffer of a chain.
#[derive(Clone, Copy)]
struct Piece {
    address: u64,
    len: usize,
    is_writable: bool,
}

/// What QEMU says.
struct Message {
    request: u32,
    payload: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// A device in use.
struct Session {
    socket: UnixStream,
    cid: u32,
    /// What the machine's driver has taken of what was offered.
    features: u64,
    memory: Vec<Region>,
    rings: [Ring; 2],
    peer: Peer,
}

/// Serves QEMU until it is gone.
pub(super) fn serve(socket: UnixStream, cid: u32) -> io::Result<()> {
    let (memory, rings, peer) = (Vec::new(), Default::default(), Peer::new(cid));
    let mut session = Session { socket, cid, features: 0, memory, rings, peer };
    loop {
        let (has_message, has_kick) = session.wait()?;
        if has_kick {
            session.move_packets()?;
        }
        if has_message && !session.answer()? {
            return Ok(());
        }
    }
}

fn nonsense(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

fn word(bytes: &[u8], at: usize) -> io::Result<u32> {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(|| nonsense("a short message"))?;
    Ok(u32::from_le_bytes(*word))
}

fn double_word(bytes: &[u8], at: usize) -> io::Result<u64> {
    Ok(u64::from(word(bytes, at)?) | u64::from(word(bytes, at + 4)?) << 32)
}

impl Session {
    /// Waits for a message, or for the machine. Answers which there was.
    fn wait(&mut self) -> io::Result<(bool, bool)> {
        let kicks = self.rings.iter().filter_map(|ring| ring.kick.as_ref());
        let mut watched = vec![PollFd::new(&self.socket, PollFlags::IN)];
        watched.extend(kicks.map(|kick| PollFd::new(kick, PollFlags::IN)));
        poll(&mut watched, None)?;
        let ready: Vec<bool> = watched.iter().map(|one| !one.revents().is_empty()).collect();
        let has_kick = ready[1..].contains(&true);
        let kicks = self.rings.iter().filter_map(|ring| ring.kick.as_ref());
        for (mut kick, _) in kicks.zip(&ready[1..]).filter(|(_, is_ready)| **is_ready) {
            kick.read_exact(&mut [0; 8])?;
        }
        Ok((ready[0], has_kick))
    }

    /// Takes a message, with what descriptors came with its head. `None`: QEMU is gone.
    fn message(&self) -> io::Result<Option<Message>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut head = [0; 12];
        let received =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut head)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        if received.bytes == 0 {
            return Ok(None);
        }
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        (&self.socket).read_exact(&mut head[received.bytes..])?;
        let len = word(&head, 8)? as usize;
        if len > MESSAGE_LEN_MAX {
            return Err(nonsense("a long message"));
        }
        let mut payload = vec![0; len];
        (&self.socket).read_exact(&mut payload)?;
        Ok(Some(Message { request: word(&head, 0)?, payload, descriptors }))
    }

    fn reply(&self, request: u32, payload: &[u8]) -> io::Result<()> {
        let len = u32::try_from(payload.len()).unwrap_or(0);
        let head = [request, VERSION | IS_REPLY, len].map(u32::to_le_bytes).concat();
        (&self.socket).write_all(&[&head[..], payload].concat())
    }

    /// The ring that a message is about.
    fn ring(&mut self, number: u32) -> io::Result<&mut Ring> {
        self.rings.get_mut(number as usize).ok_or_else(|| nonsense("there is no such ring"))
    }

    /// Does what a message says. False: there are no more.
    fn answer(&mut self) -> io::Result<bool> {
        let Some(Message { request, payload, mut descriptors }) = self.message()? else { return Ok(false) };
        match request {
            1 => self.reply(request, &FEATURES.to_le_bytes())?,
            2 => self.features = double_word(&payload, 0)?,
            15 => self.reply(request, &PROTOCOL_FEATURES.to_le_bytes())?,
            5 => self.set_memory(&payload, descriptors)?,
            8 => self.ring(word(&payload, 0)?)?.len = u16::try_from(word(&payload, 4)?).unwrap_or(0),
            9 => {
                let ring = self.ring(word(&payload, 0)?)?;
                ring.descriptors = double_word(&payload, 8)?;
                ring.used = double_word(&payload, 16)?;
                ring.available = double_word(&payload, 24)?;
            }
            10 => {
                let ring = self.ring(word(&payload, 0)?)?;
                ring.taken = u16::try_from(word(&payload, 4)?).unwrap_or(0);
                ring.told = ring.taken;
            }
            11 => {
                let number = word(&payload, 0)?;
                let ring = self.ring(number)?;
                ring.kick = None;
                let state = [number, u32::from(ring.taken)].map(u32::to_le_bytes).concat();
                self.reply(request, &state)?;
            }
            12 | 13 => {
                let value = double_word(&payload, 0)?;
                let file = (value & NO_DESCRIPTOR == 0).then(|| descriptors.pop()).flatten().map(File::from);
                let ring = self.ring(word(&payload, 0)? & 0xff)?;
                *(if request == 12 { &mut ring.kick } else { &mut ring.call }) = file;
            }
            24 => {
                let (offset, len) = (word(&payload, 0)? as usize, word(&payload, 4)? as usize);
                let mut answer = payload.clone();
                let configuration = u64::from(self.cid).to_le_bytes();
                let bytes = configuration.get(offset..offset + len).ok_or_else(|| nonsense("no configuration"))?;
                answer.get_mut(12..12 + len).ok_or_else(|| nonsense("a short message"))?.copy_from_slice(bytes);
                self.reply(request, &answer)?;
            }
            // What needs no answer changes nothing here.
            _ => {}
        }
        Ok(true)
    }

    fn set_memory(&mut self, payload: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<()> {
        self.memory.clear();
        for (number, descriptor) in descriptors.into_iter().enumerate() {
            let at = 8 + number * 32;
            self.memory.push(Region {
                guest: double_word(payload, at)?,
                len: double_word(payload, at + 8)?,
                user: double_word(payload, at + 16)?,
                offset: double_word(payload, at + 24)?,
                file: descriptor.into(),
            });
        }
        Ok(())
    }

    /// Where an address lies, of QEMU's or of the machine's.
    fn place(&self, address: u64, len: usize, is_guest: bool) -> io::Result<(&File, u64)> {
        let found = self.memory.iter().find_map(|region| {
            let inside = address.checked_sub(if is_guest { region.guest } else { region.user })?;
            let is_there = inside.checked_add(len as u64)? <= region.len;
            is_there.then(|| (&region.file, region.offset + inside))
        });
        found.ok_or_else(|| nonsense("an address outside of the memory"))
    }

    fn read<const LEN: usize>(&self, address: u64, is_guest: bool) -> io::Result<[u8; LEN]> {
        let (mut bytes, (file, offset)) = ([0; LEN], self.place(address, LEN, is_guest)?);
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn write(&self, address: u64, bytes: &[u8], is_guest: bool) -> io::Result<()> {
        let (file, offset) = self.place(address, bytes.len(), is_guest)?;
        file.write_all_at(bytes, offset)
    }

    /// Takes the next chain of a ring: its head, and its buffers.
    fn take(&mut self, number: usize) -> io::Result<Option<(u16, Vec<Piece>)>> {
        let ring = &self.rings[number];
        if ring.kick.is_none() || ring.len == 0 {
            return Ok(None);
        }
        let mut published = u16::from_le_bytes(self.read(ring.available + 2, false)?);
        if published == ring.taken && self.has_event_index() {
            // The machine tells of the next one; it may have come before this was said.
            self.write(ring.used + 4 + 8 * u64::from(ring.len), &ring.taken.to_le_bytes(), false)?;
            published = u16::from_le_bytes(self.read(ring.available + 2, false)?);
        }
        if published == ring.taken {
            return Ok(None);
        }
        let slot = u64::from(ring.taken % ring.len);
        let head = u16::from_le_bytes(self.read(ring.available + 4 + 2 * slot, false)?);
        let (mut table, mut is_guest, mut at) = (ring.descriptors, false, head);
        let mut pieces = Vec::new();
        while pieces.len() < CHAIN_LEN_MAX {
            let entry: [u8; 16] = self.read(table + 16 * u64::from(at), is_guest)?;
            let (address, len) = (double_word(&entry, 0)?, word(&entry, 8)? as usize);
            let [.., flags_low, flags_high, next_low, next_high] = entry;
            let flags = u16::from_le_bytes([flags_low, flags_high]);
            if flags & IS_TABLE != 0 {
                (table, is_guest, at) = (address, true, 0);
                continue;
            }
            pieces.push(Piece { address, len, is_writable: flags & IS_WRITABLE != 0 });
            if flags & HAS_NEXT == 0 {
                break;
            }
            at = u16::from_le_bytes([next_low, next_high]);
        }
        self.rings[number].taken = self.rings[number].taken.wrapping_add(1);
        Ok(Some((head, pieces)))
    }

    /// Gives the chain back that was taken last.
    fn give_back(&self, number: usize, head: u16, written: usize) -> io::Result<()> {
        let ring = &self.rings[number];
        let slot = u64::from(ring.taken.wrapping_sub(1) % ring.len);
        let written = u32::try_from(written).unwrap_or(0);
        self.write(ring.used + 4 + 8 * slot, &[u32::from(head), written].map(u32::to_le_bytes).concat(), false)?;
        self.write(ring.used + 2, &ring.taken.to_le_bytes(), false)
    }

    fn has_event_index(&self) -> bool {
        self.features & EVENT_INDEX != 0
    }

    /// Interrupts the machine if it wants that: by the entry that it waits for, or by its flag, as was agreed.
    fn interrupt(&mut self, number: usize) -> io::Result<()> {
        let ring = &self.rings[number];
        let place = ring.available + if self.has_event_index() { 4 + 2 * u64::from(ring.len) } else { 0 };
        let wish = u16::from_le_bytes(self.read(place, false)?);
        let is_wanted = if self.has_event_index() {
            ring.taken.wrapping_sub(wish).wrapping_sub(1) < ring.taken.wrapping_sub(ring.told)
        } else {
            wish & NO_INTERRUPT == 0
        };
        let ring = &mut self.rings[number];
        ring.told = ring.taken;
        match ring.call.as_mut() {
            Some(call) if is_wanted => call.write_all(&1_u64.to_le_bytes()),
            _ => Ok(()),
        }
    }

    /// Takes what the machine sends, and gives it what there is for it.
    fn move_packets(&mut self) -> io::Result<()> {
        let mut was_any = false;
        while let Some((head, pieces)) = self.take(TRANSMIT)? {
            let mut packet = Vec::new();
            for piece in pieces.iter().filter(|piece| !piece.is_writable) {
                let (file, offset) = self.place(piece.address, piece.len, true)?;
                let start = packet.len();
                packet.resize(start + piece.len, 0);
                file.read_exact_at(&mut packet[start..], offset)?;
            }
            self.give_back(TRANSMIT, head, 0)?;
            self.peer.receive(&packet);
            was_any = true;
        }
        if was_any {
            self.interrupt(TRANSMIT)?;
        }
        self.deliver()
    }

    fn deliver(&mut self) -> io::Result<()> {
        let mut was_any = false;
        while !self.peer.outbox.is_empty()
            && let Some((head, pieces)) = self.take(RECEIVE)?
        {
            let packet = self.peer.outbox.pop_front().unwrap_or_default();
            let mut left: VecDeque<u8> = packet.into();
            let mut written = 0;
            for piece in pieces.iter().filter(|piece| piece.is_writable) {
                let part: Vec<u8> = left.drain(..left.len().min(piece.len)).collect();
                self.write(piece.address, &part, true)?;
                written += part.len();
            }
            self.give_back(RECEIVE, head, written)?;
            was_any = true;
        }
        if was_any { self.interrupt(RECEIVE) } else { Ok(()) }
    }
}
