//! This kernel's file system, on the host.

use std::path::Path;

/// Mounts the partition, copies everything there is into a folder of the host, unmounts; what the partition holds then.
///
/// # Errors
/// Says what could not be read.
pub(crate) fn mount_and_copy(partition: &[u8], files: &Path) -> Result<Vec<u8>, String> {
    let _ = (partition, files);
    Err("not there".to_owned())
}
