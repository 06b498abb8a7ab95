//! Restartable sequences and the barriers that go with them: `rseq` and `membarrier`.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::layout::abi_struct;

abi_struct! {
    /// `struct rseq`, in the program's memory; what follows these fields is for later versions.
    pub struct Rseq: 32 {
        pub cpu_id_start: u32,
        pub cpu_id: u32,
        pub rseq_cs: u64,
        pub flags: u32,
        pub node_id: u32,
        pub mm_cid: u32,
        pub _end: u32,
    }

    /// `struct rseq_cs`: a critical section.
    pub struct RseqCs: 32 {
        pub version: u32,
        pub flags: u32,
        pub start_ip: u64,
        pub post_commit_offset: u64,
        pub abort_ip: u64,
    }
}

/// The length and alignment of the first version of `struct rseq`.
pub const RSEQ_SIZE_ORIGINAL: u32 = 32;
/// Where the fields of `struct rseq` end that there are (`AT_RSEQ_FEATURE_SIZE`).
pub const RSEQ_FEATURE_SIZE: u32 = 28;
/// The alignment of `struct rseq` (`AT_RSEQ_ALIGN`).
pub const RSEQ_ALIGNMENT: u32 = 32;
pub const RSEQ_FLAG_UNREGISTER: u32 = 1;
/// `cpu_id` of a thread that is not registered.
pub const RSEQ_CPU_ID_UNINITIALIZED: u32 = u32::MAX;

pub const MEMBARRIER_CMD_QUERY: i32 = 0;
pub const MEMBARRIER_CMD_GLOBAL: i32 = 1;
pub const MEMBARRIER_CMD_GLOBAL_EXPEDITED: i32 = 1 << 1;
pub const MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED: i32 = 1 << 2;
pub const MEMBARRIER_CMD_PRIVATE_EXPEDITED: i32 = 1 << 3;
pub const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
pub const MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE: i32 = 1 << 5;
pub const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: i32 = 1 << 6;
pub const MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ: i32 = 1 << 7;
pub const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ: i32 = 1 << 8;
pub const MEMBARRIER_CMD_GET_REGISTRATIONS: i32 = 1 << 9;
pub const MEMBARRIER_CMD_FLAG_CPU: u32 = 1;
