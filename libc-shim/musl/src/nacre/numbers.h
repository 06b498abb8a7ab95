/* The numbers of the native calls: abi/syscalls/src/native.rs. */
#define SYS_nacre_batch 0x4e0000
#define SYS_nacre_wait_many 0x4e0001
#define SYS_nacre_receive_in_place 0x4e0002
#define SYS_nacre_give_back 0x4e0003
#define SYS_nacre_memory_events 0x4e0004
