//! The one order of all locks.
//!
//! A thread that holds a lock may take only locks that stand later in this list; debug builds panic otherwise. Two
//! locks of the same rank are taken with `lock_nested`, whose caller states the order between them.
//!
//! Three bands, which the checks rely on:
//!
//! 1. Sleeping locks ([`crate::Mutex`]). User memory may be touched (a page fault takes [`ADDRESS_SPACE`], and writes files
//!    back where memory is short) only while every held lock stands before [`CACHE_WRITERS`].
//! 2. Spinlocks of thread context ([`crate::SpinLock`]).
//! 3. Spinlocks that interrupt handlers take too ([`crate::IrqSpinLock`]). They come last, because an interrupt may
//!    arrive while a lock of the first two bands is held, never while one of this band is.
//!
//! To add a lock, add its rank here, at the place which its callers force, and say what it protects.

/// The place of a lock in the order of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(pub(crate) u8);

impl Rank {
    /// The name of the rank, as written in this file.
    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or("unknown")
    }

    /// All ranks, in their order.
    pub fn all() -> impl Iterator<Item = Rank> {
        (1..u8::MAX).take(RANKS - 1).map(Rank)
    }
}

/// The number of ranks, and of none.
pub(crate) const RANKS: usize = NAMES.len();

macro_rules! ranks {
    ($($(#[$attribute:meta])* $name:ident,)*) => {
        /// Numbers the ranks in the order of their declaration; 0 means none.
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "the variants bear the names of the constants")]
        enum Order { NONE, $($name,)* }
        $(
            $(#[$attribute])*
            pub const $name: Rank = Rank(Order::$name as u8);
        )*
        const NAMES: &[&str] = &["NONE", $(stringify!($name),)*];
        const _: () = assert!((Order::NONE as u8) == 0 && NAMES.len() <= u8::MAX as usize);
    };
}

ranks! {
    // ---- Band 1: sleeping locks ---------------------------------------------------------------------------------

    /// The table of processes, sessions and groups.
    PROCESSES,
    /// The state of one process: children, credentials, limits, timers.
    PROCESS,
    /// Held by a thread that lets go of its futexes.
    FUTEX_EXIT,
    /// Root, working directory and umask of a process.
    FS_CONTEXT,
    /// One descriptor table; the locks and the leases of files; who listens to an open file for its owner.
    FD_TABLE,
    /// The position of one open file.
    FILE_POSITION,
    /// Which epoll instance watches which.
    EPOLL_NESTING,
    /// One epoll instance: its set of watched files.
    EPOLL,
    /// What the host has been told for a profile.
    PROFILE,
    /// One terminal: line discipline, termios, edit buffer.
    TERMINAL,
    /// One pipe or FIFO.
    PIPE,
    /// The packets of no flow that one network worker, or a sender in its place, handles.
    CONTROL_PACKETS,
    /// Packets of `AF_VSOCK` while they are given to their sockets.
    VSOCK_DELIVERY,
    /// One socket of `AF_VSOCK`; a listener before a connection that it makes.
    VSOCK_SOCKETS,
    /// Who has which port of `AF_VSOCK`, and which connections there are.
    VSOCK_TABLE,
    /// Packets of `AF_VSOCK` that wait.
    VSOCK_PACKETS,
    /// The names of sockets in the Unix domain.
    UNIX_NAMES,
    /// One socket of the Unix domain; two in the order of their numbers.
    UNIX_SOCKET,
    /// What the network's control traffic remembers: leases, fragments, groups.
    NETWORK_CONTROL,
    /// The set of interfaces, their addresses and routes, while it is changed.
    NETWORK,
    /// Connections that were asked for, and are not complete.
    HALF_OPEN,
    /// One listening socket: its queues.
    LISTENERS,
    /// One socket: TCP's engine runs under it.
    SOCKETS,
    /// One direction of a connection between two sockets of this machine.
    LOCAL_STREAMS,
    /// Who has which port, who listens there, and what connections were there.
    PORT_TABLES,
    /// Which sockets programs have open: a part of them.
    SOCKET_FILES,
    /// Who is told of changes of the network, and what waits at one netlink socket.
    NETLINK,
    /// The names of flows, while they change.
    FLOW_TABLE,
    /// The neighbours of one interface, and what waits for their addresses.
    NEIGHBOURS,
    /// What one network worker has to do at which time.
    NETWORK_TIMERS,
    /// A file system that is described before it is mounted.
    MOUNT_CONTEXTS,
    /// Which file systems are in use, and which disks they have.
    SUPERBLOCKS,
    /// The tree of mounts.
    MOUNTS,
    /// Renames across directories, one at a time in a file system.
    RENAME,
    /// An inode: its attributes and, in a directory, its names. Several are held at once, in the order that `vfs` documents.
    INODES,
    /// Who writes everything back, because too much is dirty.
    CACHE_WRITERS,
    /// What keeps contents of disks in memory.
    CACHES,
    /// Who writes the pages of one file back.
    WRITE_BACK,
    /// Where on the disk the pages of one file are, while they are written or taken away.
    LAYOUTS,
    /// One of the locks under which inodes of a disk are read.
    INODE_LOADS,
    /// The inodes of a disk that are in memory, and which of them must be written.
    INODE_TABLES,
    /// The inodes a stacked file system has made for those of the layer below.
    OVERLAY_INODES,
    /// The names in one directory of a file system, under the lock of its inode.
    DIRECTORY_ENTRIES,
    /// The cached children of a directory entry.
    DENTRIES,
    /// Who watches which inodes.
    WATCHES,
    /// What happened to the inodes that one program watches.
    WATCH_EVENTS,
    /// The areas of one address space. A page fault takes this lock.
    ADDRESS_SPACE,
    /// The pages of one file. A page fault takes this lock under [`ADDRESS_SPACE`].
    FILE_PAGES,
    /// Who writes to the log of one journal, over transfers. What stands behind it may be taken in an open handle.
    JOURNAL_LOGS,
    /// The inodes without names, and those being cut, of one file system on a disk.
    ORPHANS,
    /// The extended attributes of one file on a disk.
    ATTRIBUTES,
    /// Where on the disk the blocks of one file are.
    BLOCK_MAPS,
    /// One group of blocks and inodes of a file system on a disk.
    BLOCK_GROUPS,
    /// The transactions of one journal.
    JOURNALS,
    /// Which clusters one file of a FAT volume has.
    FAT_CHAINS,
    /// One FAT volume: its FAT, its directories, and what has to be written.
    FAT_VOLUMES,
    /// Where in one large directory of a FAT volume the names are.
    FAT_INDEXES,
    /// Who writes the buffers of one volume.
    BUFFER_WRITERS,
    /// Which blocks of one volume are in memory.
    BUFFER_TABLES,
    /// The bytes of one block in memory, which are read from the disk under it.
    BUFFERS,
    /// One block device request queue or another slow device, waited for under the locks above.
    DEVICE,
    /// The port on which the host is told what the program does.
    OBSERVER,
    /// Which files have pages in memory. Whoever holds it waits for nobody.
    CACHED_FILES,
    /// The mapped objects that somebody is to let go of later. As above.
    LEAVING_OBJECTS,

    // ---- Band 2: spinlocks of thread context --------------------------------------------------------------------

    /// Small tables of the process layer that are changed in a few instructions.
    PROCESS_TABLES,
    /// Small tables of the file layer that are changed in a few instructions.
    FILE_TABLES,
    /// One page table.
    PAGE_TABLE,
    /// Kernel virtual address ranges.
    KERNEL_RANGES,
    /// What one CPU has deferred to the end of a grace period.
    RCU,
    /// The generator of random bytes.
    ENTROPY,
    /// One futex bucket. Two are taken in the order of their numbers.
    FUTEX,
    /// Who waits for the owners of futexes with priority inheritance.
    FUTEX_OWNERS,

    // ---- Band 3: spinlocks that interrupt handlers take too -----------------------------------------------------

    /// The line discipline of one terminal, which reads and writes the ports below it.
    TERMINALS,
    /// Device state shared with its interrupt handler.
    DRIVER,
    /// The buffers of one stdio port.
    PORTS,
    /// One interval timer, which sends signals and wakes waiters when it expires.
    TIMER,
    /// Pending signals, masks and handlers of threads and processes.
    SIGNALS,
    /// The list of one wait queue.
    WAIT_QUEUES,
    /// The list of ready files of an epoll instance, filled by wakes.
    EPOLL_READY,
    /// The wait queue of an epoll instance, woken by the wakes of the files it watches.
    EPOLL_WAIT_QUEUES,
    /// The figures of one thread or process.
    ACCOUNTING,
    /// How one thread is to be scheduled, and how urgent those are who wait for it.
    SCHEDULING,
    /// The timers of one CPU.
    TIMERS,
    /// The run queue of one CPU.
    RUN_QUEUE,
    /// The contexts of threads that have ended, for reuse.
    CONTEXTS,
    /// What one CPU has seen itself do, for a profile.
    SAMPLES,
    /// The kernel heap.
    HEAP,
    /// The frame allocator.
    FRAMES,
    /// The console and the kernel log: anything may log.
    CONSOLE,
}
