//! [`Rights`]: open files on their way from one process to another, and what is done so that they never stay on it for ever.
//!
//! # 1. Limit
//!
//! Each user has at most so many files in flight as one of its processes may have open (`ETOOMANYREFS`), which bounds what they hold.
//!
//! # 2. Cycles
//!
//! A socket that lies in its own queue, or two that lie in each other's, keep themselves open when no process has them any more. They are
//! looked for when a socket is closed, if something happened since the last time that can have made garbage: a descriptor of a socket
//! in flight was closed, or a reference in flight went away and left others behind:
//!
//! 1. An open socket is a candidate when all references to it are in flight: nobody can receive from it.
//! 2. The messages in queues of candidates are counted. A candidate with more references in flight than were found there lies in a queue that
//!    somebody can still read: it is alive, and with it all that lies in its own queue, and so on.
//! 3. What is left is garbage. Its queues are emptied, which closes it.
//!
//! All of it happens under the lock of the table of sockets in flight. Who receives holds a reference of its own from its descriptor
//! table, and whoever takes a file out of flight takes it out of the table first, so a socket that is in use is no candidate, or has
//! references that no queue explains.
//!
//! # 3. Depth
//!
//! Closing a socket drops what lies in its queue, which may be the last reference to another one, and so on. They are closed one after
//! the other from a list ([`drop_later`]), not one inside of the other.
//!
//! Lock: [`rank::UNIX_NAMES`], and queues of endpoints under it. No rights are dropped under a queue's lock.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::Errno;
use file::OpenFile;
use sync::{Lazy, Mutex, rank};

use super::UnixSocket;
use super::endpoint::{Message, Queue};
use crate::socket::{Caller, SocketFile};

/// Sockets in flight that closing one pays the look at.
const CREDIT_OF_CLOSE: usize = 64;

/// A socket that lies in queues.
struct Entry {
    open: Weak<OpenFile>,
    /// In how many places.
    count: usize,
    /// How often it is still looked at because it may have become garbage: whoever closed its descriptor may not have let go yet.
    suspicion: u8,
}

/// The looks at a socket whose descriptor was closed.
const SUSPICION_MAX: u8 = 4;

#[derive(Default)]
struct Table {
    /// Sockets of the Unix domain, by the addresses of their open files.
    sockets: BTreeMap<usize, Entry>,
    /// Files of all kinds, by the user who sent them.
    users: BTreeMap<u32, usize>,
}

static IN_FLIGHT: Lazy<Mutex<Table>> = Lazy::new(|| Mutex::new(rank::UNIX_NAMES, Table::default()));

/// The socket behind an open file, if it is one of the Unix domain.
fn unix_socket(open: &OpenFile) -> Option<&UnixSocket> {
    let file = (&**open.file() as &dyn Any).downcast_ref::<SocketFile>()?;
    (&**file.socket() as &dyn Any).downcast_ref()
}

fn address_of(open: &Arc<OpenFile>) -> usize {
    Arc::as_ptr(open) as usize
}

/// Files in flight. Dropped, they are closed.
pub(super) struct Rights {
    files: Vec<Arc<OpenFile>>,
    user: u32,
}

impl Rights {
    /// Sends files off. `ETOOMANYREFS` gives them back.
    pub(super) fn new(files: Vec<Arc<OpenFile>>, caller: &Caller) -> Result<Self, (Errno, Vec<Arc<OpenFile>>)> {
        let user = caller.credentials.uid;
        if IS_DIRTY.load(Ordering::Relaxed) {
            collect_in_time(1);
        }
        let mut table = IN_FLIGHT.lock();
        let count = table.users.entry(user).or_default();
        if *count as u64 > caller.in_flight_max {
            return Err((Errno::ETOOMANYREFS, files));
        }
        *count += files.len();
        for open in files.iter().filter(|open| unix_socket(open).is_some()) {
            let new = || Entry { open: Arc::downgrade(open), count: 0, suspicion: 0 };
            table.sockets.entry(address_of(open)).or_insert_with(new).count += 1;
        }
        SOCKETS_IN_FLIGHT.store(table.sockets.len(), Ordering::Relaxed);
        drop(table);
        Ok(Self { files, user })
    }

    /// The files, which stay in flight.
    pub(super) fn peek(&self) -> Vec<Arc<OpenFile>> {
        self.files.clone()
    }

    /// The files, which are in flight no longer.
    pub(super) fn take(mut self) -> Vec<Arc<OpenFile>> {
        self.land()
    }

    fn land(&mut self) -> Vec<Arc<OpenFile>> {
        let files = core::mem::take(&mut self.files);
        if files.is_empty() {
            return files;
        }
        let mut table = IN_FLIGHT.lock();
        for open in &files {
            let address = address_of(open);
            if let Some(entry) = table.sockets.get_mut(&address) {
                entry.count -= 1;
                if entry.count == 0 {
                    table.sockets.remove(&address);
                } else {
                    entry.suspicion = SUSPICION_MAX;
                    IS_DIRTY.store(true, Ordering::Relaxed);
                }
            }
        }
        SOCKETS_IN_FLIGHT.store(table.sockets.len(), Ordering::Relaxed);
        if let Some(count) = table.users.get_mut(&self.user) {
            *count = count.saturating_sub(files.len());
            if *count == 0 {
                table.users.remove(&self.user);
            }
        }
        drop(table);
        files
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        drop(self.land());
    }
}

// ---- One after the other ---------------------------------------------------------------------------------------------

static DEAD: Lazy<Mutex<Vec<Rights>>> = Lazy::new(|| Mutex::new(rank::UNIX_NAMES, Vec::new()));
/// Somebody is at work on [`DEAD`].
static IS_DROPPING: AtomicBool = AtomicBool::new(false);
/// There may be garbage.
static IS_DIRTY: AtomicBool = AtomicBool::new(false);
/// What pays for the next look.
static CREDIT: AtomicUsize = AtomicUsize::new(0);
/// Sockets in flight, to see without the lock that there are none.
static SOCKETS_IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);
/// Sockets were closed in the course of it: garbage is looked for once, at the end.
static WANTS_COLLECTION: AtomicBool = AtomicBool::new(false);

/// Drops rights, in this call or in that of another thread which is at it already.
pub(super) fn drop_later(rights: Vec<Rights>) {
    if rights.is_empty() {
        return;
    }
    DEAD.lock().extend(rights);
    loop {
        if IS_DROPPING.swap(true, Ordering::AcqRel) {
            return;
        }
        loop {
            let next = DEAD.lock().pop();
            let Some(next) = next else { break };
            drop(next);
        }
        IS_DROPPING.store(false, Ordering::Release);
        // What came between the last look and the store is nobody else's.
        if DEAD.lock().is_empty() {
            break;
        }
    }
    if WANTS_COLLECTION.swap(false, Ordering::AcqRel) {
        collect_if_dirty();
    }
}

/// A descriptor of a socket was closed.
pub(super) fn descriptor_closed(open: &OpenFile) {
    if SOCKETS_IN_FLIGHT.load(Ordering::Relaxed) > 0
        && let Some(entry) = IN_FLIGHT.lock().sockets.get_mut(&core::ptr::from_ref(open).addr())
    {
        entry.suspicion = SUSPICION_MAX;
        IS_DIRTY.store(true, Ordering::Relaxed);
    }
}

/// Looks for garbage if there may be some, and if what was done since the last look pays for this one: a look costs as much as there are sockets
/// in flight.
fn collect_in_time(credit: usize) {
    let credit = CREDIT.fetch_add(credit, Ordering::Relaxed).saturating_add(credit);
    if credit >= SOCKETS_IN_FLIGHT.load(Ordering::Relaxed) {
        CREDIT.store(0, Ordering::Relaxed);
        collect_if_dirty();
    }
}

/// Looks for garbage if there may be some.
fn collect_if_dirty() {
    if IS_DIRTY.swap(false, Ordering::AcqRel) {
        collect_garbage();
    }
}

/// A socket was closed: looks for garbage now, or when the rights that are being dropped are gone.
pub(super) fn socket_closed() {
    if IS_DROPPING.load(Ordering::Acquire) {
        WANTS_COLLECTION.store(true, Ordering::Release);
        // Whoever was at it may have made its last look.
        if IS_DROPPING.load(Ordering::Acquire) || !WANTS_COLLECTION.swap(false, Ordering::AcqRel) {
            return;
        }
    }
    if IS_DIRTY.load(Ordering::Relaxed) {
        collect_in_time(CREDIT_OF_CLOSE);
    }
}

/// All rights in a queue.
pub(super) fn take_rights(queue: &mut Queue) -> Vec<Rights> {
    let mut all: Vec<Rights> = queue.marks.iter_mut().filter_map(|mark| mark.rights.take()).collect();
    all.extend(queue.messages.iter_mut().filter_map(|message: &mut Message| message.rights.take()));
    all
}

// ---- Garbage ---------------------------------------------------------------------------------------------------------

/// A socket all of whose references may be in flight.
struct Candidate {
    open: Arc<OpenFile>,
    in_flight: usize,
    /// References found in queues of candidates.
    found: usize,
    is_alive: bool,
}

/// Calls `visit` with each file that lies in the queue of `socket`, or in one of its connections that nobody has accepted.
fn visit_queues(socket: &UnixSocket, visit: &mut dyn FnMut(usize)) {
    let queue = socket.endpoint().queue();
    let marks = queue.marks.iter().filter_map(|mark| mark.rights.as_ref());
    let messages = queue.messages.iter().filter_map(|message| message.rights.as_ref());
    for open in marks.chain(messages).flat_map(|rights| &rights.files) {
        visit(address_of(open));
    }
    let pending: Vec<_> = queue.pending.iter().cloned().collect();
    drop(queue);
    for connection in pending {
        visit_queues(&connection, visit);
    }
}

/// Closes the sockets that nobody can reach any more.
fn collect_garbage() {
    let mut table = IN_FLIGHT.lock();
    if table.sockets.is_empty() {
        return;
    }
    let mut candidates = BTreeMap::new();
    let mut spared = Vec::new();
    for (address, entry) in &mut table.sockets {
        let Some(open) = entry.open.upgrade() else { continue };
        // One reference is this one.
        if Arc::strong_count(&open) == entry.count + 1 {
            let candidate = Candidate { open, in_flight: entry.count, found: 0, is_alive: false };
            candidates.insert(*address, candidate);
        } else {
            entry.suspicion = entry.suspicion.saturating_sub(1);
            if entry.suspicion > 0 {
                IS_DIRTY.store(true, Ordering::Relaxed);
            }
            // It may have become the last one, which is not dropped under the lock.
            spared.push(open);
        }
    }
    let garbage = find_garbage(&mut candidates);
    let mut rights = Vec::new();
    for socket in garbage.iter().filter_map(|open| unix_socket(open)) {
        socket.take_all_rights(&mut rights);
    }
    drop(table);
    drop(spared);
    drop_later(rights);
    drop(garbage);
    drop(candidates);
}

fn find_garbage(candidates: &mut BTreeMap<usize, Candidate>) -> Vec<Arc<OpenFile>> {
    let mut found = BTreeMap::<usize, usize>::new();
    for socket in candidates.values().filter_map(|candidate| unix_socket(&candidate.open)) {
        visit_queues(socket, &mut |address| *found.entry(address).or_default() += 1);
    }
    let mut alive = Vec::new();
    for (address, candidate) in candidates.iter_mut() {
        candidate.found = found.get(address).copied().unwrap_or(0);
        if candidate.found < candidate.in_flight {
            candidate.is_alive = true;
            alive.push(Arc::clone(&candidate.open));
        }
    }
    while let Some(open) = alive.pop() {
        let Some(socket) = unix_socket(&open) else { continue };
        visit_queues(socket, &mut |address| {
            if let Some(other) = candidates.get_mut(&address)
                && !other.is_alive
            {
                other.is_alive = true;
                alive.push(Arc::clone(&other.open));
            }
        });
    }
    candidates.values().filter(|candidate| !candidate.is_alive).map(|candidate| Arc::clone(&candidate.open)).collect()
}
