//! The file systems.
//!
//! - [`tmpfs`]: files in memory.
//! - [`root`]: the archive of the image, read in place.
//! - [`overlay`]: an archive that can be written, its changes kept in memory.
//! - [`dev`]: device nodes, and the devices that are nothing but memory.
//! - [`ext`]: ext2, ext3 and ext4.
//! - [`fat`]: FAT with long names.
//! - [`disk`]: disks and partitions as files.
//! - [`kinds`]: which of them `mount` knows, by name.
//! - [`generated`]: trees whose files are made when they are read, for `/proc` and `/sys`.

pub mod dev;
pub mod disk;
pub mod ext;
pub mod fat;
pub mod generated;
pub mod kinds;
pub mod ninep;
pub mod overlay;
pub mod partitions;
pub mod root;
pub mod tmpfs;
